"""A step is added where one is: without a jump of the page, and the preview follows by itself."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_plan import TABLE, add, kinds, press

STEP = '[name="/steps/{}/columns"]'


@pytest.fixture(scope="module")
def version(browser, plane, passwords, sign_in_as):
    context = browser.new_context()
    page = sign_in_as(context.new_page(), "engineer")
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("in-place")
    page.set_input_files("input[type=file]", TABLE)
    page.get_by_role("button", name="Upload").click()
    address = page.get_by_role("link", name="Clean this version").first.get_attribute("href")
    context.close()
    return re.search(r"version=(\d+)", address)[1]


def test_a_step_is_added_where_one_is_and_the_preview_follows(signed_in, plane, version):
    page = signed_in("engineer")
    page.set_viewport_size({"width": 1440, "height": 500})
    page.goto(f"{plane}/p/demo/jobs/new/clean?version={version}")
    expect(page.locator("#sample .stats")).to_be_visible()
    page.evaluate("window.same = true")
    page.locator('[name="mode"]').select_option("steps")
    page.locator('button[value="add:/steps"]').scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    assert before > 0
    add(page, "normalise_text")
    expect(page.locator('[data-pointer="/steps/0"] :focus')).to_have_count(1)
    expect(page.locator("#sample")).to_contain_text("1. Normalise text")
    assert page.evaluate("window.same") is True  # no other page
    assert page.evaluate("scrollY") >= before
    add(page, "drop")
    press(page, "up:/steps/1")
    assert kinds(page) == ["drop", "normalise_text"]
    press(page, "del:/steps/0")
    assert kinds(page) == ["normalise_text"]
    assert page.evaluate("window.same") is True
    page.wait_for_load_state("networkidle")


def test_a_form_that_comes_back_whole_asks_for_the_preview(signed_in, plane, version):
    """As it does without htmx: the note must not say that a field lacks."""
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new/clean?version={version}")
    expect(page.locator("#sample .stats")).to_be_visible()
    page.locator('[name="mode"]').select_option("steps")
    page.locator('select[name="new:/steps"]').select_option("normalise_text")
    page.wait_for_load_state("networkidle")
    with page.expect_navigation():
        page.evaluate("""() => {
            const form = document.getElementById("job");
            const op = {type: "hidden", name: "op", value: "add:/steps"};
            form.append(Object.assign(document.createElement("input"), op));
            HTMLFormElement.prototype.submit.call(form);
        }""")
    expect(page.locator("#sample")).to_contain_text("1. Normalise text")
    page.wait_for_load_state("networkidle")


def test_no_form_of_a_job_breaks_the_policy_of_styles(signed_in, plane, version):
    """The watched page fails on an error in the console."""
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new")
    forms = page.locator('a[href*="/jobs/new/"]').evaluate_all("all => all.map(one => one.href)")
    assert len(forms) > 5
    for address in (*forms, *(f"{plane}/p/demo/{path}/new/train" for path in ("jobs", "sweeps"))):
        page.goto(address)
        page.wait_for_load_state("networkidle")
        first = page.locator("#job input[type=text]:visible, #job textarea:visible").first
        first.fill("x")
        first.press("Tab")
        page.wait_for_timeout(1000)
        page.wait_for_load_state("networkidle")


def test_an_uploaded_version_is_measured_without_a_reload(signed_in, plane):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("measured-by-itself")
    page.set_input_files("input[type=file]", TABLE | {"buffer": TABLE["buffer"] + b"60,51,x\n"})
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".title")).to_contain_text(re.compile("Usable|check fails|checks fail"))
