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
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.faults.console import Console
from tests.faults.homes import prepare_home

ROOT = Path(__file__).parents[2]
# The first is the same engine without the windows that a person would see: a third of the processor time of a context.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
PASSWORD = "A bench and a long table 7"
PATIENCE = 60_000  # ms until what is expected: engines start and jobs run meanwhile, and the machine may be busy
START_SECONDS = 240  # of the plane
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
def environment(home) -> dict[str, str]:
    """Of every process of the plane: SQLite and the file broker, whatever this run has."""
    kept = {name: value for name, value in os.environ.items() if name not in KEPT_OUT}
    # More CPUs than there are: jobs that only sleep keep nobody waiting.
    return {
        **kept,
        "PLANE_HOME": str(home),
        "COLLECT_HOSTS": "127.0.0.1",
        "NOTICE_HOSTS": "127.0.0.1",
        "NODE_CPUS": "8",
        "SECOND_FACTOR_ROLES": "",
    }


@pytest.fixture(scope="session")
def passwords(environment) -> dict[str, str]:
    """{name: one-time password} of the first accounts; they are there before the plane starts."""
    return prepare_home(environment).passwords


@pytest.fixture(scope="session")
def run_code(environment, passwords):
    """run_code("...") -> what this Python printed, in the plane's home."""
    console = Console(environment)
    yield console.run
    console.close()


@pytest.fixture(scope="session")
def plane(home, environment, passwords):
    """The address of a plane with web, worker and dispatcher."""
    command = [sys.executable, "manage.py", "up", "--no-migrate", "--only", "web,worker,dispatcher"]
    log = (home / "up.log").open("w")
    up = subprocess.Popen(
        command, cwd=ROOT, env=environment | {"PORT": "0"}, stdout=log, stderr=log, start_new_session=True
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


FIND_NODE = """
from apps.platform.nodes.models import Node
print(*Node.objects.values_list("name", flat=True)[:1])
"""


@pytest.fixture(scope="session")
def node_name(plane, run_code) -> str:
    """The name of the plane's own node, once it is there: a worker that has just started measures its machine first."""
    deadline = time.monotonic() + 3 * PATIENCE / 1000  # a busy machine starts the plane and the browser meanwhile
    while not (name := run_code(FIND_NODE).strip()):
        assert time.monotonic() < deadline, "the worker has not registered its node"
        time.sleep(0.2)
    return name


def address_of(up: subprocess.Popen, home: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while not (home / "plane.json").exists():
        assert up.poll() is None, (home / "up.log").read_text()
        assert time.monotonic() < deadline, (home / "up.log").read_text()
        time.sleep(0.1)
    return json.loads((home / "plane.json").read_text())["address"]


ANSWERED = re.compile(r"^Failed to load resource: .* status of (\d{3})")
SESSION_SECONDS = 1200  # the plane ends a session that nobody has used for half an hour
REPLACED = ("htmx:sendAbort,", "htmx:afterRequest,")  # by a newer request; one that fails logs htmx:sendError too
LOCAL = ("data:", "blob:", "about:")  # what a page makes by itself, for instance a chart saved as PNG


@pytest.fixture
def watch(plane):
    """watch(page) -> the page; the test fails if it logs an error, breaks the CSP or asks another host.

    watch(page, answers=(422,)): Chromium logs every refused answer as an error; those that the test provokes are none.
    """
    faults: list[str] = []

    def follow(page, answers: tuple[int, ...] = ()):
        def record_fault(message) -> None:
            answer = ANSWERED.match(message.text)
            provoked = answer is not None and int(answer[1]) in answers
            if message.type in ("error", "warning") and not provoked and not message.text.startswith(REPLACED):
                faults.append(f"{page.url}: {message.text}")

        page.on("console", record_fault)
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
    """sign_in_as(page, "approver") -> the page, signed in as that person, past the one-time password.

    Each person fills in the form once; later pages take over the session, which is theirs as long as it is used.
    """
    sessions: dict[str, list] = {}
    used_at: dict[str, float] = {}

    def enter(page, name: str):
        page.set_default_navigation_timeout(PATIENCE)
        if time.monotonic() - used_at.get(name, -SESSION_SECONDS) < SESSION_SECONDS:
            page.context.add_cookies(sessions[name])
        else:
            fill_sign_in(page, name)
            sessions[name] = page.context.cookies()
        used_at[name] = time.monotonic()
        return page

    def fill_sign_in(page, name: str) -> None:
        page.goto(f"{plane}/")
        sign_in(page, name, passwords[name])
        if "password/change" in page.url:
            replace_password(page, passwords[name])
            passwords[name] = PASSWORD
            if "login" in page.url:
                sign_in(page, name, PASSWORD)

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


def wait_until(page, condition) -> None:
    """Take in what happens in the page until the condition holds."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def list_wide_pages(page, addresses, *, width: int = 390) -> list[str]:
    """Those of the addresses whose page is wider than a phone of this width."""
    page.set_viewport_size({"width": width, "height": 844})
    wide = []
    for address in addresses:
        page.goto(address)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(address)
    return wide
