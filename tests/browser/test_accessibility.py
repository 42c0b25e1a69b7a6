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
LOOKS = [("desk", "light"), ("phone", "dark")]  # each size and each colour scheme once
OTHER_LOOKS = [("desk", "dark"), ("phone", "light")]
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


def find_grave(page) -> list[str]:
    """What axe finds grave: the rule, and the first elements. Nothing else leaves the page: it would be megabytes."""
    page.wait_for_load_state()
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{AXE_SCRIPT}; true")
    # Every style sheet is of this host: axe reads them without fetching them anew.
    return page.evaluate(FINDINGS, {"resultTypes": ["violations"], "preload": False})


def audit(page, address: str, looks: list[tuple[str, str]]) -> list[str]:
    """Grave findings of one page in each look; the page is loaded once."""
    page.goto(address)
    faults = []
    for size, scheme in looks:
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        faults += [f"{size}, {scheme}: {fault}" for fault in find_grave(page)]
    return faults


@pytest.mark.parametrize(
    "looks", [LOOKS, pytest.param(OTHER_LOOKS, marks=pytest.mark.full_matrix)], ids=["each once", "the other two"]
)
def test_no_page_has_a_grave_finding(browser, filled, looks):
    address, pages, cookies = filled
    visitors = {}
    for who in [*cookies, "nobody"]:
        context = browser.new_context()
        if who in cookies:
            context.add_cookies([{"name": "sessionid", "value": cookies[who], "url": address}])
        visitors[who] = context.new_page()
    visits = [*pages, *(("nobody", path) for path in STRANGERS)]
    faults = {path: audit(visitors[who], f"{address}{path}", looks) for who, path in visits}
    for page in visitors.values():
        page.context.close()
    grave = {path: found for path, found in faults.items() if found}
    assert not grave, json.dumps(grave, indent=1)


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
