"""A rollout by its pages: planned and previewed, approved by another person, held by its gate, let on, rolled back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, list_wide_pages

CALL = "from tests.browser import fleets; fleets.{call}"


@pytest.fixture
def people(browser, plane, watch, sign_in_as):
    """(the engineer's page, the approver's page), each in a browser of their own."""
    contexts = [browser.new_context(), browser.new_context()]
    names = ("engineer", "approver")
    yield [sign_in_as(watch(one.new_page()), name) for one, name in zip(contexts, names, strict=True)]
    for context in contexts:
        context.close()


def plan(page, plane) -> None:
    page.goto(f"{plane}/p/demo/rollouts")
    page.get_by_role("link", name="New rollout").first.click()
    expect(page.locator("#selection")).to_contain_text(re.compile(r"Selects [\d,]+ active devices? now"))
    page.get_by_label("Query").first.fill("tag.site = 'site 0'")
    expect(page.locator("#selection")).to_contain_text("20 active devices now")
    page.locator("select[name=version]").select_option("pumps:2")
    page.locator("[name=waves]").fill("20 %\n100 %")
    page.locator("[name=metric_1]").fill("latency_ms")
    page.locator("[name=margin_1]").fill("5")
    page.locator("[name=automatic]").uncheck()
    page.get_by_text("Advanced").click()
    page.locator("[name=without_samples]").check()
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#main")).to_contain_text("4 canary devices prove nothing about rare failures.")
    page.get_by_role("button", name="Create the plan").click()


def press(page, button: str, confirm: str, reason: str = "") -> None:
    page.get_by_role("button", name=button, exact=True).click()
    dialog = page.get_by_role("dialog")
    if reason:
        dialog.locator("[name=reason]").fill(reason)
    dialog.get_by_role("button", name=confirm).click()


def approve(page, address: str, *words: str) -> None:
    page.goto(address)
    for text in words:
        expect(page.locator("#main")).to_contain_text(text)
    page.locator("#vote").get_by_label("Reason").fill("The figures hold.")
    page.locator("#vote input[name=password]").fill(PASSWORD)
    page.locator("#vote button[value=approve]").click()
    expect(page.locator(".title .state")).to_have_text("Approved")


def test_from_the_plan_to_the_way_back(people, plane, run_code):
    engineer, approver = people
    run_code(CALL.format(call="make_fleet('pumps', 40)"))
    plan(engineer, plane)
    state = engineer.locator("[data-part=state]")
    expect(state).to_have_text("Draft")
    here = engineer.url
    press(engineer, "Request approval", "Request approval", "It is faster.")
    expect(state).to_have_text("Awaiting approval")
    start = engineer.locator("[data-part=approvals] a").first.get_attribute("href")
    approve(approver, f"{plane}{start}", "Reaches 20 devices", "20 devices to pumps v1", "1.2")
    expect(state).to_have_text("Approved")  # by itself
    press(engineer, "Start", "Start the rollout")
    expect(state).to_have_text("Running")
    run_code(CALL.format(call=f"hold({re.findall('[0-9]+', here)[-1]})"))
    expect(state).to_have_text(re.compile("hold|Held"))
    expect(engineer.locator("[data-part=evidence]")).to_contain_text("Boundary of no worse")
    engineer.locator("[data-part=waves]").get_by_role("link", name="4", exact=True).last.click()
    expect(engineer.locator("[data-list] tbody tr")).to_have_count(4)
    engineer.goto(here)
    press(engineer, "Ask the approvers", "Request approval", "The margin is nearly shown.")
    newest = engineer.locator("[data-part=approvals] a").first
    expect(newest).not_to_have_attribute("href", start)
    ask = newest.get_attribute("href")
    approver.goto(f"{plane}{ask}")
    expect(approver.locator("#main")).to_contain_text("The canary so far: wave 1")
    press(engineer, "Roll back", "Roll back the devices", "It rattles.")
    expect(state).to_have_text(re.compile("Rolling back|Rolled back"))
    approver.reload()
    expect(approver.locator("#main")).to_contain_text("It has ended: there is nothing to decide.")
    assert list_wide_pages(engineer, [here, f"{here}/devices", f"{plane}/p/demo/rollouts/new", f"{plane}{start}"]) == []
