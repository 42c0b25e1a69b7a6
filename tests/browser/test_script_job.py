"""A script, from the browser: its folder uploaded as a zip file, its command typed, its log and outputs seen."""

import io
import re
import zipfile

from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages

CODE = """
import os, sys
print("began with", *sys.argv[1:])
open(os.environ["OUT"] + "/weights.txt", "w").write("1.5")
"""


def build_zip() -> dict:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("train.py", CODE)
    return {"name": "trend.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}


def test_script_runs_from_the_browser(signed_in, plane):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new")
    page.get_by_role("link", name="Run a script").click()
    page.set_input_files("input[type=file]", build_zip())
    page.get_by_role("button", name="Upload").click()
    expect(page.locator('[name="inputs/code"] option:checked')).to_contain_text("trend.zip")
    page.locator('[name="/command"]').fill("python\ntrain.py\n--lr\n0.2")
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(page).to_have_url(re.compile(r"/jobs/\d+$"))
    expect(page.get_by_text("began with --lr 0.2").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("weights.txt").first).to_be_visible(timeout=60_000)
    assert list_wide_pages(page, [f"{plane}/p/demo/jobs/new/script", page.url]) == []
