"""A page that is left open: it rests while nobody looks, and is right when somebody does again."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_job_page import cancel

HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture
def queue(signed_in, plane):
    """queue(page, seconds) -> the address of a noop job, queued in a tab of its own."""

    def press(page, seconds):
        other = page.context.new_page()
        other.goto(f"{plane}/p/demo/jobs/new/noop")
        other.locator('[name="/seconds"]').fill(str(seconds))
        other.get_by_role("button", name="Queue", exact=True).last.click()
        expect(other).to_have_url(re.compile(r"/jobs/\d+$"))
        address = other.url
        other.close()
        return address

    return press


def listen(page) -> list[str]:
    """The addresses that the page asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def rest(page) -> None:
    page.evaluate(HIDE, True)
    expect(page.locator("html")).to_have_attribute("data-away", "")


def test_a_hidden_home_asks_for_nothing_and_is_right_when_shown(signed_in, plane, queue):
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/")
    rest(page)
    asked = listen(page)
    number = queue(page, 0.1).rsplit("/", 1)[1]
    done = page.context.new_page()
    done.goto(f"{plane}/p/demo/jobs/{number}")
    expect(done.locator(".title .state")).to_have_text("Succeeded")
    done.close()
    again = queue(page, 30).rsplit("/", 1)[1]
    assert asked == []
    page.evaluate(HIDE, False)
    expect(page.locator('[data-part="moving"]')).to_contain_text(f"#{again}")
    assert {url for url in asked if "static" not in url} == {f"{plane}/p/demo/"}


def test_a_hidden_job_closes_its_stream_and_takes_it_up_again(signed_in, plane, queue):
    page = signed_in("engineer")
    address = queue(page, 120)  # runs while this page is opened and put out of sight
    page.goto(address)
    expect(page.locator(".title .state")).to_have_text("Running")
    rest(page)
    asked = listen(page)
    assert page.evaluate("document.querySelector('[data-live]').liveSource") is None
    other = page.context.new_page()
    cancel(other, address)
    other.close()
    assert asked == []
    page.evaluate(HIDE, False)
    expect(page.locator(".title .state")).to_have_text("Cancelled")


def test_a_tab_opened_out_of_sight_is_whole_when_it_is_shown(signed_in, plane):
    page = signed_in("engineer")
    page.add_init_script("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    page.goto(f"{plane}/p/demo/rollouts/new")
    expect(page.locator("#selection")).to_contain_text(re.compile(r"Selects [\d,]+ active devices? now"))


def test_a_glance_elsewhere_ends_no_stream(signed_in, plane, queue):
    page = signed_in("engineer")
    page.goto(queue(page, 30))
    expect(page.locator(".title .state")).to_have_text("Running")
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    assert page.evaluate("document.querySelector('[data-live]').liveSource.readyState") < 2
    assert page.evaluate("'away' in document.documentElement.dataset") is False


def test_signed_out_meanwhile_says_so_once_and_leads_back(page, sign_in_as, plane):
    page.clock.install()
    sign_in_as(page, "engineer").goto(f"{plane}/p/demo/?x=1")
    rest(page)
    page.context.clear_cookies()
    asked = listen(page)
    page.evaluate(HIDE, False)
    toast = page.locator("#toast")
    expect(toast).to_contain_text("You are signed out.")
    page.clock.run_for(300_000)  # much longer than it takes to ask again
    page.evaluate("fetch('/static/favicon.svg?last')")
    assert [url for url in asked if "?last" not in url] == asked[:1]
    toast.get_by_role("link", name="Sign in again").click()
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=%2Fp%2Fdemo%2F%3Fx%3D1$"))


def test_a_plane_that_is_away_is_told_and_forgotten(page, sign_in_as, plane):
    sign_in_as(page, "engineer").goto(f"{plane}/")
    rest(page)
    page.context.set_offline(True)
    page.evaluate(HIDE, False)
    expect(page.locator("#toast")).to_contain_text("The plane does not answer.")
    page.context.set_offline(False)
    expect(page.locator("#toast")).to_be_hidden()


def test_a_new_version_loads_the_page_anew(page, sign_in_as, plane):
    sign_in_as(page, "engineer").goto(f"{plane}/")
    page.evaluate("document.querySelector('meta[name=plane-build]').content = 'of yesterday'")
    page.evaluate("document.documentElement.dataset.old = 'yes'")
    page.evaluate("document.querySelectorAll('[data-mark]').forEach(mark => { mark.dataset.mark = 'of yesterday' })")
    rest(page)
    page.evaluate(HIDE, False)
    expect(page.locator("html")).not_to_have_attribute("data-old", "yes")


def test_without_a_seat_the_page_says_that_it_is_paused(page, sign_in_as, plane):
    sign_in_as(page, "engineer")
    full = {"status": 503, "body": "{}", "content_type": "application/json"}
    page.route("**/events?**", lambda route: route.fulfill(**full))
    page.goto(f"{plane}/p/demo/jobs/new/noop")
    page.locator('[name="/seconds"]').fill("30")
    page.get_by_role("button", name="Queue", exact=True).last.click()
    expect(page.locator("#toast")).to_contain_text("Live updates are paused")
