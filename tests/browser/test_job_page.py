"""The log of a job as somebody watches it: paused, searched, wrapped, and linked by the line."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages, wait_until


@pytest.fixture
def queue_noop(plane):
    """queue_noop(page, field=value, ...) -> the page of a noop job."""

    def queue(page, **spec):
        page.goto(f"{plane}/p/demo/jobs/new/noop")
        for field, value in spec.items():
            page.locator(f'[name="/{field}"]').fill(str(value))
        page.get_by_role("button", name="Queue", exact=True).last.click()
        page.wait_for_url(re.compile(r"/jobs/\d+$"))
        return page.url

    return queue


def cancel(page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_label("Reason").fill("seen enough")
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".title .state")).to_have_text("Cancelled")


def test_a_paused_log_stands_still_and_then_catches_up(signed_in, queue_noop):
    page = signed_in("engineer")
    address = queue_noop(page, seconds=120, steps=1200, log_lines=1200)
    lines = page.locator("ol.log li")
    expect(lines.nth(10)).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_have_attribute("aria-pressed", "true")
    before = lines.count()
    counted = page.locator('[data-bind="log.count"]')
    was = counted.inner_text()
    expect(counted).not_to_have_text(was)
    assert lines.count() == before
    page.get_by_role("button", name="Resume").click()
    expect(lines.nth(before)).to_be_visible()
    cancel(page, address)


def test_every_line_is_searched_and_has_an_address(signed_in, queue_noop):
    page = signed_in("engineer")
    address = queue_noop(page, steps=10, log_lines=900)
    expect(page.locator(".title .state")).to_have_text("Succeeded")
    page.get_by_role("searchbox", name="Search all lines").fill("line 77 of")
    page.keyboard.press("Enter")
    expect(page.locator("ol.log li")).to_have_count(1)
    number = page.locator("ol.log li a").inner_text()
    page.locator("ol.log li a").click()
    expect(page).to_have_url(f"{address}/log?line={number}#L{number}")
    expect(page.locator(f"#L{number}")).to_be_in_viewport()
    expect(page.locator(f"#L{number}")).to_contain_text("line 77 of 900")
    expect(page.locator("ol.log li").nth(200)).to_be_attached()


def test_wrapping_is_remembered(signed_in, queue_noop):
    page = signed_in("engineer")
    address = queue_noop(page, log_lines=5)
    expect(page.locator(".title .state")).to_have_text("Succeeded")
    page.get_by_role("button", name="Wrap").click()
    expect(page.locator("ol.log")).to_have_class("log flat")
    page.goto(f"{address}/log")
    expect(page.locator("ol.log")).to_have_class("log flat")
    page.get_by_role("button", name="Wrap").click()
    expect(page.get_by_role("button", name="Wrap")).to_have_attribute("aria-pressed", "true")


def test_a_failed_job_leads_to_its_remedy(signed_in, plane):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/jobs/new/noop")
    page.locator('[name="/fail"]').select_option("error")
    page.get_by_role("button", name="Queue", exact=True).last.click()
    expect(page.locator(".title .state")).to_have_text("Failed")
    expect(page.locator(".btn.primary")).to_have_count(1)
    page.get_by_role("alert").get_by_role("link", name="Clone and edit").click()
    expect(page).to_have_url(re.compile(r"/jobs/new/noop\?from=\d+$"))
    expect(page.locator('[name="/fail"]')).to_have_value("error")


def test_tabs_of_job_fit_a_phone(signed_in, queue_noop):
    page = signed_in("engineer")
    address = queue_noop(page, log_lines=5)
    expect(page.locator(".title .state")).to_have_text("Succeeded")
    tabs = ["", "/log", "/metrics", "/spec", "/outputs", "/audit"]
    assert list_wide_pages(page, [f"{address}{tab}" for tab in tabs]) == []


STREAM = """
window.EventSource = class {
    constructor() { this.on = {}; window.stream = this; }
    addEventListener(name, act) { this.on[name] = act; }
    close() {}
};
window.many = (from, count) => {
    for (let first = from; first < from + count; first += 500) {
        const lines = Array.from({ length: 500 }, () => ['2026-11-24T10:00:00Z', 'info', 'a line']);
        stream.on.log({ data: JSON.stringify({ first, lines }) });
    }
};
"""


def test_a_log_that_nobody_follows_does_not_fill_the_memory(signed_in, queue_noop):
    page = signed_in("engineer")
    page.add_init_script(STREAM)
    address = queue_noop(page, seconds=120, steps=10, log_lines=10)
    page.evaluate("many(1000, 6000)")
    assert page.locator("ol.log li").count() == 5000
    page.evaluate("document.querySelector('ol.log').scrollTop = 0; many(10000, 20000)")
    assert page.locator("ol.log li").count() == 10_000
    page.get_by_role("button", name="Pause").click()
    page.evaluate("many(50000, 30000)")
    page.get_by_role("button", name="Resume").click()
    assert page.locator("ol.log li").count() == 10_000
    assert page.locator("ol.log li").last.get_attribute("id") == "L79999"
    cancel(page.context.new_page(), address)  # with a stream of its own


@pytest.fixture
def followed(page, watch, sign_in_as, queue_noop):
    """(page of a running job, the questions for its newest parts): the stream tells, and the test answers, by hand."""
    sign_in_as(watch(page, answers=(503,)), "engineer")
    page.add_init_script(STREAM)
    address, questions = queue_noop(page, seconds=300), []
    page.route(address, lambda route: questions.append(route) if is_question(route) else route.continue_())
    yield page, questions
    cancel(page.context.new_page(), address)


def is_question(route) -> bool:
    return "x-plane-poll" in route.request.headers


def tell_of_change(page, questions) -> None:
    before = len(questions)
    page.evaluate("stream.on.changed({ data: '{}' })")
    wait_until(page, lambda: len(questions) > before)


def answer(question, part: str, text: str) -> None:
    question.fulfill(body=f'<span data-part="{part}">{text}</span>', content_type="text/html; charset=utf-8")


def test_a_late_answer_does_not_bring_back_former_parts(followed):
    page, questions = followed
    tell_of_change(page, questions)
    tell_of_change(page, questions)
    answer(questions[1], "state", "newer")
    expect(page.locator("[data-part=state]")).to_have_text("newer")
    answer(questions[0], "state", "older")
    page.wait_for_timeout(300)  # nothing is to happen
    expect(page.locator("[data-part=state]")).to_have_text("newer")


def test_a_part_waits_while_it_is_pressed_or_has_a_dialog_open(followed):
    page, questions = followed
    tell_of_change(page, questions)
    box = page.locator("[data-part=acts]").get_by_role("button", name="Cancel").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    answer(questions[0], "acts", "newer")
    page.wait_for_timeout(300)  # nothing is to happen
    page.mouse.up()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    wait_until(page, lambda: len(questions) > 1)
    answer(questions[1], "acts", "newer")
    expect(page.locator("[data-part=acts]")).to_have_text("newer")


def test_a_question_that_failed_is_asked_again(followed):
    page, questions = followed
    tell_of_change(page, questions)
    questions[0].fulfill(status=503)
    expect(page.locator("#toast")).to_contain_text("The plane does not answer.")
    wait_until(page, lambda: len(questions) > 1)
    answer(questions[1], "state", "newer")
    expect(page.locator("[data-part=state]")).to_have_text("newer")
    expect(page.locator("#toast")).to_be_hidden()


def test_questions_that_failed_are_asked_again_as_one_and_ever_more_rarely(followed):
    page, questions = followed
    page.clock.install()
    page.clock.pause_at("2100-01-01")
    for place in (0, 1):
        tell_of_change(page, questions)
        with page.expect_response(lambda response: response.status == 503):
            questions[place].fulfill(status=503)
    page.wait_for_timeout(300)  # nothing is to happen
    page.clock.run_for(9_000)
    page.wait_for_timeout(300)  # nothing is to happen
    assert len(questions) == 2
    page.clock.run_for(1_000)
    wait_until(page, lambda: len(questions) > 2)
    page.wait_for_timeout(300)  # nothing is to happen
    assert len(questions) == 3
    answer(questions[2], "state", "newer")
    expect(page.locator("[data-part=state]")).to_have_text("newer")
