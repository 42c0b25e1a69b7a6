"""The search field by keyboard, and what a screen reader is told of it."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_accessibility import find_grave

TABLE = {"name": "t.csv", "mimeType": "text/csv", "buffer": b"day,close\n2026-01-01,1\n2026-01-02,2\n"}

AT_ONCE = """(field, word) => {
  for (const letter of word) {
    field.value += letter;
    field.dispatchEvent(new InputEvent("input", { bubbles: true, data: letter }));
  }
}"""


@pytest.fixture
def page(signed_in, plane):
    """The engineer's home, in a plane with data called cocoa and cocoa-futures."""
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/data")
    if not page.get_by_role("link", name="cocoa-futures").count():
        for name in ("cocoa", "cocoa-futures"):
            page.goto(f"{plane}/p/demo/upload")
            page.get_by_role("textbox", name="Dataset").fill(name)
            page.set_input_files("input[type=file]", TABLE)
            page.get_by_label("Profile after upload").uncheck()  # its job would be found by the name as well
            page.get_by_role("button", name="Upload").click()
            expect(page.locator(".answer")).to_contain_text("2 rows")
    page.goto(f"{plane}/")
    return page


def field(page):
    return page.get_by_role("combobox", name="Search")


def test_slash_typing_arrows_and_enter(page):
    page.keyboard.press("/")
    expect(field(page)).to_be_focused()
    page.keyboard.type("cocoa")
    expect(page.get_by_role("option", name=re.compile("^cocoa-futures"))).to_be_visible()
    expect(field(page)).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = field(page).get_attribute("aria-activedescendant")
    expect(page.locator(f"#{chosen}")).to_have_attribute("aria-selected", "true")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "/p/demo/data/cocoa-futures" in page.url


def test_escape_closes_the_list_first_and_leaves_the_field_then(page):
    field(page).press_sequentially("coco")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(field(page)).to_be_focused()
    expect(field(page)).to_have_value("coco")


def test_the_open_list_has_no_grave_finding(page):
    field(page).press_sequentially("cocoa")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert find_grave(page) == []


def test_enter_without_a_choice_shows_everything_found(page):
    field(page).fill("cocoa")
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_contain_text("for “cocoa”")
    page.get_by_role("link", name="cocoa-futures").first.click()
    expect(page.locator("h1")).to_contain_text("cocoa-futures")


def test_typing_fast_asks_once(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/search" in request.url else None)
    field(page).focus()
    field(page).evaluate(AT_ONCE, "cocoa-futures")
    expect(page.get_by_role("option", name=re.compile("^cocoa-futures"))).to_be_visible()
    assert len(asked) == 1


def test_without_script_the_field_is_a_form(browser, page, plane):
    still = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = still.new_page()
    plain.goto(f"{plane}/")
    plain.locator(".find input").fill("cocoa")
    plain.keyboard.press("Enter")
    expect(plain.locator(".answer")).to_contain_text("for “cocoa”")
    still.close()
