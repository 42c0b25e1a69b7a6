"""The main job by hand: a table with gaps goes in, a clean version with its lineage comes out."""

import re

import pytest
from playwright.sync_api import expect

ROWS = "".join(f"2026-01-{day:02},{'' if day % 7 == 0 else 50 + day}\n" for day in range(1, 29))
TABLE = {"name": "t.csv", "mimeType": "text/csv", "buffer": f"day,close\n{ROWS}".encode()}


def test_from_one_time_password_to_outputs(signed_in, plane):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("prices")
    page.set_input_files("input[type=file]", TABLE)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".answer")).to_contain_text("28 rows")
    page.get_by_role("link", name="Preview").click()
    expect(page.locator("table.sheet")).to_contain_text("2026-01-07missing")
    page.get_by_role("link", name="Clean this version").click()
    page.get_by_role("button", name="Queue", exact=True).last.click()
    expect(page.locator(".title .state")).to_have_text("Succeeded", timeout=60_000)
    expect(page.locator(".answer")).to_contain_text("4 values filled, 0 still missing.")
    page.get_by_role("link", name=re.compile("^Outputs")).click()
    page.get_by_role("link", name="prices-clean v1").click()
    expect(page.locator(".answer")).to_contain_text("nothing missing")
    expect(page.locator(".strip")).to_contain_text("prices v1")


def test_a_field_is_checked_on_leaving_it(signed_in, plane):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new/noop")
    steps = page.locator('[name="/steps"]')
    steps.fill("0")
    steps.press("Tab")
    expect(page.locator("#f-steps-e")).to_contain_text("greater than or equal to 1")
    steps.fill("2")
    steps.press("Tab")
    expect(page.locator("#f-steps-e")).to_be_hidden()


def test_a_running_job_is_followed_and_cancelled(signed_in, plane):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new/noop")
    for field, value in {"seconds": "60", "steps": "600", "log_lines": "600"}.items():
        page.locator(f'[name="/{field}"]').fill(value)
    page.get_by_role("button", name="Queue", exact=True).last.click()
    expect(page.locator(".title .state")).to_have_text("Running", timeout=30_000)
    expect(page.locator("ol.log li").nth(10)).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_label("Reason").fill("seen enough")
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".title .state")).to_have_text("Cancelled", timeout=30_000)
    expect(page.locator(".answer")).to_contain_text("seen enough")


@pytest.mark.parametrize(
    "path", ["/", "/p/demo/", "/p/demo/jobs", "/p/demo/data", "/p/demo/upload", "/nodes", "/audit"]
)
def test_no_page_is_wider_than_a_phone(path, signed_in, plane):
    page = signed_in("engineer")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{plane}{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("name", "link"), [("sysadmin", "Nodes"), ("secadmin", "People"), ("auditor", "Audit")])
def test_administrators_find_their_duties(name, link, signed_in, plane):
    page = signed_in(name)
    page.goto(f"{plane}/")
    page.locator("#main").get_by_role("link", name=link).first.click()
    expect(page.locator("h1")).to_contain_text(link)
