"""A whole plane of its own, and a Chromium that is told nothing of the world outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PASSWORD = "a bench and a long table 7"
PATIENCE = 60_000  # ms until what is expected: engines start and jobs run meanwhile, and the machine may be busy
KEPT_OUT = ("DATABASE_URL", "BROKER_URL", "S3_ENDPOINT_URL")  # these tests are about the browser: one mode is enough


expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="there is no chromium on this machine"))


@pytest.fixture(scope="session")
def browser_type_launch_args():
    return {"executable_path": CHROMIUM, "args": ["--no-sandbox", "--disable-background-networking"]}


@pytest.fixture(scope="session")
def browser(browser):
    """The plugin's browser, whose contexts close their pages before themselves.

    Chromium never answers for a context that it is to dispose of while a page of it is on its way to another, as after
    a last click that posts a form: one time in ten to thirty (Target.disposeBrowserContext, Chromium 156).
    """
    plain = browser.new_context

    def new_context(**options):
        context = plain(**options)
        dispose = context.close

        def close(**reason) -> None:
            for page in context.pages:
                page.close()
            dispose(**reason)

        context.close = close
        return context

    browser.new_context = new_context
    return browser


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("plane")


@pytest.fixture(scope="session")
def manage(home):
    """manage("command", ...) -> what it printed, in the plane's home."""
    env = {name: value for name, value in os.environ.items() if name not in KEPT_OUT} | {"PLANE_HOME": str(home)}
    env["COLLECT_HOSTS"] = "127.0.0.1"

    def run(*words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout

    run.env = env
    return run


@pytest.fixture(scope="session")
def passwords(manage) -> dict[str, str]:
    """{name: one-time password} of the first accounts; they are there before the plane starts."""
    manage("migrate", "--verbosity=0")
    lines = manage("create_first_accounts").splitlines()
    return {name: word for name, _, word in (line.strip().partition(" ") for line in lines) if "-" in word.strip()}


@pytest.fixture(scope="session")
def plane(home, manage, passwords):
    """The address of a plane with web, worker and dispatcher."""
    command = [sys.executable, "manage.py", "up", "--no-migrate", "--only", "web,worker,dispatcher"]
    log = (home / "up.log").open("w")
    up = subprocess.Popen(
        command, cwd=ROOT, env=manage.env | {"PORT": "0"}, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield address_of(up, home)
    finally:
        up.send_signal(signal.SIGTERM)
        try:
            up.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(up.pid, signal.SIGKILL)
        log.close()


def address_of(up: subprocess.Popen, home: Path) -> str:
    deadline = time.monotonic() + 60
    while not (home / "plane.json").exists():
        assert up.poll() is None, (home / "up.log").read_text()
        assert time.monotonic() < deadline, (home / "up.log").read_text()
        time.sleep(0.1)
    return json.loads((home / "plane.json").read_text())["address"]


ANSWERED = re.compile(r"^Failed to load resource: .* status of (\d{3})")
LOG_INS = 24  # of a minute: the plane takes thirty, and some tests enter by the form themselves
LOCAL = ("data:", "blob:", "about:")  # what a page makes by itself, for instance a chart saved as PNG


@pytest.fixture
def watch(plane):
    """watch(page) -> the page; the test fails if it logs an error, breaks the CSP or asks another host.

    watch(page, answers=(422,)): Chromium logs every refused answer as an error; those that the test provokes are none.
    """
    faults: list[str] = []

    def follow(page, answers: tuple[int, ...] = ()):
        def heard(said) -> None:
            answer = ANSWERED.match(said.text)
            provoked = answer is not None and int(answer[1]) in answers
            if said.type in ("error", "warning") and not provoked:
                faults.append(f"{page.url}: {said.text}")

        page.on("console", heard)
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on(
            "request", lambda asked: None if asked.url.startswith((f"{plane}/", *LOCAL)) else faults.append(asked.url)
        )
        return page

    yield follow
    assert faults == []


@pytest.fixture
def watched(page, watch):
    """The page, and what a clean visit leaves empty: console errors, CSP violations, requests off this host."""
    return watch(page)


@pytest.fixture(scope="session")
def sign_in_as(plane, passwords):
    """sign_in_as(page, "approver") -> the page of that person, past the one-time password."""

    entered: deque[float] = deque(maxlen=LOG_INS)

    def enter(page, name: str):
        if len(entered) == LOG_INS:  # the plane refuses more of one address in a minute, and a quick machine gets there
            time.sleep(max(0.0, entered[0] + 60 - time.monotonic()))
        entered.append(time.monotonic())
        page.set_default_navigation_timeout(PATIENCE)
        page.goto(f"{plane}/")
        sign_in(page, name, passwords[name].strip())
        if "password/change" in page.url:
            replace_password(page, passwords[name].strip())
            passwords[name] = PASSWORD
            if "login" in page.url:
                sign_in(page, name, PASSWORD)
        return page

    return enter


@pytest.fixture
def signed_in(watched, sign_in_as):
    """signed_in("engineer") -> the watched page of that person."""
    return lambda name: sign_in_as(watched, name)


def sign_in(page, name: str, password: str) -> None:
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", password)
    with page.expect_navigation():
        page.click("main form button")


def replace_password(page, old: str) -> None:
    page.fill("input[name=oldpassword]", old)
    page.fill("input[name=password1]", PASSWORD)
    page.fill("input[name=password2]", PASSWORD)
    with page.expect_navigation():
        page.click("main form button")
