"""A cleaning plan of three steps, built without a script of ours, previewed with its diff, and queued."""

import os
import re

import pytest
from playwright.sync_api import expect

ROWS = "".join(f"{n},{'' if n % 11 == 5 else 50 + n % 7},{' 甲 ' if n % 2 else '乙'}\n" for n in range(60))
TABLE = {"name": "p.csv", "mimeType": "text/csv", "buffer": f"hour,load,site\n{ROWS}".encode()}


@pytest.fixture(scope="module")
def version(browser, plane, passwords, sign_in_as):
    context = browser.new_context()
    page = sign_in_as(context.new_page(), "engineer")
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("plans")
    page.set_input_files("input[type=file]", TABLE)
    page.get_by_role("button", name="Upload").click()
    address = page.get_by_role("link", name="Clean this version").first.get_attribute("href")
    context.close()
    return re.search(r"version=(\d+)", address)[1]


def press(page, op: str) -> None:
    """Press a button of the form and wait until it is renewed."""
    page.wait_for_load_state("networkidle")
    button = page.locator(f'button[value="{op}"]').first
    button.evaluate("button => { button.dataset.old = ''; }")
    button.click()
    expect(page.locator("button[data-old]")).to_have_count(0)


def add(page, kind: str) -> None:
    page.wait_for_load_state("networkidle")
    page.locator('[name="mode"]').select_option("steps")
    page.locator('select[name="new:/steps"]').select_option(kind)
    press(page, "add:/steps")


def kinds(page) -> list[str]:
    page.wait_for_load_state("networkidle")  # the page that the button led to, not the one on its way out
    return page.locator('input[type="hidden"][name$="/kind"]').evaluate_all("all => all.map(one => one.value)")


def test_a_plan_of_three_steps_is_built_previewed_and_queued(signed_in, plane, version):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new/clean?version={version}")
    for kind in ("filter", "normalise_text", "fill_linear"):
        add(page, kind)
    assert kinds(page) == ["filter", "normalise_text", "fill_linear"]

    press(page, "up:/steps/2")
    press(page, "up:/steps/1")
    assert kinds(page) == ["fill_linear", "filter", "normalise_text"]

    page.locator('[name="/steps/0/columns"][value="load"]').check()
    page.locator('[name="/steps/1/conditions/0/column"]').fill("hour")
    page.locator('[name="/steps/1/conditions/0/op"]').select_option("ge")
    page.locator('[name="/steps/1/conditions/0/value"]').fill("10")

    sample = page.locator("#sample")
    expect(sample).to_contain_text("1. Fill: straight line: 5 cells change")
    expect(sample).to_contain_text("10 rows dropped")
    expect(sample).to_contain_text("60 → 50 rows")
    expect(sample.locator("ins").first).to_be_visible()
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=f"{folder}/plan.png", full_page=True)

    add(page, "drop")
    expect(page.locator('[data-pointer="/steps/3"]').first).to_contain_text("Drop columns")
    press(page, "del:/steps/3")
    assert kinds(page) == ["fill_linear", "filter", "normalise_text"]

    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Clean")


def test_an_error_of_a_step_stands_beside_its_field(signed_in, plane, version):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new/clean?version={version}")
    add(page, "derive")
    page.locator('[name="/steps/0/name"]').fill("y")
    page.locator('[name="/steps/0/expression"]').fill("load + nix")
    expect(page.locator("#sample")).to_contain_text("The table has no column 'nix'")
    page.wait_for_load_state("networkidle")
    page.locator('[name="/steps/0/expression"]').fill("load +")
    page.locator('[name="/steps/0/expression"]').press("Tab")
    expect(page.locator("#f-steps-0-expression-e")).to_contain_text("ends too early")
    page.wait_for_load_state("networkidle")
