"""A job by hand: a form that is checked, a run that is followed and cancelled, and where each administrator begins."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages


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
    expect(page.locator(".title .state")).to_have_text("Running")
    expect(page.locator("ol.log li").nth(10)).to_be_visible()
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_label("Reason").fill("seen enough")
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".title .state")).to_have_text("Cancelled")
    expect(page.locator(".answer")).to_contain_text("seen enough")


def test_pages_fit_a_phone(signed_in, plane):
    paths = ["/", "/p/demo/", "/p/demo/jobs", "/p/demo/data", "/p/demo/upload", "/nodes", "/audit"]
    assert list_wide_pages(signed_in("engineer"), [f"{plane}{path}" for path in paths]) == []


@pytest.mark.parametrize(("name", "link"), [("sysadmin", "Nodes"), ("secadmin", "People"), ("auditor", "Audit")])
def test_administrators_find_their_duties(name, link, signed_in, plane):
    page = signed_in(name)
    page.goto(f"{plane}/")
    page.locator("#main").get_by_role("link", name=link).first.click()
    expect(page.locator("h1")).to_contain_text(link)
