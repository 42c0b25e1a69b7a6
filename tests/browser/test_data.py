"""What a person sees of a real table: its first rows, the report that a job measured, and how two versions differ."""

import re

import pytest
from playwright.sync_api import expect

from tests.hearts import hearts_csv


@pytest.fixture(scope="module")
def versions():
    """The table, and the same with 5 patients less, 2 more and the cholesterol of 3 written anew."""
    header, *rows = hearts_csv().read_text().splitlines()
    at = header.split(",").index("chol")
    changed = [[*cells[:at], "999", *cells[at + 1 :]] for cells in (row.split(",") for row in rows[10:13])]
    later = rows[:10] + [",".join(cells) for cells in changed] + rows[13:-5]
    later += [re.sub(r"^\d+", number, rows[0]) for number in ("9001", "9002")]
    return ["\n".join([header, *some, ""]).encode() for some in (rows, later)]


def upload(page, plane: str, table: bytes) -> None:
    page.goto(f"{plane}/p/demo/upload")
    page.set_input_files("input[type=file]", {"name": "Hearts.CSV", "mimeType": "text/csv", "buffer": table})
    expect(page.get_by_role("textbox", name="Dataset")).to_have_value("hearts")
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".answer")).to_contain_text("in 16 columns")


def wait_for(page, address: str, text: str) -> None:
    """A report is there once its job has ended: the page is loaded until it shows it."""
    for _ in range(60):
        page.goto(address)
        if page.get_by_text(text).count():
            return
        page.wait_for_timeout(1000)
    pytest.fail(f"{address} does not show {text!r}")


def test_a_real_table_is_looked_at_measured_and_compared(signed_in, plane, versions):
    page = signed_in("engineer")
    page.set_viewport_size({"width": 1440, "height": 900})
    for table in versions:
        upload(page, plane, table)
    page.goto(f"{plane}/p/demo/data/hearts/1/preview")
    expect(page.locator("table.sheet thead")).to_contain_text("trestbps")
    expect(page.locator("table.sheet tbody tr")).not_to_have_count(0)

    wait_for(page, f"{plane}/p/demo/data/hearts/1/quality", "Column by column")
    chol = page.locator("section", has=page.get_by_role("heading", name="Column by column")).locator("tr")
    expect(chol.filter(has=page.get_by_role("rowheader", name="chol", exact=True))).to_contain_text("30")
    expect(page.get_by_role("heading", name="Quality report")).to_be_visible()
    page.goto(f"{plane}/p/demo/data/hearts/1/distributions")
    expect(page.locator("#main figure")).to_have_count(12)
    expect(page.locator("#main figure", has_text="chol").locator("svg").first).to_be_visible()

    page.goto(f"{plane}/p/demo/data/hearts/2/compare?with=1")
    page.get_by_role("checkbox", name="id", exact=True).check()
    page.get_by_role("button", name="Compare rows").click()
    told = "2 added, 5 removed, 3 changed, 912 the same"
    wait_for(page, f"{plane}/p/demo/data/hearts/2/compare?with=1", told)
    rows = page.locator("section", has=page.get_by_role("heading", name="Rows", exact=True)).locator("table tr")
    changed = rows.filter(has_text="changed").first
    expect(changed).to_contain_text("chol")
    expect(changed).to_contain_text("999")
    page.set_viewport_size({"width": 390, "height": 844})
    for tab in ("preview", "quality", "distributions", "compare?with=1"):
        page.goto(f"{plane}/p/demo/data/hearts/2/{tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
