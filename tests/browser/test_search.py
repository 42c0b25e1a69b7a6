"""The search field and the command palette by keyboard, and what a screen reader is told of them."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import wait_until
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
    page.keyboard.insert_text("cocoa")  # asked for once: no second answer takes the choice away
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
    field(page).fill("coco")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(field(page)).to_be_focused()
    expect(field(page)).to_have_value("coco")


def test_the_open_list_has_no_grave_finding(page):
    field(page).fill("cocoa")
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


def palette_field(page):
    return page.get_by_role("dialog", name="Command palette").get_by_role("combobox")


def test_the_palette_finds_pages_actions_and_objects_and_enter_goes_there(page, plane):
    options = page.locator("#palette [role=option]")
    for typed, title, path in (
        ("appr", re.compile("^Approvals"), "/p/demo/approvals"),
        ("upload", re.compile("^Upload data"), "/p/demo/upload"),
        ("cocoa-fut", re.compile("^cocoa-futures"), "/p/demo/data/cocoa-futures"),
    ):
        page.keyboard.press("Control+k")
        expect(palette_field(page)).to_be_focused()
        page.keyboard.type(typed)
        expect(options.first).to_have_text(title)
        expect(options.first).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(rf"{re.escape(plane + path)}(/.*)?$"))
        page.wait_for_load_state()  # the next page hears no key before its scripts


def test_escape_closes_the_palette_and_gives_the_focus_back(page):
    link = page.locator("main a").first
    link.focus()
    page.keyboard.press("Control+k")
    expect(page.locator("#palette [role=option]").first).to_be_visible()
    assert find_grave(page) == []
    page.keyboard.press("Escape")
    expect(palette_field(page)).to_be_hidden()
    expect(link).to_be_focused()


def test_the_palette_offers_only_what_the_role_may_open(context, watch, sign_in_as, plane):
    page = sign_in_as(watch(context.new_page()), "auditor")
    page.goto(f"{plane}/")
    page.keyboard.press("Control+k")
    options = page.locator("#palette [role=option]")
    expect(options.filter(has_text="Audit")).to_have_count(1)
    page.keyboard.type("upload data")
    expect(options).to_have_text([re.compile("search everything")])


def hold(page, words: str) -> list:
    """The questions for these words from now on, which the test lets go."""
    held = []
    page.route(re.compile(f"q={words}(&|$)"), lambda route: held.append(route))
    return held


def test_a_late_answer_opens_no_list_that_was_closed(page):
    held = hold(page, "cocoa")
    field(page).fill("coco")
    expect(page.get_by_role("listbox")).to_be_visible()
    field(page).fill("cocoa")
    wait_until(page, lambda: held)
    page.keyboard.press("Escape")
    with page.expect_response("**q=cocoa*") as late:
        held[0].continue_()
    late.value.finished()
    page.wait_for_timeout(200)  # nothing is to happen
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(field(page)).to_be_focused()


def test_a_late_answer_is_not_what_enter_takes(page):
    page.keyboard.press("Control+k")
    expect(page.locator("#palette [role=option]").first).to_be_visible()
    held = hold(page, "upload")
    page.keyboard.insert_text("upload")
    wait_until(page, lambda: held)
    page.clock.install()
    page.clock.pause_at("2100-01-01")
    page.keyboard.insert_text("s of cocoa")  # asked for once the clock goes on
    held[0].fulfill(body='<a role="option" href="/" id="late">late</a>', content_type="text/html")
    page.wait_for_timeout(300)  # nothing is to happen
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/search\?q=uploads"))


def test_an_empty_answer_to_a_letter_closes_nothing_for_the_next(page):
    held = hold(page, "c")
    field(page).fill("c")
    wait_until(page, lambda: held)
    page.clock.install()
    page.clock.pause_at("2100-01-01")
    page.keyboard.insert_text("ocoa")  # asked for once the clock goes on
    held[0].fulfill(body="", content_type="text/html")
    page.wait_for_timeout(300)  # nothing is to happen
    page.clock.resume()
    expect(page.get_by_role("option", name=re.compile("^cocoa-futures"))).to_be_visible()
