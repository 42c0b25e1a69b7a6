"""Charts in a real browser: values by pointer and keyboard, lines put away, a PNG that is one, points that arrive."""

import re
import struct

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import wait_until

PNG = b"\x89PNG\r\n\x1a\n"
LOG = """
from apps.platform.accounts.models import Project
from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.models import Experiment, Run
from apps.ml.experiments.services import Point, log_metrics
from datetime import UTC, datetime, timedelta
project = Project.objects.get(slug="demo")
experiment, _ = Experiment.objects.get_or_create(project=project, number=0, defaults=dict(name="Default"))
run, _ = Run.objects.get_or_create(pk="{run}", defaults=dict(project=project, experiment=experiment, name="drawn"))
start = datetime(2026, 1, 2, tzinfo=UTC)
points = [Point(key, 4.0 / step + place, step, start + timedelta(seconds=step))
          for place, key in enumerate(("train_loss", "val_loss")) for step in range({first}, {last})]
log_metrics(actor=build_plane_actor(PlaneRole.WORKER, host="test"), run=run, points=points)
"""
RUN, GROWING = "c" * 32, "d" * 32


@pytest.fixture(scope="module")
def points(plane, run_code):
    """points(run, first, last) records two losses of this run at these steps."""
    return lambda run, first, last: run_code(LOG.format(run=run, first=first, last=last))


@pytest.fixture(scope="module")
def drawn(points):
    points(RUN, 1, 41)
    return RUN


@pytest.fixture
def chart(signed_in, plane, drawn):
    """The page of the run, open on its chart; nothing has violated the policy when the test ends."""
    page = signed_in("engineer")
    page.add_init_script(
        "window.broken = [];"
        "document.addEventListener('securitypolicyviolation', (said) => broken.push(said.violatedDirective));"
    )
    page.goto(f"{plane}/p/demo/runs/{drawn}")
    yield page
    assert page.evaluate("window.broken") == []


def tip(page) -> str:
    return " | ".join(page.locator(".pt .tip text").all_text_contents())


def test_the_pointer_reads_every_line_at_a_step(chart):
    box = chart.locator(".plot").first.bounding_box()
    chart.mouse.move(box["x"] + box["width"] / 39 * 9 + 1, box["y"] + 40)  # steps 1 to 40: the tenth
    assert tip(chart) == "step 10 | train_loss 0.4 | val_loss 1.4"


def test_the_keys_read_and_say_it(chart):
    area = chart.locator(".area").first
    area.focus()
    for key, step, value in (("Home", 1, "4"), ("ArrowRight", 2, "2"), ("End", 40, "0.1"), ("ArrowLeft", 39, "0.1026")):
        area.press(key)
        assert tip(chart).startswith(f"step {step} | train_loss {value}")
    expect(chart.locator("[data-said]").first).to_contain_text("step 39, train_loss 0.1026, val_loss 1.103")
    area.press("Escape")
    assert tip(chart) == ""


def test_a_line_is_put_away_and_the_address_says_so(chart):
    switch = chart.get_by_role("switch", name="Draw val_loss")
    switch.focus()
    switch.press("Space")
    expect(chart.get_by_role("switch", name="Draw val_loss")).to_have_attribute("aria-checked", "false")
    assert "hide=1" in chart.url
    expect(chart.get_by_role("switch", name="Draw val_loss")).to_be_focused()
    chart.locator(".area").first.press("Home")
    assert "val_loss" not in tip(chart)


def test_a_part_is_dragged_nearer_and_let_go_again(chart):
    box = chart.locator(".plot").first.bounding_box()
    chart.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 60)
    chart.mouse.down()
    chart.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=4)
    chart.mouse.up()
    expect(chart.locator(".area > svg").first).to_have_attribute("data-low", re.compile("^1[01]$"))
    assert re.search(r"from=1[01]&to=2[01]", chart.url)
    chart.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 60)
    expect(chart.locator(".area > svg").first).to_have_attribute("data-low", "1")


def test_a_part_of_time_is_dragged_nearer_and_let_go_again(chart):
    chart.get_by_label("Along").select_option("relative")
    area = chart.locator('[data-axis="relative"] .area > svg').first
    whole = area.get_attribute("data-low")
    box = chart.locator(".plot").first.bounding_box()
    chart.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 60)
    chart.mouse.down()
    chart.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=4)
    chart.mouse.up()
    expect(area).not_to_have_attribute("data-low", whole)
    assert "part=relative" in chart.url
    chart.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 60)
    expect(area).to_have_attribute("data-low", whole)
    assert "part=" not in chart.url


def test_smoothing_draws_again_without_leaving_the_page(chart):
    chart.evaluate("window.same = true")
    chart.get_by_label("smooth").fill("0.9")
    chart.get_by_role("button", name="Apply", exact=True).click()
    expect(chart.locator(".chart").first).to_contain_text("Smoothed with weight 0.9")
    assert chart.evaluate("window.same") is True
    assert "smooth=0.9" in chart.url


def test_enter_in_a_field_draws_again_and_leaves_the_form_whole(chart):
    chart.get_by_label("smooth").fill("0.9")
    chart.get_by_label("smooth").press("Enter")
    expect(chart.locator(".chart").first).to_contain_text("Smoothed with weight 0.9")
    expect(chart.get_by_label("smooth")).to_be_focused()
    expect(chart.get_by_label("from step")).to_be_enabled()


def test_a_late_answer_does_not_bring_back_former_points(chart):
    drawn, held = chart.locator("#run-charts"), []
    redraws = drawn.get_attribute("data-redraws")
    chart.route(f"**{redraws}*", lambda route: held.append(route))
    for number in (1, 2):
        chart.evaluate("document.dispatchEvent(new Event('plane:metric'))")
        wait_until(chart, lambda number=number: len(held) >= number)
    for question, text in ((held[1], "newer"), (held[0], "older")):
        question.fulfill(body=f'<div id="run-charts" data-redrawn data-redraws="{redraws}">{text}</div>')
        expect(drawn).to_contain_text(re.compile("er$"))
    chart.wait_for_timeout(300)  # nothing is to happen
    expect(drawn).to_have_text("newer")


def test_what_holds_a_pressed_field_is_drawn_again_once_it_is_left(chart):
    drawn, scale, held = chart.locator("#run-charts"), chart.get_by_label("Scale"), []
    redraws = drawn.get_attribute("data-redraws")
    chart.route(f"**{redraws}*", lambda route: held.append(route))
    newer = f'<div id="run-charts" data-redrawn data-redraws="{redraws}">newer</div>'
    scale.click()  # its choices are open
    chart.evaluate("document.dispatchEvent(new Event('plane:metric'))")
    wait_until(chart, lambda: held)
    held[0].fulfill(body=newer)
    chart.wait_for_timeout(300)  # nothing is to happen
    expect(scale).to_be_focused()
    scale.blur()
    wait_until(chart, lambda: len(held) > 1)
    held[1].fulfill(body=newer)
    expect(drawn).to_have_text("newer")


def test_the_png_is_one_and_shows_the_lines(chart, tmp_path):
    with chart.expect_download() as taken:
        chart.get_by_role("button", name="PNG").first.click()
    assert taken.value.suggested_filename == "train_loss,-val_loss.png"
    taken.value.save_as(tmp_path / "chart.png")
    data = (tmp_path / "chart.png").read_bytes()
    wide, tall = struct.unpack(">II", data[16:24])
    box = chart.locator(".chart").first.bounding_box()
    assert (data[:8], wide) == (PNG, pytest.approx(box["width"] * 2, abs=2))
    assert tall > 400
    assert inked(chart) > 500  # pixels of the accent: the line is painted, not only its ground


def inked(page) -> int:
    """Pixels of the accent's colour in what the button would save, counted where it is painted."""
    return page.evaluate("""async () => {
        const take = HTMLCanvasElement.prototype.toBlob, seen = {};
        HTMLCanvasElement.prototype.toBlob = function () { seen.canvas = this; };
        document.querySelector('[data-png]').click();
        HTMLCanvasElement.prototype.toBlob = take;
        const c = seen.canvas, data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        const probe = getComputedStyle(document.querySelector('.plot .k1')).color.match(/\\d+/g).map(Number);
        let count = 0;
        for (let i = 0; i < data.length; i += 4)
            if (probe.every((part, place) => Math.abs(data[i + place] - part) < 12)) count += 1;
        return count;
    }""")


def test_points_that_arrive_are_drawn_and_what_was_read_stays(chart, points, plane):
    points(GROWING, 1, 41)
    chart.goto(f"{plane}/p/demo/runs/{GROWING}")
    area = chart.locator(".area").first
    area.focus()
    area.press("Home")
    points(GROWING, 41, 46)
    chart.evaluate("document.dispatchEvent(new CustomEvent('plane:metric', { detail: {} }))")
    expect(chart.locator("path[data-of='0']").first).to_have_attribute("data-x", re.compile(" 45$"))
    assert tip(chart).startswith("step 1 | train_loss 4")
    expect(chart.locator("#run-answer")).to_contain_text("at step 45")
    expect(chart.locator(".area").first).to_be_focused()


def test_bars_and_points_are_one_stop_each(signed_in, plane):
    page = signed_in("engineer")
    page.goto(f"{plane}/components")
    bars = page.locator("#c-bars")
    assert bars.locator('.pt[tabindex="0"]').count() == 1
    bars.locator('.pt[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    expect(bars.locator(".pt").nth(1)).to_be_focused()
    bars.evaluate("chart => { chart.querySelectorAll('tbody tr')[1].cells[0].textContent = '-2+3' }")
    with page.expect_download() as taken:
        bars.get_by_role("button", name="CSV").click()
    rows = taken.value.path().read_text().splitlines()
    assert rows[1] == "fp32,0.412,0.38 to 0.45"
    assert rows[2].startswith("'-2+3,")  # no spreadsheet runs it


STREAM = """
window.told = [];
document.addEventListener('plane:metric', (said) => told.push(said.detail.loss));
window.EventSource = class {
    constructor() { this.on = {}; window.stream = this; }
    addEventListener(name, act) { this.on[name] = act; }
    close() {}
};
"""


def test_the_stream_of_a_job_tells_charts_of_a_metric(signed_in, plane):
    page = signed_in("engineer")
    page.add_init_script(STREAM)
    page.goto(f"{plane}/p/demo/jobs/new/noop")
    page.locator('[name="/seconds"]').fill("20")
    page.get_by_role("button", name="Queue", exact=True).last.click()
    page.wait_for_url(re.compile(r"/jobs/\d+$"))
    page.evaluate("stream.on.metric({ data: JSON.stringify({ name: 'loss', value: 0.5, step: 1 }) })")
    assert page.evaluate("told") == [0.5]
