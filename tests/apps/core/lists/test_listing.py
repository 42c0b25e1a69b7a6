"""What every list shares, tried on the list of jobs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.http import QueryDict
from django.utils import timezone

from apps.core.errors import Invalid
from apps.core.lists.listing import build_day_filters, build_table, iter_batches, parse_day, parse_list_query
from apps.platform.jobs.lists import JOBS

FILTERS = [
    {"name": "state", "label": "State", "value": "failed", "choices": [("failed", "Failed")]},
    {"name": "name", "label": "Name", "value": ""},
]


def asked(query: str = "", **more):
    return parse_list_query(JOBS, QueryDict(query), **more)


def keys(query: str) -> list[str]:
    return [column.key for column in asked(query).columns]


def test_a_query_that_asks_nothing_shows_what_is_shown_at_first():
    assert keys("") == [column.key for column in JOBS.columns if column.default_visible]
    assert (asked().sort, asked().order, asked().limit, asked().csv) == ("-job", ("-id",), 50, False)


@pytest.mark.parametrize("query", ["columns=made&columns=state", "columns=state,made", "columns=made,,state,made"])
def test_columns_are_picked_but_the_first_stays(query):
    assert keys(query) == ["job", "state", "made"]


def test_an_order_may_go_both_ways():
    assert asked("sort=state").order == ("state", "-id")
    assert asked("sort=-state").order == ("-state", "id")
    assert (asked("sort=-ended").order, asked("sort=-ended").sparse) == (("-ended_at", "-id"), "ended_at")


def test_the_lists_own_order_may_depend_on_what_narrows_it():
    assert asked("", sort="-made").sort == "-made"
    assert asked("sort=kind", sort="-made").sort == "kind"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("columns=job,wages", "columns"),
        ("sort=progress", "sort"),
        ("sort=--made", "sort"),
        ("sort=pk", "sort"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("format=xlsx", "format"),
    ],
)
def test_nonsense_names_its_field_and_what_there_is(query, field):
    with pytest.raises(Invalid) as caught:
        asked(query)
    assert caught.value.field == field
    assert caught.value.limit


def test_days_are_those_of_the_reader(settings):
    with timezone.override("Asia/Shanghai"):
        assert parse_day("made_after", "2026-11-24") == datetime(2026, 11, 23, 16, tzinfo=UTC)
        assert parse_day("made_before", "2026-11-24", end=True) == datetime(2026, 11, 24, 16, tzinfo=UTC)
        midnight = timezone.make_aware(datetime.combine(timezone.localdate(), datetime.min.time()))
        assert parse_day("made_after", "today") == parse_day("made_after", "1d") == midnight
        assert (midnight - parse_day("made_after", "7d")).days == 6


@pytest.mark.parametrize("text", ["2026-02-30", "yesterday", "0d", "99999d", "24.11.2026", "9999-12-31", "\x00"])
def test_what_is_no_day_is_said(text):
    with pytest.raises(Invalid) as caught:
        parse_day("made_after", text, end=True)
    assert caught.value.field == "made_after"


def test_the_first_day_of_the_calendar_has_no_place_east_of_greenwich():
    with timezone.override("Asia/Shanghai"), pytest.raises(Invalid):
        parse_day("made_after", "0001-01-01")


def test_a_day_that_no_calendar_shows_is_typed():
    params = QueryDict("made_after=7d&made_before=2026-11-24")
    assert [one["type"] for one in build_day_filters(params, "made", "from", "until")] == ["text", "date"]


@pytest.fixture
def table(db):
    """table(query) -> the list of jobs, empty, with a filter in use."""
    from apps.platform.jobs.models import Job

    return lambda query: build_table(JOBS, QueryDict(query), Job.objects.all, filters=FILTERS)


def test_a_chip_takes_its_own_filter_off(table):
    found = table("state=failed&sort=made&cursor=&columns=state")
    assert [(chip["label"], chip["word"]) for chip in found.chips] == [("State", "Failed")]
    assert found.chips[0]["query"] == "?sort=made&columns=state"
    assert table("state=failed").chips[0]["query"] == "?view=all"


def test_a_view_keeps_all_but_the_place(table):
    assert table("state=failed&view=all&limit=5&sort=made&columns=a").view_query == "state=failed&sort=made&columns=a"


def test_filters_carry_order_and_columns_on(table):
    assert table("state=failed&sort=made&columns=state&columns=by").filter_form_fields == [
        ("sort", "made"),
        ("columns", "state"),
        ("columns", "by"),
    ]


def test_the_file_is_of_the_same_list(table):
    assert table("state=failed&sort=made&limit=5").csv_query == "?state=failed&sort=made&format=csv"


def test_what_is_wrong_shows_no_rows(table):
    found = table("sort=wages")
    assert (found.status, found.rows, found.wrong.field) == (422, (), "sort")


@pytest.mark.parametrize("rows", [0, 4, 5, 6, 10])
def test_batches_hold_every_row_once(db, django_assert_num_queries, rows):
    from apps.platform.accounts.models import Project

    Project.objects.bulk_create(Project(slug=f"p{n}", name="same") for n in range(rows))
    with django_assert_num_queries(rows // 5 + 1):
        found = [list(batch) for batch in iter_batches(Project.objects.all(), ("name", "-id"), size=5)]
    slugs = [one.slug for batch in found for one in batch]
    assert slugs == [f"p{n}" for n in reversed(range(rows))]
