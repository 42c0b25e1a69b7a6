"""The address above every title: its parts are links, and it can be copied."""

import re

import pytest
from django.template import Context, Template

from apps.web.templatetags.breadcrumbs import render_path


def crumb_in(answer) -> str:
    return re.search(r'<nav class="crumb".*?</nav>', answer.content.decode(), re.DOTALL).group()


@pytest.mark.parametrize(
    ("path", "linked"),
    [
        ("/p/demo/jobs", "/p/demo/"),
        ("/p/demo/data", "/p/demo/"),
        ("/p/demo/", "/"),
        ("/account/tokens", "/account"),
    ],
)
def test_every_part_is_an_address_and_the_whole_can_be_copied(path, linked, engineer, web):
    crumb = crumb_in(web(engineer).get(path))
    assert f'href="{linked}"' in crumb
    assert crumb.count("data-copy=") == 1
    assert f'data-copy="{path}"' in crumb


def test_a_page_that_says_nothing_gets_the_parts_of_its_address():
    assert render_path("/account/tokens") == '<a href="/account">account</a><span aria-current="page">tokens</span>'
    assert render_path("/no/such/<b>") == '<span aria-current="page">&lt;b&gt;</span>'


def test_a_page_with_a_button_of_its_own_gets_no_second_one(rf):
    page = Template('{% crumb %}<span>a</span>{% copy "/a" %}{% endcrumb %}')
    assert page.render(Context({"request": rf.get("/b")})).count("data-copy") == 1


@pytest.mark.parametrize(
    ("path", "title"), [("/p/demo/jobs", "Jobs - demo - Control plane"), ("/", "Home - Control plane")]
)
def test_the_title_says_what_where_and_of_what(path, title, engineer, web):
    assert f"<title>{title}</title>" in web(engineer).get(path).content.decode()


def test_the_title_names_the_tab_in_the_language_of_the_page(auditor, web):
    page = web(auditor).get("/audit", headers={"accept-language": "zh-hans"}).content.decode()
    assert "<title>审计：记录 - 控制平台</title>" in page
