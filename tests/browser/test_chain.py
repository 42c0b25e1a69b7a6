"""From a raw table to production by two people, each in a browser of their own."""

import pytest
from playwright.sync_api import expect

from deepseek.cli import main
from deepseek.models.manifest import compute_file_sha256
from deepseek.quantize.document import Tradeoff
from tests.browser.conftest import PASSWORD, list_wide_pages

ROWS = "".join(
    f"{hour},{'' if hour % 41 == 0 else 50 + hour % 24 + (hour * 7919 % 100) / 100}\n" for hour in range(400)
)
TABLE = {"name": "load.csv", "mimeType": "text/csv", "buffer": f"hour,load\n{ROWS}".encode()}
SMALL = {
    "/train/hidden": "16",
    "/train/epochs": "10",
    "/quantize/runs": "20",
    "/compile/runs": "20",
    "/compile/trials": "4",
}


@pytest.fixture(scope="module")
def trained(browser, plane, passwords, sign_in_as):
    """The address of the model version that an engineer made in the browser."""
    context = browser.new_context()
    page = sign_in_as(context.new_page(), "engineer")
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("load")
    page.set_input_files("input[type=file]", TABLE)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("link", name="Train a model", exact=True).click()
    page.get_by_role("textbox", name="Register as", exact=True).fill("load-forecaster")
    page.locator('[name="/train/task"]').select_option("forecast")
    for group in page.locator("main form details").all():
        group.evaluate("group => group.open = true")
    page.locator('[name="/train/target"]').select_option("load")
    for field, value in SMALL.items():
        page.locator(f'[name="{field}"]').fill(value)
    page.get_by_role("button", name="Queue all steps").click()
    expect(page.locator("h1")).to_contain_text("load-forecaster")
    expect(page.locator(".title .state")).to_have_text("Succeeded", timeout=180_000)
    page.get_by_role("link", name="load-forecaster v1").first.click()
    expect(page.locator(".answer")).to_contain_text("fp32")
    address = page.url
    context.close()
    return address


def test_command_line_makes_the_same_bytes(signed_in, plane, trained, tmp_path, monkeypatch):
    api = f"{plane}/api/v1/projects/demo"
    page = signed_in("engineer")
    cleaned = page.request.get(f"{api}/datasets/load-clean/versions/1").json()
    model = page.request.get(f"{api}/models/load-forecaster/versions/1").json()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "load.csv").write_bytes(TABLE["buffer"])
    small = ("--task", "forecast", "--target", "load", "--hidden", "16", "--epochs", "10")
    for words in (
        ("clean", "load.csv", "-o", "clean"),
        ("train", "clean/table.parquet", "-o", "model", *small),
        ("quantize", "model", "-o", "int8", "--runs", "20"),
    ):
        assert main(words) == 0
    assert compute_file_sha256(tmp_path / "clean/table.parquet") in {file["digest"] for file in cleaned["files"]}
    made = {variant["name"]: variant["digest"] for variant in model["variants"]}
    assert compute_file_sha256(tmp_path / "model/model.safetensors") == made["fp32"]
    (quantized,) = [name for name in made if name != "fp32" and not name.startswith("tvm")]  # by the times of that run
    forms = {form.name: form for form in Tradeoff.read(tmp_path / "int8/tradeoff.json").variants}
    assert forms[quantized].sha256 == made[quantized]


def test_a_refused_field_stays_beside_its_value(page, sign_in_as, plane, trained):
    sign_in_as(page, "engineer")  # not watched: Chromium counts a form's 422 as an error of the page
    page.goto(f"{plane}/p/demo/data/load/1")
    page.get_by_role("link", name="Train a model", exact=True).click()
    page.locator('[name="/train/task"]').select_option("forecast")
    gone = "field => field.add(new Option('lode', 'lode', true, true))"  # a column that another table had
    page.locator('[name="/train/target"]').evaluate(gone)
    page.get_by_role("button", name="Queue all steps").click()
    expect(page.locator(".field.bad .err").first).to_contain_text("lode")
    expect(page.locator('[name="/train/target"]')).to_have_value("lode")


def test_engineer_requests_and_approver_decides(browser, page, watch, sign_in_as, plane, trained):
    sign_in_as(watch(page, answers=(422,)), "engineer")
    request_is_refused_and_stays_open(page, trained)
    page.goto(trained)
    page.get_by_role("button", name="Request promotion").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("the first one")
    page.get_by_role("button", name="Request approval").click()
    expect(page.locator(".title .state")).to_have_text("Pending")
    expect(page.locator("#vote")).to_have_count(0)
    approval = page.url

    context = browser.new_context()
    decider = sign_in_as(context.new_page(), "approver")
    decider.goto(f"{plane}/")
    decider.locator("#main").get_by_role("link", name="load-forecaster v1").first.click()
    expect(decider.locator("#main")).to_contain_text("the first one")
    decide(decider, reason="figures read", password="not the password")
    expect(decider.locator(".field.bad .err")).to_be_visible()
    expect(decider.get_by_label("Reason")).to_have_value("figures read")
    decide(decider, reason="figures read", password=None)
    expect(decider.locator(".title .state")).to_have_text("Approved")
    context.close()

    page.goto(approval)
    expect(page.locator("#main")).to_contain_text("figures read")
    page.goto(trained)
    expect(page.locator(".title .state")).to_have_text("In production")


def request_is_refused_and_stays_open(page, trained) -> None:
    """With what was typed, beside the field at fault."""
    page.goto(trained)
    page.get_by_role("button", name="Request promotion").click()
    page.get_by_role("dialog").get_by_label("Comment").fill("kept")
    page.get_by_label("Deadline").fill("soon")
    page.get_by_role("button", name="Request approval").click()
    expect(page.locator("#promote")).to_have_attribute("open", "")
    expect(page.locator("#promote [role=alert]")).to_contain_text("whole number")
    expect(page.get_by_role("dialog").get_by_label("Comment")).to_have_value("kept")


def decide(page, *, reason: str, password: str | None) -> None:
    page.get_by_label("Reason").fill(reason)
    page.locator("input[name=password]").fill(PASSWORD if password is None else password)
    page.locator("#vote button[value=approve]").click()


def test_pages_of_chain_fit_a_phone(signed_in, plane, trained):
    paths = ["runs", "models", "approvals", "pipelines", "pipelines/new", "models/load-forecaster/1"]
    assert list_wide_pages(signed_in("engineer"), [f"{plane}/p/demo/{path}" for path in paths]) == []
