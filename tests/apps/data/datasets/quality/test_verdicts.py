"""What the checks say of a pair of quality reports."""

import pytest

from apps.data.datasets.quality.verdicts import count_verdicts, run_checks

CLEAN = {"fill": "median_window", "window_size": 5}


def column(name="close", dtype="double", missing=0, **more):
    numeric = {
        "std": 10.0,
        "infinite": 0,
        "quantiles": {"0.25": 10.0, "0.5": 15.0, "0.75": 20.0},
        "outliers": {"robust_z": {"count": 0}},
    }
    facts = {"name": name, "dtype": dtype, "missing": missing, "all_missing": False, "longest_gap": 0, "distinct": 9}
    return facts | {"numeric": numeric, "dates": None} | more


def report(*columns, rows=100, duplicates=0):
    return {"rows": rows, "duplicate_rows": duplicates, "columns": list(columns)}


def verdict(name, before, after, params=CLEAN):
    return next(check for check in run_checks(before, after, params) if check.name == name)


def test_nothing_is_checked_without_a_report():
    assert run_checks(None, None, {}) == []


def test_a_clean_table_passes_everything():
    checks = run_checks(report(column()), report(column()), CLEAN)
    assert {check.verdict for check in checks} == {"pass"}
    assert count_verdicts(checks).passed == len(checks) == 10


@pytest.mark.parametrize(("dtype", "told"), [("double", "fail"), ("int64", "fail"), ("string", "warn")])
def test_missing_numbers_fail_and_missing_texts_warn(dtype, told):
    check = verdict("Missing values", None, report(column(), column("b", dtype, missing=3)))
    assert (check.verdict, check.after, check.columns, check.before) == (told, 3, ["b"], None)


@pytest.mark.parametrize(
    ("change", "name", "told"),
    [
        ({"all_missing": True}, "Columns without a value", "fail"),
        ({"numeric": {"infinite": 2}}, "Infinite values", "fail"),
        ({"distinct": 1}, "Columns of one value", "warn"),
        ({"dates": {"out_of_order": 1}}, "Dates out of order", "warn"),
        ({"numeric": {"outliers": {"robust_z": {"count": 6}}}}, "Outliers, robust z, in the worst column", "warn"),
    ],
)
def test_what_is_wrong_with_a_column_names_it(change, name, told):
    check = verdict(name, None, report(column("bad", **change)))
    assert (check.verdict, check.columns) == (told, ["bad"])


def test_flags_that_the_step_added_may_be_of_one_value():
    after = report(column(), column("close__outlier", "bool", distinct=1, numeric=None))
    assert verdict("Columns of one value", report(column()), after).verdict == "pass"


def test_a_gap_longer_than_the_window_is_told():
    before = report(column(missing=9, longest_gap=7))
    check = verdict("Longest run of filled rows", before, report(column()))
    assert (check.verdict, check.after, check.limit, check.columns) == ("warn", 7, 5, ["close"])


@pytest.mark.parametrize(
    ("change", "name", "share"),
    [
        ({"quantiles": {"0.5": 16.0}}, "Median moved, of the interquartile range", 0.1),
        ({"std": 9.0}, "Standard deviation changed", 0.1),
    ],
)
def test_what_the_cleaning_moved_is_measured(change, name, share):
    check = verdict(name, report(column()), report(column(numeric=change)))
    assert (check.verdict, check.after, check.form) == ("warn", share, "share")


def test_rows_that_were_lost_and_rows_that_are_double():
    after = report(column(), rows=90, duplicates=2)
    assert verdict("Rows kept", report(column()), after).verdict == "warn"
    assert verdict("Duplicate rows", report(column()), after).verdict == "warn"


def test_an_older_report_is_not_judged_by_what_it_does_not_tell():
    old = {"rows": 2, "columns": [{"name": "close", "dtype": "double", "missing": 1}]}
    assert [check.name for check in run_checks(None, old, {})] == ["Missing values"]


def test_no_more_columns_are_named_than_one_can_read():
    after = report(*(column(f"c{n}", missing=1) for n in range(20)))
    assert len(verdict("Missing values", None, after).columns) == 5
