"""A version that the plane cannot run: its owner gives a file of what it said, and sees it measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def reefs(plane, run_code):
    """The page of a version that a client registered, with a set of forty rows."""
    run_code("from tests.browser.evaluations import fill_client; fill_client('reefs')")
    return f"{plane}/p/demo/models/reefs/1/evaluations"


@pytest.fixture
def engineer(page, watch, sign_in_as, reefs):
    return sign_in_as(watch(page, answers=(422,)), "engineer")


def give(page, text: str) -> None:
    said = {"name": "said.csv", "mimeType": "text/csv", "buffer": text.encode()}
    page.get_by_label("Predictions", exact=True).set_input_files(said)
    page.get_by_role("button", name="Evaluate").click()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_file_of_predictions_is_measured_and_says_whose_it_is(engineer, reefs, width):
    engineer.set_viewport_size({"width": width, "height": 900})
    engineer.goto(reefs)
    with engineer.expect_download() as coming:
        engineer.locator("#e-set-l").get_by_role("link", name="reefs-kept-r1").click()
    assert Path(coming.value.path()).read_text().startswith("load,harbour\n")
    give(engineer, "prediction\n" + "".join(f"{number}\n" for number in range(40)))
    expect(engineer.locator(".title .state")).to_have_text("Succeeded")
    engineer.goto(reefs)
    expect(engineer.locator(".answer")).to_contain_text("rmse 0.5 on reefs-kept-r1. By predictions that engineer gave")
    shown = engineer.get_by_role("region", name="predictions on reefs-kept-r1")
    expect(shown).to_contain_text("By predictions that engineer gave; the plane did not run the model.")
    expect(engineer.get_by_role("region", name="By slice").get_by_role("row", name="harbour: Oslo")).to_be_visible()
    expect(engineer.locator("#main")).to_contain_text("Not measured: the plane did not run it.")
    assert engineer.evaluate("document.documentElement.scrollWidth") <= width


def test_predictions_of_other_rows_are_refused_by_name(engineer, reefs):
    engineer.goto(reefs)
    give(engineer, "prediction\n1\n2\n")
    expect(engineer.locator(".title .state")).to_have_text("Failed")
    expect(engineer.locator("#main")).to_contain_text("There are 2 predictions, and the table has 40 rows.")


def test_an_empty_file_is_refused_beside_the_field(engineer, reefs):
    engineer.goto(reefs)
    give(engineer, "")
    expect(engineer.locator("#e-file-e")).to_contain_text("empty")
    expect(engineer.get_by_label("Predictions", exact=True)).to_have_attribute("aria-invalid", "true")
