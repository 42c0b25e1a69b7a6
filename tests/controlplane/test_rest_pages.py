"""Keyset pages: complete, stable, and one query each."""

from __future__ import annotations

import base64
import json

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from apps.core.errors import Invalid, Malformed
from apps.core.lists.pages import MAX_CURSOR_LENGTH, fetch_page, paginate
from apps.platform.accounts.models import Project
from controlplane.rest import CursorPagination

pytestmark = pytest.mark.services

ORDERS = [("-id",), ("id",), ("-name", "-id"), ("name", "-id"), ("-created_at", "id"), ("slug", "pk")]


@pytest.fixture
def seven(db):
    """Names repeat, so that an order by name needs its second field."""
    return Project.objects.bulk_create([Project(slug=f"p{n}", name="abc"[n % 3]) for n in range(7)])


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("order", ORDERS)
def test_pages_forward_and_back_have_every_row_once(seven, order):
    rows = Project.objects.all()
    for limit in (1, 2, 3, 7, 8):
        pages = [fetch_page(rows, limit=limit, order=order)]
        while pages[-1].next:
            pages.append(fetch_page(rows, limit=limit, order=order, cursor=pages[-1].next))
        assert [row for page in pages for row in page.items] == list(rows.order_by(*order)), limit
        back = [pages[-1]]
        while back[0].previous:
            back.insert(0, fetch_page(rows, limit=limit, order=order, cursor=back[0].previous))
        assert [page.items for page in back] == [page.items for page in pages], limit


def test_new_rows_shift_nothing(seven):
    first = fetch_page(Project.objects.all(), limit=3)
    Project.objects.create(slug="new", name="new")
    assert fetch_page(Project.objects.all(), limit=3, cursor=first.next).items == seven[::-1][3:6]


def test_a_page_is_one_query_and_no_count(seven, django_assert_num_queries):
    cursor = fetch_page(Project.objects.all(), limit=3).next
    with django_assert_num_queries(1) as asked:
        fetch_page(Project.objects.all(), limit=3, cursor=cursor)
    assert "COUNT(" not in asked.captured_queries[0]["sql"]


WRONG_CURSORS = [
    "x",
    "数",
    "=",
    "a" * (MAX_CURSOR_LENGTH + 1),
    encoded(1),
    encoded(["n", "-id", ["x"]]),
    encoded(["n", "-id", [None]]),
    encoded(["n", "-id", [[1]]]),
    encoded(["n", "-id", [2**70]]),
    encoded(["n", "-id", [float("inf")]]),
    encoded(["n", "-id", []]),
    encoded(["n", "id", [1]]),
    encoded(["x", "-id", [1]]),
    encoded([["n"], "-id", [1]]),
]


def test_wrong_cursors_are_refused(seven):
    errors = []
    for cursor in WRONG_CURSORS:
        with pytest.raises(Malformed) as refused:
            fetch_page(Project.objects.all(), cursor=cursor)
        errors.append((refused.value.field, refused.value.code))
    assert errors == [("cursor", "bad_cursor")] * len(WRONG_CURSORS)


@pytest.mark.parametrize("values", [["x", 1], ["2026-01-01T00:00:00", 1], ["a\x00", 1]])
def test_times_must_be_times(seven, values):
    with pytest.raises(Malformed):
        fetch_page(
            Project.objects.all(), order=("-created_at", "-id"), cursor=encoded(["n", "-created_at,-id", values])
        )


def test_half_a_letter_is_no_name(seven):
    with pytest.raises(Malformed):
        fetch_page(Project.objects.all(), order=("-name", "-id"), cursor=encoded(["n", "-name,-id", ["\ud800", 1]]))


def test_wrong_limits_are_refused(seven):
    for limit in ("0", "201", "-1", "1.5", "x", "9" * 30, "１"):
        with pytest.raises(Invalid) as refused:
            paginate(Project.objects.all(), {"limit": limit})
        assert (refused.value.field, refused.value.limit) == ("limit", 200), limit


@pytest.mark.parametrize(("asked", "next_one", "rels"), [({"limit": "3"}, True, ["next"]), ({}, False, [])])
def test_the_answer_and_its_links(seven, asked, next_one, rels):
    pages = CursorPagination()
    pages.paginate_queryset(Project.objects.all(), Request(APIRequestFactory().get("/x", asked)))
    answer = pages.get_paginated_response(["row"])
    assert answer.data["items"] == ["row"]
    assert (answer.data["next"] is not None) == next_one
    links = answer.headers.get("Link", "")
    assert [rel for rel in ("next", "prev") if f'rel="{rel}"' in links] == rels
    assert ("limit=3" in links) == next_one
