"""The table of runs, their comparison, a note and a mention, in a real browser: completion, groups, many at once, axes,
zoom, charts of the selected runs."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import wait_until

FILL = """
from apps.platform.accounts.models import Project
from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.models import Experiment, Run, RunParam
from apps.ml.experiments.services import Point, log_metrics
from datetime import UTC, datetime, timedelta
project = Project.objects.get(slug="demo")
experiment, _ = Experiment.objects.get_or_create(project=project, number=7, defaults=dict(name="table"))
actor, start = build_plane_actor(PlaneRole.WORKER, host="test"), datetime(2026, 1, 2, tzinfo=UTC)
made = (("table-a", "0.001", "adam"), ("table-b", "0.01", "sgd"), ("table-c", "0.1", "adam"))
for place, (name, lr, opt) in enumerate(made):
    run = Run.objects.create(pk=str(place + 1) * 32, project=project, experiment=experiment, name=name, created_by="x")
    RunParam.objects.bulk_create(RunParam(run=run, key=k, value=v) for k, v in dict(lr=lr, zopt=opt, seed="1").items())
    steps = range(1, 20001 if name == "table-a" else 30)
    points = [Point("val_loss", 1 / step + place, step, start + timedelta(seconds=step)) for step in steps]
    points += [Point("fixed", 5.0, step, start) for step in (1, 2)]
    for at in range(0, len(points), 5000):
        log_metrics(actor=actor, run=run, points=points[at:at + 5000])
    Run.objects.filter(pk=run.pk).update(state="finished")
"""
A, B, C = (str(place) * 32 for place in (1, 2, 3))


@pytest.fixture(scope="module")
def filled(plane, run_code):
    run_code(FILL)
    return f"{plane}/p/demo/runs"


@pytest.fixture
def table(signed_in, filled):
    page = signed_in("engineer")
    page.goto(f"{filled}?experiment=7")
    return page


def names(page):
    return page.locator("table[data-list] tbody th a:first-child")


def test_a_filter_is_written_with_the_keyboard_alone(table):
    field = table.get_by_role("combobox", name="Filter")
    field.press_sequentially("params.zop")
    options = table.locator(".query [role=option]")
    expect(options).to_have_count(1)
    expect(field).to_have_attribute("aria-expanded", "true")
    for typed, offered, value in (("", "zopt", "params.zopt "), ("= 'ad", "adam", "params.zopt = 'adam' ")):
        field.press_sequentially(typed)
        expect(options.first).to_be_visible()
        expect(options).to_contain_text([offered])  # this one alone, and not those of a letter before
        field.press("ArrowDown")
        expect(options.first).to_have_attribute("aria-selected", "true")
        field.press("Enter")
        expect(field).to_have_value(value)
    field.press("Escape")
    field.press("Enter")
    expect(names(table)).to_have_text(["table-c", "table-a"])
    assert "filter=params.zopt" in table.url


HOLD_THE_ANSWER = """
() => {
  const ask = window.fetch;
  window.fetch = (address, options) =>
    String(address).includes("filter=params.zopt&")
      ? new Promise((go) => {
          window.letGo = go;
          document.body.dataset.held = "yes";
        }).then(() => ask(address, options))
      : ask(address, options);
}
"""


def test_a_late_answer_takes_nothing_from_what_was_chosen(table):
    field = table.get_by_role("combobox", name="Filter")
    option = table.locator(".query [role=option]")
    table.evaluate(HOLD_THE_ANSWER)
    for answered in (False, True):
        field.fill("params.zop")
        expect(option).to_have_count(1)
        field.press_sequentially("t")
        expect(table.locator("body")).to_have_attribute("data-held", "yes")
        field.press("ArrowDown")
        if answered:
            with table.expect_response(lambda response: "filter=params.zopt&" in response.url) as late:
                table.evaluate("letGo()")
            late.value.finished()
        expect(option).to_have_attribute("aria-selected", "true")
        field.press("Enter")
        expect(field).to_have_value("params.zopt ")
        table.evaluate("delete document.body.dataset.held")


def test_an_empty_answer_to_a_letter_keeps_nothing_from_the_next(table):
    field, held = table.get_by_role("combobox", name="Filter"), []
    table.route(re.compile("filter=params.zo&"), lambda route: held.append(route))
    field.fill("params.zo")
    wait_until(table, lambda: held)
    table.clock.install()
    table.clock.pause_at("2100-01-01")
    table.keyboard.insert_text("p")  # asked for once the clock goes on
    held[0].fulfill(json={"start": 0, "end": 9, "options": []})
    table.wait_for_timeout(300)  # nothing is to happen
    table.clock.resume()
    expect(table.locator(".query [role=option]")).to_contain_text(["zopt"])


def test_a_mistake_is_shown_where_it_is(page, watch, sign_in_as, filled):
    sign_in_as(watch(page, answers=(422,)), "engineer")
    page.goto(f"{filled}?filter=params.zopt+%3D+adam")
    expect(page.locator(".query-err mark")).to_have_text("adam")


def test_groups_are_opened_and_the_address_says_so(table):
    table.get_by_label("Group by").select_option("params.zopt")
    expect(table.locator(".group-row")).to_have_count(2)
    table.get_by_role("link", name="adam").click()
    expect(table.locator("#groups .within a")).to_have_text(["table-c", "table-a"])
    assert "open=%3Dadam" in table.url
    table.locator("#groups").get_by_role("link", name="Only these").first.click()
    expect(names(table)).to_have_text(["table-c", "table-a"])


def test_a_tag_for_the_selected_rows(table):
    for row in (0, 1):
        table.locator("tbody .pickbox input").nth(row).check()
    table.get_by_role("button", name="Tag", exact=True).click()
    table.get_by_role("textbox", name="Key", exact=True).fill("team")
    table.get_by_role("textbox", name="Value", exact=True).fill("vision")
    table.get_by_role("button", name="Tag the runs").click()
    expect(table.locator(".answer")).to_contain_text("2 done")
    table.get_by_role("link", name="Back to the list").click()
    table.goto(f"{table.url}&columns=tags")
    expect(table.locator("table[data-list] .chip")).to_have_count(2)


def test_selected_rows_are_compared(table):
    table.locator("[data-pick-all]").check()
    table.get_by_role("button", name="Compare").click()
    expect(table.locator("h1")).to_contain_text("Compare runs")
    assert re.search(rf"ids={C},{B},{A}$", table.url)


def charts_of(page):
    return page.get_by_role("complementary", name="Charts of the selected runs")


def test_the_charts_follow_the_selection_and_the_address_keeps_it(table):
    boxes, figures = table.locator("tbody .pickbox input"), charts_of(table).locator("figure")
    boxes.nth(0).click()
    expect(figures).to_have_count(2)  # the usual panels
    expect(figures.locator("path[data-x]").first).to_be_attached()
    boxes.nth(2).click(modifiers=["Shift"])
    expect(charts_of(table)).to_contain_text("3 runs")
    expect(table).to_have_url(re.compile(f"selected={C}%2C{B}%2C{A}"))
    table.reload()
    expect(table.locator("tbody .pickbox input:checked")).to_have_count(3)
    expect(charts_of(table)).to_contain_text("3 runs")
    table.keyboard.press("Escape")
    expect(figures).to_have_count(0)
    for key in ("j", "x", "j", "Shift+X"):
        table.keyboard.press(key)
    expect(charts_of(table)).to_contain_text("2 runs")
    expect(table).to_have_url(re.compile(f"selected={C}%2C{B}(&|$)"))


HOLD_CHARTS = """
(most) => {
  const ask = window.fetch;
  window.held = [];
  window.fetch = (address, options) => {
    const answer = ask(address, options);
    if (held.length === most || !String(address).includes("selected=")) return answer;
    return new Promise((go) => (document.body.dataset.held = held.push(() => go(answer))));
  };
}
"""


def test_a_late_answer_does_not_bring_back_the_charts_of_a_former_selection(table):
    boxes = table.locator("tbody .pickbox input")
    table.evaluate(HOLD_CHARTS, 1)
    boxes.nth(0).check()
    expect(table.locator("body")).to_have_attribute("data-held", "1")
    boxes.nth(1).check()
    expect(charts_of(table)).to_contain_text("2 runs")
    table.evaluate("held[0]()")
    table.wait_for_timeout(500)  # nothing is to happen
    expect(charts_of(table)).to_contain_text("2 runs")


def test_an_answer_slower_than_the_next_question_is_drawn(table):
    table.evaluate(HOLD_CHARTS, 2)
    table.locator("tbody .pickbox input").nth(0).check()
    expect(table.locator("body")).to_have_attribute("data-held", "1")
    table.evaluate("document.dispatchEvent(new Event('plane:metric'))")
    expect(table.locator("body")).to_have_attribute("data-held", "2")
    table.evaluate("held[0]()")
    expect(charts_of(table).locator("path[data-x]").first).to_be_attached()


@pytest.fixture
def remove_panels(run_code, filled):
    yield
    run_code("from apps.ml.experiments.models import RunPanel\nRunPanel.objects.all().delete()")


def test_a_saved_panel_is_there_for_a_colleague(browser, remove_panels, table, watch, sign_in_as):
    table.locator("tbody .pickbox input").first.check()
    table.get_by_role("button", name="Add panel").click()
    form = table.get_by_role("dialog", name="Add panel")
    form.get_by_label("Metrics").select_option("val_loss")
    form.get_by_label("Title").fill("Loss by step")
    form.get_by_role("button", name="Add").click()
    expect(charts_of(table).get_by_role("figure", name="Loss by step")).to_be_visible()
    context = browser.new_context()
    colleague = sign_in_as(watch(context.new_page()), "approver")
    colleague.goto(table.url)
    expect(charts_of(colleague).get_by_role("figure", name="Loss by step")).to_be_visible()
    context.close()


@pytest.fixture
def compared(signed_in, filled):
    page = signed_in("engineer")
    page.goto(f"{filled}/compare?ids={A},{B},{C}")
    return page


def test_a_range_is_dragged_along_an_axis(compared):
    figure = compared.locator("#compared-axes")
    figure.scroll_into_view_if_needed()
    box = figure.locator('[data-brush="lr"]').bounding_box()
    across = box["x"] + box["width"] / 2
    compared.mouse.move(across, box["y"] + box["height"] * 0.25)
    compared.mouse.down()
    compared.mouse.move(across, box["y"] + box["height"] * 0.75, steps=5)
    compared.mouse.up()
    expect(figure).to_contain_text("1 of 3 runs are within the ranges")
    assert "min%3Alr=0.00" in compared.url
    expect(figure.locator("path.faint")).to_have_count(2)


def test_only_what_differs(compared):
    expect(compared.locator("#metrics")).to_contain_text("fixed")
    compared.get_by_role("switch", name="Only what differs").click()
    expect(compared.get_by_role("switch", name="Only what differs")).to_have_attribute("aria-checked", "true")
    expect(compared.locator("#metrics tbody")).not_to_contain_text("fixed")


def test_any_two_are_scattered_and_shaded_by_a_third(compared):
    compared.get_by_label("Shaded by").select_option("zopt")
    expect(compared.locator("#scatter .keys")).to_contain_text("adam")
    compared.wait_for_load_state()  # the form sends itself by a script
    compared.get_by_label("Across").select_option("lr")
    expect(compared.locator("#sc")).to_contain_text("against lr")


def test_a_part_of_a_long_line_shows_its_points_themselves(signed_in, filled):
    page = signed_in("engineer")
    page.goto(f"{filled}/{A}?key=val_loss")
    expect(page.locator("#run-charts")).to_contain_text("Each pair of points is the lowest and the highest")
    page.goto(f"{filled}/{A}?key=val_loss&from=15000&to=15020")
    line = page.locator("path[data-x]").first
    assert [int(x) for x in line.get_attribute("data-x").split()] == list(range(15000, 15021))
    values = [float(y) for y in line.get_attribute("data-y").split()]
    assert values == pytest.approx([1 / step for step in range(15000, 15021)], rel=1e-5)
    expect(page.locator("#run-charts")).not_to_contain_text("Each pair of points")


def test_a_note_is_written_shown_and_harmless(signed_in, filled):
    page = signed_in("engineer")
    page.goto(f"{filled}/{B}")
    page.get_by_text("Write a note").click()
    page.get_by_label("Note, in Markdown").fill(
        "A **wide** net\n\n<script>document.title = 'broken'</script>\n\n|a|b|\n|:-|-:|\n|1|2|"
    )
    page.get_by_role("button", name="Save the note").click()
    expect(page.locator(".note-text strong")).to_have_text("wide")
    expect(page.locator(".note-text")).to_contain_text("<script>")
    assert "broken" not in page.title()


def test_members_are_mentioned_by_keyboard_and_pointer_and_notified(browser, signed_in, watch, sign_in_as, filled):
    page = signed_in("engineer")
    page.goto(f"{filled}/{B}")
    field, options = page.get_by_role("combobox", name="New comment"), page.locator("#new-comment-names [role=option]")
    field.press_sequentially("look, @a")
    expect(options).to_have_text(["approver"])  # auditor is no member
    field.press("Enter")
    expect(field).to_have_value("look, @approver ")
    field.press_sequentially("and @e")
    expect(options).to_have_text(["engineer"])  # and not those of the @ alone
    options.first.click()
    expect(field).to_have_value("look, @approver and @engineer ")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator("#comments .mention").first).to_have_text("@approver")
    context = browser.new_context()
    colleague = sign_in_as(watch(context.new_page()), "approver")
    colleague.goto(f"{filled.removesuffix('/p/demo/runs')}/notices")
    colleague.get_by_role("link", name=re.compile("^engineer mentions you in a comment on .*table-b")).click()
    expect(colleague.locator("#comments .mention").first).to_be_visible()
    context.close()
