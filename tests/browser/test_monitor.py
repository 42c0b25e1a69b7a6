"""The page of a monitor: its chart, and its features sorted by drift."""

from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages
from tests.browser.test_accessibility import find_grave


def test_features_stand_sorted_by_drift_beside_the_chart(signed_in, plane, run_code):
    pk = int(run_code("from tests.browser import monitors; print(monitors.make_drifted_monitor('chillers'))"))
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/monitors/{pk}")
    rows = page.locator("[data-feature]")
    expect(rows).to_have_count(30)
    assert [rows.nth(place).get_attribute("data-feature") for place in (0, 1, 29)] == [
        "sensor_0",
        "sensor_1",
        "sensor_29",
    ]
    expect(rows.first).to_contain_text("KS 0.500")
    expect(page.locator("svg").filter(has_text="Alarm line").first).to_be_visible()
    assert find_grave(page) == []
    assert list_wide_pages(page, [page.url]) == []
