"""The approver's day: what waits, read it, reject it with a reason; see what changed since, ask, approve."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, list_wide_pages


@pytest.fixture(scope="module")
def wards(run_code) -> None:
    """A model version to argue about."""
    run_code("from tests.browser.versions import make; make('wards', 1.5)")


@pytest.fixture
def people(browser, plane, wards, watch, sign_in_as):
    """(the engineer's page, the approver's page), each in a browser of their own."""
    contexts = [browser.new_context(), browser.new_context()]
    names = ("engineer", "approver")
    yield [sign_in_as(watch(one.new_page()), name) for one, name in zip(contexts, names, strict=True)]
    for context in contexts:
        context.close()


def ask(page, plane, comment: str) -> str:
    """Request the promotion; returns the address of the approval."""
    page.goto(f"{plane}/p/demo/models/wards/1")
    expect(page.locator(".answer")).to_contain_text("rmse 1.5")
    page.get_by_role("button", name="Request promotion").click()
    page.get_by_role("dialog").get_by_label("Comment").fill(comment)
    page.get_by_role("button", name="Request approval").click()
    expect(page.locator(".title .state")).to_have_text("Pending")
    return page.url


def decide(page, reason: str, press: str, *, password: str = "") -> None:
    page.locator("#vote").get_by_label("Reason").fill(reason)
    if password:
        page.locator("#vote input[name=password]").fill(password)
    page.locator(f"#vote button[value={press}]").click()


def test_approver_rejects_then_asks_then_approves(people, plane):
    engineer, approver = people
    first = ask(engineer, plane, "better everywhere")
    approver.goto(f"{plane}/p/demo/approvals")
    approver.locator(f'#main a[href="{first.removeprefix(plane)}"]').first.click()
    for question in ("What changes", "Impact", "Evidence", "Training data", "Rollback"):
        expect(approver.get_by_role("heading", name=question)).to_be_visible()
    expect(approver.locator("#main")).to_contain_text("better everywhere")
    expect(approver.locator("#looked")).to_have_count(0)
    decide(approver, "no figures by ward", "reject", password=PASSWORD)
    expect(approver.locator(".answer")).to_contain_text("approver: “no figures by ward”")

    engineer.goto(first)
    expect(engineer.locator(".title .state")).to_have_text("Rejected")
    second = ask(engineer, plane, "with figures by ward")
    approver.goto(second)
    expect(approver.locator("#looked")).to_contain_text("It was asked for anew")
    approver.get_by_role("button", name="I have seen it").click()
    expect(approver.locator("#looked")).to_have_count(0)

    decide(approver, "On which days was it worse?", "ask")
    expect(approver.locator(".title .state")).to_have_text("Waiting for an answer")
    engineer.goto(second)
    engineer.get_by_label("Your answer").fill("On three days in March.")
    with engineer.expect_navigation():
        engineer.get_by_role("button", name="Answer the approvers").click()
    approver.goto(second)
    expect(approver.locator("#looked")).to_contain_text("engineer has answered.")
    expect(approver.locator("#main")).to_contain_text("On three days in March.")
    decide(approver, "figures read", "approve", password=PASSWORD)
    expect(approver.locator(".title .state")).to_have_text("Approved")
    expect(approver.locator("#main")).to_contain_text("It still points there.")
    engineer.goto(f"{plane}/p/demo/models/wards/1/history")
    expect(engineer.locator("#main")).to_contain_text("production moved here")
    expect(engineer.locator("#main")).to_contain_text("Rejected")
    for width in (1440, 390):
        assert list_wide_pages(engineer, [second], width=width) == []
