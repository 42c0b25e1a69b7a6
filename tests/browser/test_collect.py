"""A collection asked for by its form: hosts off the list refused beside their field, and one that is done."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import wait_until
from tests.site import HAS_BROWSER, NO_BROWSER, serving


@pytest.fixture
def form(page, sign_in_as, plane):
    sign_in_as(page, "engineer")  # not watched: Chromium counts a form's 422 as an error of the page
    page.goto(f"{plane}/p/demo/jobs/new/collect")
    return page


def fill(page, **values) -> None:
    for name, value in values.items():
        page.locator(f'[name="/{name.replace("__", "/")}"]').fill(value)


def test_a_host_off_the_list_is_refused_beside_its_field(form):
    fill(form, start_urls="http://wiki.bank.example/", allowed_hosts="wiki.bank.example")
    form.locator('[value="add:/pages/0/fields"]').click()
    fill(form, pages__0__fields__0__name="title", pages__0__fields__0__select="h1")
    form.get_by_role("button", name="Queue").click()
    expect(form.locator("#f-allowed_hosts-e")).to_contain_text("add wiki.bank.example to COLLECT_HOSTS")


def test_what_is_typed_while_an_entry_is_removed_stays(form):
    form.locator('[value="add:/pages/0/fields"]').click()
    remove, held = form.locator('[value="del:/pages/0/fields/0"]'), []

    def hold_the_removal(route):
        if "op=del" in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    form.route("**/jobs/new/collect*", hold_the_removal)
    remove.click()
    wait_until(form, lambda: held)
    fill(form, start_urls="http://wiki.bank.example/")
    held[0].continue_()
    expect(remove).to_have_count(0)
    expect(form.locator('[name="/start_urls"]')).to_have_value("http://wiki.bank.example/")


@pytest.mark.skipif(not HAS_BROWSER, reason=NO_BROWSER)
def test_what_the_form_asks_for_is_collected(form):
    with serving() as site:
        site.page("/", "<ul id=u></ul><script>u.innerHTML = '<li>A</li><li>B</li>'</script>")
        fill(form, start_urls=f"{site.base}/", allowed_hosts="127.0.0.1")
        form.locator('[name="register/dataset"]').fill("by-form")
        form.locator('[value="add:/pages/0/fields"]').click()
        fill(form, pages__0__wait_for="li", pages__0__items="li", pages__0__fields__0__name="name")
        form.locator('[name="/pages/0/render"]').select_option("browser")
        form.get_by_role("button", name="Queue").click()
        expect(form.locator(".title .state")).to_have_text("Succeeded")
    expect(form.get_by_text("the table is a version of by-form")).to_be_visible()
