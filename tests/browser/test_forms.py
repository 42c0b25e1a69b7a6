"""Forms that are checked and look ahead while they are filled in."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import wait_until

ROWS = "".join(f"{n},{'' if n % 11 == 5 else 50 + n % 7},{900 if n == 100 else n % 5}\n" for n in range(400))
TABLE = {"name": "f.csv", "mimeType": "text/csv", "buffer": f"hour,load,wind\n{ROWS}".encode()}


@pytest.fixture(scope="module")
def version(browser, plane, passwords, sign_in_as):
    """The id of an uploaded version with gaps and one outlier."""
    context = browser.new_context()
    page = sign_in_as(context.new_page(), "engineer")
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("forms")
    page.set_input_files("input[type=file]", TABLE)
    page.get_by_role("button", name="Upload").click()
    address = page.get_by_role("link", name="Clean this version").first.get_attribute("href")
    context.close()
    return re.search(r"version=(\d+)", address)[1]


@pytest.fixture
def form(signed_in, plane, version):
    """form("train") -> the watched page with the form of that kind on the version."""

    def show(kind: str):
        page = signed_in("engineer")
        page.goto(f"{plane}/p/demo/jobs/new/{kind}?version={version}")
        return page

    return show


def leave(page, name: str, value: str) -> None:
    field = page.locator(f'[name="{name}"]')
    if field.evaluate("field => field.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill(value)
    field.press("Tab")


def unfold(page, pointer: str) -> None:
    page.locator(f'details[data-pointer="{pointer}"]').evaluate("group => group.open = true")


def test_an_error_shows_on_leaving_a_field_and_goes_with_the_next_one(form):
    page = form("train")
    unfold(page, "/schedule")
    leave(page, "/schedule/max_lr", "0.00001")
    expect(page.locator("#f-schedule-max_lr-e")).to_contain_text("is below the first one")
    expect(page.locator("#f-target-e")).to_be_hidden()  # nobody was there yet
    leave(page, "/schedule/init_lr", "0.000001")
    expect(page.locator("#f-schedule-max_lr-e")).to_be_hidden()


def test_the_schedule_follows_what_is_typed(form):
    page = form("train")
    chart, notes = page.locator("#schedule-rate-table"), page.locator("#ahead footer")
    before = chart.inner_html()
    unfold(page, "/schedule")
    page.locator('[name="/schedule/warmup_steps"]').fill("100000")
    expect(notes).to_contain_text("warm-up of 100,000 steps is longer")
    assert chart.inner_html() != before
    page.locator('[name="/schedule/warmup_steps"]').fill("many")
    expect(page.locator("#ahead .note")).to_contain_text("Warm-up")


def test_the_sample_shows_cells_before_and_after(form):
    page = form("clean")
    sample = page.locator("#sample")
    expect(sample).to_contain_text("all 400 rows looked at")
    cells = sample.get_by_role("table", name="Some of the cells that change")
    expect(cells.locator("tr", has_text="missing").first).to_contain_text("filled")
    page.locator('[name="/outliers/action"]').select_option("cap")
    page.locator('[name="/outliers/method"]').select_option("iqr")
    expect(cells.locator("tr", has_text="900")).to_contain_text("capped")


def test_the_engines_refusal_comes_beside_the_field(form):
    page = form("clean")
    expect(page.locator("#sample")).to_contain_text("rows looked at")
    unfold(page, "/csv")
    leave(page, "/csv/delimiter", ";")
    page.get_by_role("checkbox", name=re.compile("^load")).check()
    expect(page.locator("#f-columns-e")).to_contain_text("no column 'load'")


def test_what_was_typed_while_an_answer_was_under_way_stays(form):
    page = form("clean")
    expect(page.locator("#sample")).to_contain_text("rows looked at")
    held = []

    def hold_the_first(route):
        if "op=check" in (route.request.post_data or "") and not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/jobs/new/clean*", hold_the_first)
    unfold(page, "/csv")
    with page.expect_request(lambda request: "op=check" in (request.post_data or "")):
        page.locator('[name="inputs/table"]').select_option("")
    page.locator('[name="/csv/delimiter"]').fill(";")
    held[0].continue_()
    expect(page.get_by_role("checkbox", name=re.compile("^load"))).to_have_count(0)  # the answer has come
    expect(page.locator('[name="/csv/delimiter"]')).to_have_value(";")


@pytest.mark.parametrize(
    ("op", "shown", "text"),
    [("sample", "#sample", "median of 9 rows"), ("ahead", "#rest", '"window_size": 9')],
)
def test_a_change_made_before_an_answer_came_is_not_lost(form, op, shown, text):
    page = form("clean")
    expect(page.locator("#sample")).to_contain_text("rows looked at")
    held = []

    def hold_the_first(route):
        if f"op={op}" in (route.request.post_data or "") and not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/jobs/new/clean*", hold_the_first)
    with page.expect_request(lambda request: f"op={op}" in (request.post_data or "")):
        page.locator('[name="/window_size"]').fill("7")
    page.locator('[name="/window_size"]').fill("9")
    held[0].continue_()
    expect(page.locator(shown)).to_contain_text(text)


def test_the_preview_of_a_pipeline_comes_back_with_its_cleaning(signed_in, plane, version):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/pipelines/new?version={version}")
    sample, skip = page.locator("#sample"), page.locator('[name="/skip_cleaning"]')
    expect(sample).to_contain_text("rows looked at")
    with page.expect_response(lambda response: "op=sample" in (response.request.post_data or "")):
        skip.check()
    expect(sample).to_be_hidden()
    skip.uncheck()
    expect(sample).to_be_visible()
    expect(sample).to_contain_text("rows looked at")


LATE = """{
  const plain = setTimeout;
  window.late = [];
  window.setTimeout = (call, wait, ...rest) => {
    if (wait >= 1000) late.push(call);
    return plain(call, wait, ...rest);
  };
}"""
SEND_REPEATEDLY = """async () => {
  const form = document.querySelector("form:has(input[type=file])");
  const next = (name) => new Promise((resolve) => navigation.addEventListener(name, resolve, {once: true}));
  const send = () => {
    let isSent = null;
    addEventListener("submit", (event) => { isSent = !event.defaultPrevented; }, {once: true});
    form.requestSubmit();
    return isSent;
  };
  const begun = next("navigate"), sent = [send()];
  await begun;
  late.forEach((call) => call()); // whatever waits for some seconds
  sent.push(send());
  const stopped = next("navigateerror");
  stop();
  await stopped;
  sent.push(send(), send());
  dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}));
  sent.push(send());
  stop();
  return sent;
}"""


def test_a_form_is_sent_once_until_its_answer_comes_or_the_reader_stops_it(page, sign_in_as, plane):
    sign_in_as(page, "engineer")  # not watched: what is stopped is an error of the page
    page.add_init_script(LATE)
    page.goto(f"{plane}/p/demo/upload")
    page.get_by_role("textbox", name="Dataset").fill("once")
    page.set_input_files("input[type=file]", TABLE)
    page.route("**/p/demo/upload", lambda route: None)  # a slow way: no answer comes
    assert page.evaluate(SEND_REPEATEDLY) == [True, False, True, False, True]


def test_the_rest_call_is_in_step_with_the_form(form):
    page = form("clean")
    rest = page.locator("#rest")
    rest.locator("summary").click()
    page.locator('[name="/window_size"]').fill("9")
    expect(rest.locator("code").first).to_contain_text('"window_size": 9')
    expect(rest.locator("code").first).to_be_visible()  # what was opened stays open


def test_a_pasted_spec_fills_the_form_and_follows_it(form):
    page = form("train")
    pasted = page.locator("#f-json")
    page.get_by_text("Edit as JSON").click()
    pasted.fill('{"task": "forecast",')
    page.get_by_role("button", name="Fill in the form").click()
    expect(page.locator("#f-json-e")).to_contain_text("This is not JSON")
    expect(pasted).to_be_focused()
    pasted.fill('{"task": "forecast", "target": "load", "hidden": [8, 4]}')
    page.get_by_role("button", name="Fill in the form").click()
    expect(page.locator('[name="/target"]')).to_have_value("load")
    page.wait_for_load_state()  # the text follows by a script
    page.locator('[name="/epochs"]').fill("9")
    expect(pasted).to_have_value(re.compile(r'"epochs": 9'))


def test_a_spec_that_is_being_pasted_is_not_renewed_by_a_late_answer(form):
    page = form("train")
    held = []
    page.route("**/jobs/new/train*", lambda route: held.append(route))
    page.locator('[name="/epochs"]').fill("9")
    wait_until(page, lambda: held)
    page.get_by_text("Edit as JSON").click()
    page.locator("#f-json").fill('{"epochs": 3}')
    held[0].continue_()
    expect(page.locator("#rest")).to_contain_text(re.compile('"epochs": "?9'))
    expect(page.locator("#f-json")).to_have_value('{"epochs": 3}')


def test_several_errors_are_listed_and_lead_to_their_fields(page, sign_in_as, plane, version):
    sign_in_as(page, "engineer")  # not watched: Chromium counts a form's 422 as an error of the page
    page.goto(f"{plane}/p/demo/jobs/new/train?version={version}")
    page.locator('[name="/epochs"]').fill("0")
    unfold(page, "needs")
    page.locator('[name="needs/cpus"]').fill("2")
    page.get_by_role("button", name="Queue", exact=True).last.click()
    problems = page.locator("[data-problems]")
    expect(problems).to_be_focused()
    problems.get_by_role("link", name="Epochs").click()
    expect(page.locator('[name="/epochs"]')).to_be_focused()
    expect(page.locator('[name="/epochs"]')).to_have_value("0")
    expect(page.locator("#job details[open]")).to_have_count(0)  # no error is in one of them


def test_what_was_typed_goes_along_to_the_other_forms_of_a_training(signed_in, plane, version):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/data/forms/1")
    page.get_by_role("link", name="Train a model", exact=True).click()
    for name, value in {"task": "regression", "target": "load", "epochs": "7"}.items():
        leave(page, f"/train/{name}", value)
    leave(page, "model", "mine")
    expect(page.get_by_role("button", name="Queue all steps")).to_be_in_viewport()
    page.get_by_role("button", name="Sweep", exact=True).click()
    expect(page.locator('select[name="/target"]')).to_have_value("load")
    expect(page.get_by_role("button", name="Begin the sweep")).to_be_in_viewport()
    page.get_by_role("button", name="Train only", exact=True).click()
    expect(page.locator('[name="/epochs"]')).to_have_value("7")
    page.get_by_role("button", name="Train and register", exact=True).click()
    expect(page.locator('[name="version"]')).to_have_value(version)
    expect(page.locator('select[name="/train/target"]')).to_have_value("load")
    expect(page.locator('[name="model"]')).to_have_value("mine")
    page.wait_for_load_state("networkidle")


def test_what_was_typed_comes_back_with_the_page(form, plane):
    page = form("train")
    leave(page, "/target", "load")
    leave(page, "/epochs", "7")
    page.goto(f"{plane}/p/demo/jobs")
    page.go_back()
    expect(page.locator('[name="/epochs"]')).to_have_value("7")
    expect(page.locator('[name="/target"]')).to_have_value("load")


def test_forms_fit_a_phone(signed_in, plane, version):
    page = signed_in("engineer")
    page.set_viewport_size({"width": 390, "height": 844})
    wide = []
    for path in ("jobs/new/train", "jobs/new/clean", "pipelines/new", "sweeps/new/train", "jobs/new/evaluate"):
        page.goto(f"{plane}/p/demo/{path}?version={version}")
        page.wait_for_load_state("networkidle")  # with what the form looks ahead to
        if page.evaluate("document.documentElement.scrollWidth") > 390:
            wide.append(path)
    assert wide == []
