"""axe-core's rules on every page of a filled plane: light and dark, on a desk and on a phone."""

import json
import os
import signal
import subprocess
import sys

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from tests.browser.conftest import KEPT_OUT, ROOT, address_of
from tests.faults.homes import prepare_home

SIZES = {"desk": (1440, 900), "phone": (390, 844)}
STRANGERS = ["/accounts/login/", "/nowhere"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """(address, pages, cookies) of a plane that holds rows of everything; only its web process runs."""
    home = tmp_path_factory.mktemp("filled")
    env = {name: value for name, value in os.environ.items() if name not in KEPT_OUT} | {"PLANE_HOME": str(home)}
    env |= {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PYTHONPATH": str(ROOT), "PORT": "0"}
    prepare_home(env, accounts=False)
    script = [sys.executable, "-m", "tests.browser.filled"]
    told = json.loads(subprocess.run(script, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout)
    with (home / "up.log").open("w") as log:
        up = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--no-migrate", "--only", "web"],
            cwd=ROOT,
            env=env | {"WEB_WORKERS": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            yield address_of(up, home), told["pages"], told["cookies"]
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(20)


FINDINGS = """options => axe.run(document, options).then(({ violations }) => violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" ")}`))"""


def findings(page, rules=None) -> list[str]:
    """What axe finds grave: the rule, and the first elements. Nothing else leaves the page: it would be megabytes."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{AXE_SCRIPT}; true")
    options = {"resultTypes": ["violations"]} | ({"runOnly": {"type": "rule", "values": rules}} if rules else {})
    return page.evaluate(FINDINGS, options)


@pytest.mark.parametrize("size", SIZES)
def test_no_page_has_a_grave_finding(size, browser, filled):
    address, pages, cookies = filled
    width, height = SIZES[size]
    contexts = {
        who: browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        for who in [*cookies, "nobody"]
    }
    for who, key in cookies.items():
        contexts[who].add_cookies([{"name": "sessionid", "value": key, "url": address}])
    faults = {}
    for who, path in [*pages, *(("nobody", path) for path in STRANGERS)]:
        page = contexts[who].new_page()
        page.goto(f"{address}{path}")
        light = findings(page)
        page.emulate_media(color_scheme="dark")
        dark = findings(page, ["color-contrast", "link-in-text-block"])
        if light or dark:
            faults[path] = [*light, *(f"dark {fault}" for fault in dark)]
        page.close()
    for context in contexts.values():
        context.close()
    assert not faults, json.dumps(faults, indent=1)


@pytest.mark.parametrize("what", ["/runs/compare", "/1/compare"])
def test_on_a_phone_what_is_compared_scrolls_in_its_own_box(browser, filled, what):
    address, pages, cookies = filled
    who, path = next((who, path) for who, path in pages if what in path)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_cookies([{"name": "sessionid", "value": cookies[who], "url": address}])
    page = context.new_page()
    page.goto(f"{address}{path}")
    page.evaluate("document.querySelectorAll('main .tbl tbody > tr > *').forEach(cell => cell.append('x'.repeat(70)))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shares = page.evaluate(
        "[...document.querySelectorAll('.side tbody th')]"
        ".map(name => name.getBoundingClientRect().width / name.closest('.wrap').clientWidth)"
    )
    assert shares or what != "/runs/compare"
    assert max(shares, default=0) < 0.5  # the names stay while the values pass beside them
    context.close()
