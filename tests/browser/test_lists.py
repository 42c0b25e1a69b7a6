"""A list in a browser: moved through by keyboard, its columns picked, a view of it kept, many rows done at once."""

import csv
import re

import pytest
from playwright.sync_api import expect

SUBMIT = """async ([name, count]) => {
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  for (let n = 0; n < count; n++) {
    const body = JSON.stringify({kind: "noop", name: `${name} ${n}`, spec: {seconds: 90, steps: 900}});
    const headers = {"X-CSRFToken": token, "Content-Type": "application/json"};
    const answer = await fetch("/api/v1/projects/demo/jobs", {method: "POST", headers, body});
    if (!answer.ok) throw new Error(await answer.text());
  }
}"""


@pytest.fixture
def jobs(signed_in, plane):
    """jobs("name", 3) -> the page of the list of so many jobs of this name, newest first."""

    def open_list(name: str, count: int):
        page = signed_in("engineer")
        page.goto(f"{plane}/p/demo/jobs?view=all")
        page.evaluate(SUBMIT, [name, count])
        page.goto(f"{plane}/p/demo/jobs?name={name}")
        expect(rows(page)).to_have_count(count)
        return page

    return open_list


def rows(page):
    return page.locator("table[data-list] tbody tr")


def cancel_all(page, reason: str) -> None:
    page.wait_for_load_state()  # what is selected is counted by a script
    page.get_by_label("Select all on this page").check()
    page.locator(".tray").get_by_role("button", name="Cancel", exact=True).click()
    page.locator("#bulk-cancel").get_by_label("Reason").fill(reason)
    page.get_by_role("button", name="Cancel the jobs").click()
    expect(page.locator("h1")).to_have_text("Cancel jobs")


def wait_until_cancelled(page, count: int) -> None:
    """A running job is only asked to stop, and asking twice is no error: wait until its worker has done so."""
    cancelled = rows(page).filter(has=page.get_by_text("Cancelled", exact=True))  # not one that says "Being cancelled"
    for _ in range(60):
        if cancelled.count() == count:
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(f"Fewer than {count} jobs are cancelled after 30 s.")


def test_rows_are_moved_through_selected_and_opened_by_keyboard(jobs):
    page = jobs("keyed", 4)
    page.keyboard.press("j")
    expect(rows(page).nth(0).locator("th a")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    expect(page.locator("tr[aria-selected=true]")).to_have_count(3)
    expect(page.locator(".tray b")).to_have_text("3 selected")
    page.keyboard.press("k")
    expect(rows(page).nth(1).locator("th a")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".tray")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("noop")
    page.go_back()
    cancel_all(page, "keyed")


def test_enter_in_a_box_opens_the_row_and_does_nothing_to_many(jobs):
    page = jobs("boxed", 1)
    rows(page).locator("input[type=checkbox]").check()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/jobs/\d+$"))
    page.go_back()
    cancel_all(page, "boxed")


def test_a_click_beside_a_link_makes_the_row_current_but_leaves_marked_text_alone(jobs):
    page = jobs("clicked", 2)
    cell = rows(page).nth(1).locator('td[data-l="By"]')
    cell.click()
    expect(rows(page).nth(1).locator("th a")).to_be_focused()
    cell.dblclick()
    assert page.evaluate("String(getSelection())").strip() == "engineer"
    cancel_all(page, "clicked")


def test_columns_and_order_stay_in_the_address(jobs):
    page = jobs("picked", 2)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="Priority").check()
    page.get_by_role("checkbox", name="Kind").uncheck()
    page.get_by_role("button", name="Show these").click()
    expect(page.get_by_role("columnheader", name="Priority")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Kind")).to_have_count(0)
    page.get_by_role("link", name="Created", exact=True).click()
    expect(page.get_by_role("columnheader", name="Created")).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_role("columnheader", name="Priority")).to_be_visible()
    assert {"name=picked", "sort=-made", "columns=priority"} <= set(page.url.partition("?")[2].split("&"))
    cancel_all(page, "picked")


def test_a_view_is_kept_opens_the_list_and_is_deleted(jobs, plane):
    page = jobs("viewed", 1)
    page.get_by_text("Views", exact=True).click()
    page.get_by_role("button", name="Save this view").click()
    page.locator("#save-view").get_by_label("Name").fill("The viewed")
    page.get_by_label("Open the list with it").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".flash")).to_contain_text("The viewed")
    page.goto(f"{plane}/p/demo/jobs")
    assert page.url.endswith("?name=viewed")
    page.locator("summary", has_text="The viewed").click()
    page.get_by_role("button", name="Change your views").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Delete the view The viewed").click()
    page.goto(f"{plane}/p/demo/jobs")
    assert page.url.endswith("/jobs")
    page.goto(f"{plane}/p/demo/jobs?name=viewed")
    cancel_all(page, "viewed")


def test_many_jobs_are_cancelled_and_each_says_what_became_of_it(jobs):
    page = jobs("many", 3)
    cancel_all(page, "seen enough")
    expect(page.locator(".answer")).to_contain_text("3 done")
    page.get_by_text("as REST calls").click()
    expect(page.locator("[data-loop] code")).to_contain_text("for id in")
    page.get_by_role("link", name="Back to the list").click()
    assert "name=many" in page.url
    wait_until_cancelled(page, 3)
    cancel_all(page, "once more")
    expect(page.locator(".answer")).to_contain_text(re.compile("refused"))


def test_the_list_is_taken_away_as_a_file(jobs, tmp_path):
    page = jobs("filed", 2)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert re.fullmatch(r"jobs-demo-\d{4}-\d\d-\d\d\.csv", path.name)
    head, *lines = csv.reader(path.open(encoding="utf-8", newline=""))
    assert head[:3] == ["job", "kind", "name"]
    assert [line[2] for line in lines] == ["filed 1", "filed 0"]
    cancel_all(page, "filed")


def test_on_a_phone_filters_wait_to_be_asked_for_and_the_tray_is_above_the_bar(jobs):
    page = jobs("phoned", 1)
    page.set_viewport_size({"width": 390, "height": 844})
    state = page.get_by_role("combobox", name="State")
    expect(state).to_be_hidden()
    page.get_by_text("More filters").click()
    expect(state).to_be_visible()
    rows(page).locator("input[type=checkbox]").check()
    expect(rows(page).locator("th")).to_have_text(re.compile(r"^\s*#\d+ phoned 0\s+\w+\s*$"), use_inner_text=True)
    tray, bar = page.locator(".tray").bounding_box(), page.locator(".rail").bounding_box()
    assert tray["y"] + tray["height"] <= bar["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    cancel_all(page, "phoned")
