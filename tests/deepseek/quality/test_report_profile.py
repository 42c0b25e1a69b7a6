"""The quality report: right figures, strict JSON."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest

from deepseek.quality.report import build_quality_report


def column(values, kind=None):
    report = build_quality_report(pa.table({"c": pa.array(values, type=kind)}))
    json.dumps(report, allow_nan=False)
    return report["columns"][0]


def test_counts_of_missing_values():
    found = column([None, 1, None, None, 1, 2, None])
    assert (found["missing"], found["distinct"], found["longest_gap"], found["all_missing"]) == (4, 2, 2, False)
    assert found["missing_share"] == 4 / 7


def test_figures_of_a_numeric_column():
    values = [1.0, 2.0, 3.0, 4.0, 100.0]
    found = column([*values, None])["numeric"]
    assert (found["min"], found["max"], found["mean"]) == (1.0, 100.0, 22.0)
    assert found["std"] == np.std(values, ddof=1)
    assert list(found["quantiles"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
    assert found["quantiles"]["0.25"] == 2.0
    assert found["outliers"]["iqr"] == {"count": 1, "lower": -1.0, "upper": 7.0, "note": ""}
    assert found["outliers"]["robust_z"]["count"] == 1


def test_histogram_counts_every_value():
    found = column(list(range(1000)))["numeric"]["histogram"]
    assert (len(found["counts"]), sum(found["counts"])) == (20, 1000)
    assert (found["edges"][0], found["edges"][-1]) == (0, 999)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, float("inf"), float("-inf"), None],
        [1.7e308, -1.7e308, 1.7e308],
        [1.0, np.nextafter(1.0, 2.0)],
        [5.0],
        [5e-324, 0.0],
    ],
)
def test_extremes_stay_strict_json(values):
    assert column(values, pa.float64())["numeric"]["min"] is not None


def test_infinities_are_counted_apart():
    found = column([1.0, 3.0, float("inf")])["numeric"]
    assert (found["infinite"], found["mean"], found["max"]) == (1, 2.0, 3.0)


def test_big_integers_are_exact():
    assert column([2**60 + 1, 1])["numeric"]["max"] == 2**60 + 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [([None, None], pa.float64()), ([None, None], pa.null()), ([None, None], pa.string())],
)
def test_all_missing(values, kind):
    found = column(values, kind)
    assert (found["all_missing"], found["missing_share"], found["distinct"], found["numeric"]) == (True, 1.0, 0, None)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([dt.date(2024, 5, 1), None, dt.date(2023, 1, 1)], ("2023-01-01", "2024-05-01", None)),
        (["2024/01/02", None, "2023/12/31"], ("2023-12-31 00:00:00", "2024-01-02 00:00:00", "%Y/%m/%d")),
        (["2024年01月02日"], ("2024-01-02 00:00:00", "2024-01-02 00:00:00", "%Y年%m月%d日")),
    ],
)
def test_date_columns(values, wanted):
    found = column(values)["dates"]
    assert (found["first"], found["last"], found["format"]) == wanted


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("us"), pa.timestamp("ns", "Asia/Shanghai")])
def test_how_dates_lie_over_time(kind):
    days = [dt.datetime(2024, 1, day) if day else None for day in (1, 3, None, 2, 3)]
    found = column(days, kind)["dates"]
    assert (found["out_of_order"], found["repeated"]) == (1, 1)
    assert found["histogram"]["counts"] == [1, 1, 2]
    assert found["histogram"]["edges"][0][:10] == "2024-01-01"


def test_the_span_of_text_dates_is_drawn_too():
    found = column(["2024/01/01", None, "2024/02/01"])["dates"]
    assert (found["histogram"]["edges"][0], found["histogram"]["counts"]) == ("2024-01-01T00:00:00", [1, 1])


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["b", "a", "a", None], [["a", 2], ["b", 1]]),
        (["b", "a"], [["b", 1], ["a", 1]]),
        ([True, False, True], [["True", 2], ["False", 1]]),
        (["x" * 300], [["x" * 200, 1]]),
        ([1, 2], None),
    ],
)
def test_the_most_frequent_values(values, wanted):
    assert column(values)["top"] == wanted


def test_no_more_than_ten_values_are_told():
    assert len(column([str(n) for n in range(30)])["top"]) == 10


@pytest.mark.parametrize("values", [["2024/01/02", "soon"], ["01/02/2024"], ["a"], [1, 2], [True]])
def test_other_columns_are_no_dates(values):
    assert column(values)["dates"] is None


def test_duplicate_rows_count_missing_as_equal():
    table = pa.table({"a": [1, 1, None, None, 1], "b": ["x", "x", None, None, "y"]})
    assert build_quality_report(table)["duplicate_rows"] == 2


def test_nested_columns_pass():
    report = build_quality_report(pa.table({"l": [[1], [1]]}))
    assert (report["duplicate_rows"], report["columns"][0]["distinct"]) == (None, None)


def test_preview_is_text():
    report = build_quality_report(pa.table({"a": [1.5, None] * 40, "t": ["x" * 300] * 80}))
    assert report["preview"]["columns"] == ["a", "t"]
    assert len(report["preview"]["rows"]) == 50
    assert report["preview"]["rows"][:2] == [["1.5", "x" * 200], [None, "x" * 200]]


def test_progress_counts_to_all_rows():
    seen = []
    report = build_quality_report(pa.table({"a": [1, 2, 3], "b": [1, 2, 3]}), warnings=["w"], advance=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 3
    assert (report["schema"], report["rows"], report["warnings"]) == ("plane/quality-report/v3", 3, ["w"])
