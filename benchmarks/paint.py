"""What a browser needs for every page: first contentful paint, bytes, requests; and pictures of all of them to look at.

    PLANE_HOME=HOME python benchmarks/paint.py [--only home,jobs] [--rounds 5]
    PLANE_HOME=HOME python benchmarks/paint.py --pictures FOLDER [--only home] [--look 1440-light-en,390-dark-zh]

HOME holds a seeded plane (benchmarks/seed.py). Starts it with `manage.py up` and opens each page in Chromium, over
loopback, as the engineer or as the first account that may see it. Cold: a new browser context, nothing cached; warm:
the page once more. Bytes are what came over the wire, headers included, as Chromium counts them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
os.environ["SECOND_FACTOR_ROLES"] = ""  # the sessions are made without a log-in
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread that makes sessions

HOME_LIMIT = 120_000  # bytes of home in all
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SIZES = {"1440": (1440, 900), "390": (390, 844)}
LANGUAGES = {"en": "en", "zh": "zh-hans"}
LOOKS = [f"{size}-{theme}-{language}" for size in SIZES for theme in ("light", "dark") for language in LANGUAGES]
SKIPPED = ("audit/verify.py", ".csv", "healthz", "/charts", "/progress")  # files to save, a word for probes, parts


@contextmanager
def plane(home: Path) -> Iterator[str]:
    """The address of the plane of this home, up."""
    (home / "plane.json").unlink(missing_ok=True)
    environment = os.environ | {"PORT": "0", "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "manage.py", "up"]
    up = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not (home / "plane.json").exists():
            if up.poll() is not None:
                raise SystemExit(f"The plane of {home} did not start.")
            time.sleep(0.1)
        yield json.loads((home / "plane.json").read_text())["address"]
    finally:
        up.send_signal(signal.SIGTERM)
        try:
            up.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(up.pid, signal.SIGKILL)


def addresses(only: list[str]) -> dict[str, tuple[str, str]]:
    """Name -> (address, session cookie of somebody who may see it)."""
    from benchmarks.pages import names_of, seeded
    from tests import walking

    made, people = seeded(), walking.visitors()
    logged = names_of(made)["logged"] or walking.MODEL_ID
    found = {}
    for route in walking.routes():
        if walking.left_out(route) or route.startswith("api/") or route.endswith(SKIPPED):
            continue
        name = route_name(route)
        if only and name not in only:
            continue
        where = walking.address(route, made).replace(walking.MODEL_ID, logged)
        visitor, status = walking.who_may(where, people)
        if visitor is not None and status == 200:
            found[name] = where, visitor.client.cookies["sessionid"].value
    return found


def route_name(route: str) -> str:
    """A file name for a route: p/<slug:project>/jobs/<int:pk>/log is jobs-pk-log."""
    parts = [part.strip("<>").split(":")[-1] for part in route.removeprefix("p/<slug:project>").split("/") if part]
    if route == "p/<slug:project>/":
        return "project"
    return "-".join(parts) or "home"


def visit(page: Any, address: str) -> dict[str, float]:
    """Open the page; first contentful paint in ms, bytes over the wire, requests."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(address, wait_until="load")
    page.wait_for_timeout(150)
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)[0] ?? -1")
    session.detach()
    return {"paint": painted, "bytes": sum(sizes), "requests": len(sizes)}


def measure(browser: Any, base: str, pages: dict[str, tuple[str, str]], rounds: int) -> None:
    print(f"{'page':34} {'cold ms':>8} {'warm ms':>8} {'cold kB':>8} {'warm kB':>8} {'requests':>9}")
    for name, (where, cookie) in pages.items():
        cold, warm = [], []
        for _ in range(rounds):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": base}])
            page = context.new_page()
            cold.append(visit(page, base + where))
            warm.append(visit(page, base + where))
            context.close()
        median = {
            key: (statistics.median(one[key] for one in cold), statistics.median(one[key] for one in warm))
            for key in ("paint", "bytes", "requests")
        }
        mark = "  over the limit" if name == "home" and median["bytes"][0] > HOME_LIMIT else ""
        print(
            f"{name:34} {median['paint'][0]:8.0f} {median['paint'][1]:8.0f} {median['bytes'][0] / 1e3:8.1f} "
            f"{median['bytes'][1] / 1e3:8.1f} {median['requests'][0]:9.0f}{mark}"
        )


def take(browser: Any, base: str, pages: dict[str, tuple[str, str]], folder: Path, looks: list[str]) -> None:
    """One picture of the whole page for each look, and a line for each console error, violation or wide page."""
    folder.mkdir(parents=True, exist_ok=True)
    for look in looks:
        size, theme, language = look.split("-")
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        for name, (where, cookie) in pages.items():
            context.clear_cookies()
            context.add_cookies(
                [
                    {"name": "sessionid", "value": cookie, "url": base},
                    {"name": "django_language", "value": LANGUAGES[language], "url": base},
                ]
            )
            page = context.new_page()
            said: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.goto(base + where, wait_until="load", timeout=120_000)  # the first ones start the processes
            page.wait_for_timeout(250)
            over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
            for fault in [*said, *([f"{over} px wider than the window"] if over > 0 else [])]:
                print(f"{look} {name}: {fault}")
            page.close()
        context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of pages, with commas; as the table has them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=Path, help="take pictures into this folder instead of measuring")
    parser.add_argument("--look", default=",".join(LOOKS))
    asked = parser.parse_args()

    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from playwright.sync_api import sync_playwright

    call_command("migrate", verbosity=0)  # a seeded home may be older than the code
    pages = addresses([name for name in asked.only.split(",") if name])
    if not pages:
        raise SystemExit("No such page, or the first accounts have yet to replace their one-time passwords.")
    with plane(Path(settings.ENV.home)) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        if asked.pictures:
            take(browser, base, pages, asked.pictures, asked.look.split(","))
        else:
            measure(browser, base, pages, asked.rounds)
        browser.close()


if __name__ == "__main__":
    main()
