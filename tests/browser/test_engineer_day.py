"""The engineer's day: a table goes in, is read and cleaned, two models are trained and compared, one asks to go out."""

import re

import pytest
from playwright.sync_api import expect

ROWS = "".join(
    f"{hour},{'' if hour % 41 == 0 else 50 + hour % 24 + (hour * 7919 % 100) / 100}\n" for hour in range(400)
)
TABLE = {"name": "grid.csv", "mimeType": "text/csv", "buffer": f"hour,load\n{ROWS}".encode()}
SMALL = {"/epochs": "60", "/schedule/warmup_steps": "40"}
MARK = """() => {
    window.heard = 0;
    document.addEventListener('plane:metric', () => { window.heard += 1; });
}"""


@pytest.fixture
def page(signed_in):
    return signed_in("engineer")


def test_from_a_raw_table_to_a_request(page, plane):
    seen = [f"{plane}/", f"{plane}/p/demo/"]
    seen += [upload(page, plane), clean(page), read_cleaned(page)]
    job, first = train(page, hidden="4")
    page.goto(job)
    page.get_by_role("link", name="Clone and edit").click()
    second = train(page, hidden="16")[1]
    seen += [job, f"{job}/metrics", first, compare(page, plane, first, second)]
    seen += [quantize(page, plane), *register(page, plane), ask(page)]
    page.set_viewport_size({"width": 390, "height": 844})
    wide = [address for address in seen if width_of(page, address) > 390]
    assert wide == []


def width_of(page, address: str) -> int:
    page.goto(address)
    return page.evaluate("document.documentElement.scrollWidth")


def upload(page, plane) -> str:
    """In it goes; its first rows show what is missing, and its quality nobody has measured."""
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("grid")
    page.set_input_files("input[type=file]", TABLE)
    page.get_by_label("Profile after upload").uncheck()
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".answer")).to_contain_text("400 rows in 2 columns")
    address = page.url
    page.get_by_role("link", name="Preview", exact=True).click()
    expect(page.locator("table.sheet")).to_contain_text("missing")
    filter_rows(page)
    page.get_by_role("link", name=re.compile("^Quality")).first.click()
    expect(page.locator("#main")).to_contain_text("No job has profiled it yet")
    return address


def filter_rows(page) -> None:
    """A filter without a value, one with a value beside it, and the form sent with neither."""
    rows = page.locator("table.sheet tbody tr")
    page.get_by_label("Column", exact=True).select_option("load")
    page.get_by_label("Condition").select_option("missing")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(rows).to_have_count(10)
    page.get_by_label("Column", exact=True).select_option("hour")
    page.get_by_label("Condition").select_option("gte")
    page.get_by_label("Value", exact=True).fill("100")
    for _ in range(2):
        page.get_by_role("button", name="Filter", exact=True).click()
        expect(page.get_by_role("list", name="Filters in use").get_by_role("listitem")).to_have_count(2)
        expect(rows).to_have_count(7)


def clean(page) -> str:
    """What it would change is shown on the first rows; then it is queued and watched to its end."""
    page.get_by_role("link", name="Clean this version").first.click()
    sample = page.locator("#sample")
    expect(sample).to_contain_text("all 400 rows looked at")
    expect(sample.get_by_role("table", name="Some of the cells that change")).to_contain_text("filled")
    job = watch_to_the_end(page, queue(page))
    expect(page.locator("ol.log li").first).to_be_visible()
    return job


def queue(page) -> str:
    page.get_by_role("button", name="Queue", exact=True).last.click()
    page.wait_for_url(re.compile(r"/jobs/\d+$"))
    return page.url


def watch_to_the_end(page, address: str) -> str:
    """The page that was opened while the job waited shows its end without being loaded again."""
    page.evaluate("window.same = true")
    expect(page.locator(".title .state")).to_have_text("Succeeded")
    assert page.evaluate("window.same") is True
    return address


def read_cleaned(page) -> str:
    """The version that was made tells its quality before and after, and where it comes from."""
    expect(page.locator(".answer")).to_contain_text("10 values filled, 0 still missing.")
    page.get_by_role("link", name=re.compile("^Outputs")).click()
    page.get_by_role("link", name="grid-clean v1").click()
    expect(page.locator(".answer")).to_contain_text("nothing missing")
    expect(page.locator(".strip")).to_contain_text("grid v1")
    page.get_by_role("link", name=re.compile("^Quality")).first.click()
    expect(page.get_by_text("before, grid v1, and after")).to_be_visible()
    quality = page.url
    page.get_by_role("link", name="Use in a job").click()
    page.get_by_role("link", name="Train a model", exact=True).click()
    page.get_by_role("button", name="Train only", exact=True).click()
    return quality


def train(page, hidden: str) -> tuple[str, str]:
    """From the open form to the run: the schedule follows what is typed, the metrics come as they are measured."""
    page.wait_for_load_state()  # the schedule follows by a script
    page.locator('[name="/task"]').select_option("forecast")
    page.locator('[name="/target"]').select_option("load")
    page.locator('details[data-pointer="/schedule"]').evaluate("group => group.open = true")
    for field, value in (SMALL | {"/hidden": hidden}).items():
        page.locator(f'[name="{field}"]').fill(value)
    expect(page.locator("#ahead .stats")).to_contain_text(re.compile(r"Epochs\s*60"))
    job = queue(page)
    page.goto(f"{job}/metrics")
    page.evaluate(MARK)
    expect(page.locator("#told figure svg").first).to_be_visible()
    expect(page.locator(".title .state")).to_have_text("Succeeded")
    assert page.evaluate("window.heard") > 0  # and so it is the page that was opened
    page.get_by_role("link", name="Every point, in its run").click()
    expect(page.get_by_role("heading", name="On held-out rows")).to_be_visible()
    return job, page.url


def compare(page, plane, *runs: str) -> str:
    page.goto(f"{plane}/p/demo/runs")
    for run in runs:
        page.locator(f'input[name=ids][value="{run.rpartition("/")[2]}"]').check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".answer")).to_contain_text("is best")
    expect(page.get_by_role("row", name=re.compile(r"^hidden \["))).to_be_visible()
    return page.url


def quantize(page, plane) -> str:
    """The newest model; its manifest and its held-out rows come along by themselves."""
    page.goto(f"{plane}/p/demo/jobs/new/quantize")
    page.locator('[name="inputs/model"]').select_option(index=1)
    expect(page.locator('[name="inputs/heldout"]')).not_to_have_value("")
    for group in page.locator("main form details").all():
        group.evaluate("group => group.open = true")
    page.locator('[name="/runs"]').fill("20")
    return watch_to_the_end(page, queue(page))


def register(page, plane) -> list[str]:
    page.goto(f"{plane}/p/demo/jobs/new/register")
    page.locator('details[data-pointer="/optional-inputs"]').evaluate("group => group.open = true")
    for slot in ("fp32", "int8"):
        page.locator(f'[name="inputs/{slot}"]').select_option(index=1)
        expect(page.locator(f'[name="inputs/{slot}_figures"]')).not_to_have_value("")
    page.locator('[name="register/model"]').fill("grid-forecaster")
    job = watch_to_the_end(page, queue(page))
    page.locator("dl").get_by_role("link", name="grid-forecaster v1").first.click()
    # Which form is recommended was measured on this machine: fp32 of another runtime, or int8.
    expect(page.locator(".answer")).to_contain_text(re.compile(r"(fp32|int8)\S*: .*(faster|slower)"))
    return [job, page.url]


def ask(page) -> str:
    """Before the question stands what production would get; afterwards it waits for somebody else."""
    page.get_by_role("button", name="Request promotion").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("the wider of two")
    page.get_by_role("button", name="Request approval").click()
    expect(page.locator(".title .state")).to_have_text("Pending")
    expect(page.locator("#vote")).to_have_count(0)
    return page.url
