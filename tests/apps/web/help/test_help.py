"""The manual that the plane serves: every document opens, links lead to topics, a page has its topic."""

import re

import pytest
from django.urls import resolve

from apps.web.help.rendering import get_parser, load_document
from apps.web.help.topics import GROUPS, TOPIC_BY_KIND, TOPIC_BY_NAME, TOPIC_BY_NAMESPACE, find_topic, load_topics


def test_every_topic_that_is_named_is_there():
    grouped = [key for _heading, keys in GROUPS.values() for key in keys]
    named = {*grouped, *TOPIC_BY_KIND.values(), *TOPIC_BY_NAME.values(), *TOPIC_BY_NAMESPACE.values()}
    assert named - load_topics().keys() == set()
    assert len(grouped) == len(set(grouped))


def test_links_between_topics_lead_to_them():
    wrong = {}
    for key in load_topics():
        for topic, anchor in re.findall(r'href="/help/([\w-]+)(?:#([^"]*))?"', load_document(key).html):
            if anchor and f'id="{anchor}"' not in load_document(topic).html:
                wrong[key, topic] = anchor
    assert wrong == {}


def test_html_in_a_document_is_escaped():
    assert "<script>" not in get_parser().render("<script>alert(1)</script>\n\n[x](javascript:alert(1))")


@pytest.mark.parametrize(
    ("address", "topic"),
    [
        ("/p/demo/approvals", "approvals"),
        ("/p/demo/jobs/new/clean", "cleaning"),
        ("/p/demo/jobs/new/train", "training"),
        ("/p/demo/devices", "devices"),
        ("/nodes", "nodes"),
        ("/", None),
    ],
)
def test_a_page_has_its_topic(address, topic):
    match = find_topic(resolve(address))
    assert (match.key if match else None) == topic


def test_the_pages(viewer, web, project):
    client = web(viewer)
    assert "Cleaning tables" in client.get("/help").content.decode()
    text = client.get("/help/approvals").content.decode()
    assert '<h1 lang="en">' in text
    assert 'href="/help/approvals"' in client.get("/p/demo/approvals").content.decode()
    assert client.get("/help/nothing-of-it").status_code == 404


def test_a_stranger_logs_in_first(client, db):
    assert client.get("/help/approvals").status_code == 302
