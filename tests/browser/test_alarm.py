"""The page of an alarm whose model is trained again: its steps, its figures, and a person who stops it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages


def test_an_engineer_reads_and_stops_a_retraining(signed_in, plane, run_code):
    pk = int(run_code("from tests.browser import alarms; print(alarms.make_retrained_alarm('valves'))"))
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/alarms/{pk}")
    card = page.locator("[data-retraining]")
    expect(card).to_contain_text("valves-fresh-r1")
    expect(card.get_by_role("link", name="valves v2")).to_be_visible()
    card.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[name=reason]").fill("The lens was dirty.")
    dialog.get_by_role("button", name="Cancel the retraining").click()
    expect(page.locator("[data-retraining=cancelled]")).to_be_visible()
    page.get_by_role("link", name="valves accuracy").first.click()
    expect(page.locator("#main")).to_contain_text("at most 1 in seven days, by engineer")
    assert list_wide_pages(page, [f"{plane}/p/demo/alarms/{pk}", page.url]) == []
