"""A recall by its pages: from the lineage of a dataset version to the device that has gone back."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages


def test_from_data_to_the_device_that_has_gone_back(signed_in, plane, run_code):
    data = int(run_code("from tests.browser import recalled; print(recalled.seed())"))
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/lineage/dataset_version/{data}")
    page.get_by_role("link", name="Affected objects").click()
    expect(page.locator(".answer")).to_contain_text("1 model version carries it. 1 device runs one")
    search = page.url
    page.get_by_role("link", name="Devices 1").click()
    expect(page.get_by_role("link", name="belt-3")).to_be_visible()
    page.locator("[name=reason]").fill("The scale was off.")
    page.get_by_role("button", name="Recall", exact=True).click()
    expect(page.locator("[data-part=devices] tbody")).to_contain_text("Rolling back")
    expect(page.locator("[data-part=items] tbody")).to_contain_text("belt-wear production")
    expect(page.locator("[data-part=answer]")).to_contain_text("1 active device still runs it")
    run_code("from tests.browser import recalled; recalled.install()")
    expect(page.locator("[data-part=state]")).to_contain_text("Completed")
    expect(page.locator("[data-part=answer]")).to_contain_text("No active device runs it.")
    assert list_wide_pages(page, [page.url, search, f"{plane}/p/demo/recalls"]) == []
