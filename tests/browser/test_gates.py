"""Evaluations, a gate that stops a worse version, the way out of it, and the model card, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def fill(plane, run_code):
    """fill("tides") -> the page of a model: v1 in production, v2 worse by 0.2, a gate that lets 0.05 through."""

    def fill_model(name: str) -> str:
        run_code(f"from tests.browser.evaluations import fill; fill('{name}')")
        return f"{plane}/p/demo/models/{name}"

    return fill_model


@pytest.fixture(scope="module")
def tides(fill):
    """A model that no test changes."""
    return fill("tides")


@pytest.fixture
def engineer(page, watch, sign_in_as, tides):
    return sign_in_as(watch(page, answers=(409,)), "engineer")


@pytest.fixture
def aside(browser):
    """A page of another browser, which may log in as somebody else."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_a_metric_is_drawn_over_versions_with_its_intervals(engineer, tides):
    engineer.goto(f"{tides}/baselines")
    drawn = engineer.get_by_role("figure", name="rmse over versions")
    expect(drawn.locator("svg text.lbl", has_text="v2 fp32")).to_be_visible()
    drawn.get_by_text("The same numbers as a table").click()
    expect(drawn.get_by_role("row", name="v2 fp32")).to_contain_text("1.1 to 1.3")
    drawn.get_by_label("Metric").select_option("mae")
    expect(engineer.get_by_role("figure", name="mae over versions")).to_be_visible()
    expect(engineer.get_by_role("region", name="By version and variant").locator("tbody tr")).to_have_count(2)


def test_a_version_shows_its_slices_and_what_the_gate_says(engineer, tides):
    engineer.goto(f"{tides}/baselines")
    engineer.get_by_role("region", name="By version and variant").get_by_role("link", name="v2").click()
    slices = engineer.get_by_role("region", name="By slice")
    expect(slices.get_by_role("row", name="harbour: Oslo")).to_contain_text("1.2 to 1.4")
    expect(engineer.locator(".answer")).to_contain_text("Not ready: rmse (tides-golden-r1")
    said = engineer.get_by_role("region", name="Gate results")
    expect(said).to_contain_text("Failed: worse by more than the margin")
    expect(said).to_contain_text("+0.2")


def test_gate_stops_worse_version_until_margin_is_raised(engineer, aside, watch, sign_in_as, fill, plane):
    model = fill("ebbs")
    engineer.goto(f"{model}/2")
    expect(engineer.locator(".answer")).to_contain_text("Not ready")
    ask(engineer)
    refused = engineer.get_by_role("dialog").get_by_role("alert")
    for part in (
        "ebbs-golden-r1, rmse",
        "v2 is worse than v1",
        "The difference is 0.2 (0.105 to 0.295",
        "margin 0.05",
    ):
        expect(refused).to_contain_text(part)
    expect(refused).to_contain_text("Train a better version, or have an approver set another margin.")
    expect(engineer.get_by_role("dialog").get_by_label("Comment")).to_have_value("please")  # nothing typed is lost
    approver = sign_in_as(watch(aside), "approver")
    approver.goto(f"{plane}/p/demo/approvals")
    expect(approver.locator("#main")).not_to_contain_text("ebbs v2")

    approver.goto(f"{model}/baselines")
    approver.get_by_label("Margin").fill("0.5")
    approver.get_by_role("button", name="Set the gate").click()
    expect(approver.get_by_role("region", name="Gates").locator("tbody")).to_contain_text("0.5")
    engineer.goto(f"{model}/2")
    ask(engineer)
    expect(engineer.locator(".title .state")).to_have_text("Pending")
    expect(engineer.locator("#main")).to_contain_text("Passed")


def ask(page) -> None:
    page.get_by_role("button", name="Request promotion").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("please")
    page.get_by_role("button", name="Request approval").click()


@pytest.mark.parametrize(("name", "start"), [("HTML", "<!doctype html>"), ("Markdown", "# Model card: tides v2")])
def test_the_model_card_is_kept_as_a_file(name, start, engineer, aside, tides):
    engineer.goto(f"{tides}/2/evaluations")
    with engineer.expect_download() as coming:
        engineer.get_by_role("link", name=f"Model card, {name}").click()
    kept = Path(coming.value.path())
    text = kept.read_text()
    assert text.lower().startswith(start.lower())
    assert coming.value.suggested_filename == f"tides-v2-card.{'html' if name == 'HTML' else 'md'}"
    for part in ("tides-golden-r1", "harbour", "Oslo"):
        assert part in text
    if name == "HTML":
        page = kept.rename(kept.with_suffix(".html"))
        aside.context.set_offline(True)
        aside.goto(page.as_uri())
        expect(aside.get_by_role("heading", level=1)).to_contain_text("tides v2")
        expect(aside.get_by_role("row", name="rmse").first).to_be_visible()
