"""CSV files: cells that read back, that no spreadsheet runs, under a name that every browser saves."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from apps.core.lists.csv_files import build_csv_response, encode_csv, escape_formula, format_cell


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd|x", "@SUM(A1)", "\tx", "\rx", "=", "-"])
def test_no_spreadsheet_runs_a_cell(text):
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1.5", "+3", "-1e-9", "plain", "a=b", "", ".5", "-.5"])
def test_numbers_and_words_stay(text):
    assert escape_formula(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (-3, "-3"),
        (0.1, "0.1"),
        (float("nan"), "nan"),
        (datetime(2026, 11, 24, 1, 2, tzinfo=UTC), "2026-11-24T01:02:00+00:00"),
        (date(2026, 11, 24), "2026-11-24"),
        (["a", "=b"], "a, =b"),
        (["=b"], "'=b"),
    ],
)
def test_values_read_back(value, text):
    assert format_cell(value) == text


def test_lines_and_quotes_are_those_of_the_standard():
    assert encode_csv([["a", "b"], ['1,"2"', "x\ny"]]) == b'a,b\r\n"1,""2""","x\ny"\r\n'


@pytest.mark.parametrize(
    ("name", "saved"),
    [("jobs-demo", "jobs-demo"), ('a"; x=b\r\n', "a-x-b-"), ("节点 1.2", "-1.2"), ("../etc", "..-etc")],
)
def test_a_name_is_one_that_a_header_can_say(name, saved):
    answer = build_csv_response(name, b"")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{saved}.csv"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_made_on_the_way_is_streamed():
    assert build_csv_response("x", iter([b"a", b"b"])).streaming
    assert not build_csv_response("x", b"ab").streaming
