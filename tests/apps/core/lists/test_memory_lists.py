"""Lists in memory: paged by the row at the edge, whatever comes or goes meanwhile."""

from __future__ import annotations

import pytest
from django.http import QueryDict

from apps.core.errors import Malformed
from apps.core.lists.memory_lists import build_table_in_memory
from apps.core.lists.pages import paginate_in_memory
from apps.platform.accounts.lists import MEMBERS
from apps.platform.accounts.queries import Member


def member(name: str, **more) -> Member:
    facts = {"kind": "user", "full_name": "", "is_active": True, "roles": ("viewer",)}
    return Member(name=name, **facts | more)


def page(rows: list[str], cursor=None, limit=3, order="name"):
    return paginate_in_memory(rows, key=str, order=order, cursor=cursor, limit=limit)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_forward_and_back_meet_every_row_once(limit):
    rows = list("abcdefg")
    pages = [page(rows, limit=limit)]
    while pages[-1].next:
        pages.append(page(rows, pages[-1].next, limit))
    assert [row for one in pages for row in one.items] == rows
    back = [pages[-1]]
    while back[0].previous:
        back.insert(0, page(rows, back[0].previous, limit))
    assert [row for one in back for row in one.items][-len(rows) :] == rows


def test_what_comes_before_the_edge_shifts_nothing():
    cursor = page(list("cdefg")).next
    assert page(list("abcdefg"), cursor).items == ["f", "g"]


def test_where_the_row_at_the_edge_has_gone_the_page_begins_at_its_place():
    first = page(list("abcdefg"))
    assert page(list("abdefg"), first.next).items == ["d", "e", "f"]
    second = page(list("abcdefg"), first.next)
    assert page(list("abcefg"), second.previous).items == ["a", "b", "c"]
    assert page([], first.next).items == []


@pytest.mark.parametrize("order", ["-name", "kind"])
def test_a_cursor_of_another_order_is_none(order):
    with pytest.raises(Malformed):
        page(list("abcdefg"), page(list("abcdefg")).next, order=order)


@pytest.mark.parametrize(
    "cursor", ["x", "bnVsbA", "W10", "WyJuIiwibmFtZSIsMSwxXQ", "WyJuIiwibmFtZSIsImEiLC0xXQ", "a" * 2000]
)
def test_what_is_no_cursor_is_said(cursor):
    with pytest.raises(Malformed) as failure:
        page(list("abcdefg"), cursor)
    assert failure.value.field == "cursor"


def table(query: str, rows: list[Member]):
    key = lambda row: row.name  # noqa: E731
    return build_table_in_memory(MEMBERS, QueryDict(query), lambda: rows, key=key, filters=[])


def test_a_table_pages_its_rows_and_says_how_many_fit():
    rows = [member(f"m{n:03}") for n in range(120)]
    first = table("", rows)
    assert (len(first.rows), first.total, first.page.previous) == (50, 120, None)
    last = table(f"cursor={table(f'cursor={first.page.next}', rows).page.next}", rows)
    assert [row.name for row in last.rows] == [f"m{n:03}" for n in range(100, 120)]
    assert len(table("sort=-name&limit=7", rows).rows) == 7


def test_a_file_takes_every_row():
    assert len(table("format=csv", [member(f"m{n}") for n in range(120)]).rows) == 120


@pytest.mark.parametrize(("sort", "names"), [("full_name", "bca"), ("-full_name", "cba")])
def test_what_has_no_value_comes_last_both_ways(sort, names):
    rows = [member("a", full_name=None), member("b", full_name="B"), member("c", full_name="C")]
    assert "".join(row.name for row in table(f"sort={sort}", rows).rows) == names
