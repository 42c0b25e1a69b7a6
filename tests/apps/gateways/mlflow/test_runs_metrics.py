"""log-metric, and what is read of points: the newest, and the history."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.ml.experiments import services
from apps.ml.experiments.models import Metric, MetricBatch, MetricPoint, Run

pytestmark = pytest.mark.services

LARGEST = 1.7976931348623157e308


@pytest.fixture
def log(track, run_id):
    """log(value, timestamp, step, key="loss", **more)"""

    def send(value, timestamp, step=0, key="loss", **more):
        body = {"key": key, "value": value, "timestamp": timestamp, "step": step}
        return track.post("runs/log-metric", run_id=run_id, **body | more)

    return send


@pytest.fixture
def history(track, run_id):
    def read(key="loss", **query):
        return track.get("metrics/get-history", run_id=run_id, metric_key=key, **query)

    return read


def test_a_point_is_taken_down_as_it_came(log, run_id):
    assert log(0.5, 100, 1) == {}
    assert not Metric.objects.exists()
    assert MetricBatch.objects.get().points == '[["loss",0.5,100,1]]'


def test_a_reader_sees_it_at_once(log, track, run_id):
    log(0.5, 100, 1)
    told = track.get("runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert told == [{"key": "loss", "value": 0.5, "timestamp": 100, "step": 1}]
    assert not MetricBatch.objects.exists()


NEWEST = [
    ([(1.0, 100, 1), (2.0, 50, 2)], 2.0),  # the greatest step
    ([(2.0, 50, 2), (1.0, 100, 1)], 2.0),
    ([(1.0, 100, 1), (2.0, 50, 1)], 1.0),  # then the latest time
    ([(3.0, 100, 0), (1.0, 100, 0)], 3.0),  # then the greatest value
    ([(1.0, 100, 0), (3.0, 100, 0)], 3.0),
    ([("NaN", 100, 0), (1.0, 100, 0)], 1.0),
    ([(1.0, 100, 0), ("NaN", 100, 0)], 1.0),
]


def test_latest_value_in_one_batch_and_in_two(log, data_of, run_id):
    for number, (points, _) in enumerate(NEWEST):
        log(*points[0], key=f"apart {number}")
    data_of(run_id)
    for number, (points, _) in enumerate(NEWEST):
        log(*points[1], key=f"apart {number}")
        for point in points:
            log(*point, key=f"at once {number}")
    expected = {f"{how} {number}": newest for number, (_, newest) in enumerate(NEWEST) for how in ("apart", "at once")}
    assert data_of(run_id)["metrics"] == expected


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("NaN", "NaN"),
        ("Infinity", LARGEST),
        ("-Infinity", -LARGEST),
        ("0.125", 0.125),
        (True, 1.0),
        (3, 3.0),
        (-0.0, 0),
    ],
)
def test_special_values(log, history, sent, told):
    log(sent, 100)
    assert history()["metrics"] == [{"key": "loss", "value": told, "timestamp": 100, "step": 0}]


def test_numbers_may_be_texts_and_the_step_left_out(track, run_id, history):
    track.post("runs/log-metric", run_uuid=run_id, key="loss", value="0.5", timestamp="300")
    track.post("runs/log-metric", run_id=run_id, key="loss", value="0.5", timestamp="300", step="4")
    assert [(point["timestamp"], point["step"]) for point in history()["metrics"]] == [(300, 0), (300, 4)]


def test_bare_nan_is_read(track, run_id, history):
    track.send("POST", "runs/log-metric", raw=f'{{"run_id":"{run_id}","key":"loss","value":NaN,"timestamp":1}}')
    assert history()["metrics"][0]["value"] == "NaN"


def test_the_same_point_again_is_no_other(log, history):
    for _ in range(2):
        log(0.5, 100, 1)
    assert len(history()["metrics"]) == 1
    log(0.5, 100, 1)
    log(0.5, 100, 2)
    log(0.25, 100, 1)
    log("NaN", 100, 1)
    log("NaN", 100, 1)
    assert len(history()["metrics"]) == 4
    assert Metric.objects.get().count == 4


def test_history_is_in_the_order_of_time(log, history):
    for value, at, step in ((0.5, 300, 1), (0.25, 100, 3), (0.75, 100, 2)):
        log(value, at, step)
    assert [point["value"] for point in history()["metrics"]] == [0.75, 0.25, 0.5]


def test_history_comes_in_pages(log, history):
    for step in range(5):
        log(float(step), 100, step)
    told, token = [], {}
    for _ in range(3):
        page = history(max_results=2, **token)
        told += [point["value"] for point in page["metrics"]]
        token = {"page_token": page.get("next_page_token", "")}
    assert told == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert token == {"page_token": ""}


def test_ties_are_ordered_by_value_with_any_page_size(log, history):
    for value in (3, 1, "Infinity", 2.5, "-Infinity", -0.5, "NaN"):
        log(value, 100)
    values = {}
    for size in (1, 2, 3, 7, 8):
        values[size], token = [], ""
        while token is not None:
            page = history(max_results=size, page_token=token)
            values[size] += [point["value"] for point in page["metrics"]]
            token = page.get("next_page_token")
    assert values == {size: [-LARGEST, -0.5, "NaN", 1, 2.5, 3, LARGEST] for size in values}


def test_of_what_is_unknown_there_is_no_history(track, log, history):
    log(0.5, 100)
    assert history("nothing") == {}
    assert track.get("metrics/get-history", run_id="0" * 32, metric_key="loss") == {}


def test_another_projects_history_is_empty(client_of, stranger, log, run_id):
    log(0.5, 100)
    other = client_of(stranger)
    assert other.get("metrics/get-history", run_id=run_id, metric_key="loss") == {}
    assert other.get("metrics/get-history-bulk-interval", run_ids=run_id, metric_key="loss") == {}


WRONG_HISTORIES = [
    ({"metric_key": ""}, "Missing value for required parameter 'metric_key'."),
    ({"run_id": ""}, "Missing value for required parameter 'run_id'."),
    ({"max_results": "0"}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer."),
    ({"max_results": "many"}, "Invalid value \"many\" for parameter 'max_results' supplied:"),
    ({"page_token": "rubbish"}, "Invalid page token, could not base64-decode"),
    ({"page_token": "WzEsMl0="}, "Invalid page token, could not base64-decode"),
    ({"page_token": "WzFlOTk5LDEsMS4wLDFd"}, "Invalid page token, could not base64-decode"),
    ({"page_token": "WzEsMSxOYU4sMV0="}, "Invalid page token, could not base64-decode"),
    ({"page_token": "WzEsMSwiMSIsMV0="}, "Invalid page token, could not base64-decode"),
    ({"page_token": "é"}, "Invalid page token, could not base64-decode"),
]


def test_wrong_histories_are_refused(track, run_id):
    cases = [({"run_id": run_id, "metric_key": "loss", **query}, text) for query, text in WRONG_HISTORIES]
    assert track.wrong_refusals("GET", "metrics/get-history", cases) == {}


WRONG_POINTS = [
    ({"value": "high"}, "Invalid value \"high\" for parameter 'value' supplied:"),
    ({"value": None}, "Missing value for required parameter 'value'."),
    ({"value": [1]}, "Invalid value [1] for parameter 'value' supplied:"),
    ({"timestamp": None}, "Missing value for required parameter 'timestamp'."),
    ({"timestamp": "now"}, "Invalid value \"now\" for parameter 'timestamp' supplied:"),
    ({"timestamp": 10**18}, "Invalid value 1000000000000000000 for parameter 'timestamp' supplied:"),
    ({"step": "one"}, "Invalid value \"one\" for parameter 'step' supplied:"),
    ({"step": 2**53 + 1}, "Invalid value 9007199254740993 for parameter 'step' supplied:"),
    ({"step": 10**30}, "Invalid value 1000000000000000000000000000000 for parameter 'step' supplied:"),
    ({"key": None}, "Missing value for required parameter 'key'."),
    ({"key": 7}, "Invalid value 7 for parameter 'key' supplied:"),
    ({"key": "a;b"}, "Invalid value \"a;b\" for parameter 'name' supplied: Names may only contain"),
    ({"key": "../b"}, "Invalid value \"../b\" for parameter 'name' supplied: Names may be treated as files"),
    ({"key": "k" * 251}, "'Metric name' exceeds the maximum length of 250 characters"),
    ({"model_id": "m-" + "0" * 32}, "There is no logged model m-0000"),
    ({"model_id": 5}, "Invalid value"),
]


def test_wrong_points_are_refused_and_not_stored(track, run_id):
    point = {"run_id": run_id, "key": "loss", "value": 1.5, "timestamp": 1, "step": 0}
    assert track.wrong_refusals("POST", "runs/log-metric", [(point | body, text) for body, text in WRONG_POINTS]) == {}
    assert not MetricBatch.objects.exists()


def test_valid_keys(log, data_of, run_id):
    keys = ["val/acc top-1", "a:b", "名", "k" * 250, "train.loss", "-x"]
    for key in keys:
        log(0.9, 100, -3, key=key)
    assert data_of(run_id)["metrics"] == dict.fromkeys(keys, 0.9)


def test_two_queries_whatever_was_logged_before(log, track, run_id, django_assert_num_queries):
    for step in range(20):
        log(0.5, step, step)
    with django_assert_num_queries(2):
        log(0.5, 100, 100)
    services.ingest_batches(run_ids=[run_id])
    with django_assert_num_queries(2):
        log(0.5, 101, 101)


def test_a_point_for_a_model_shows_on_it(track, run_id, project, experiment_id):
    from apps.ml.experiments.models import Experiment, LoggedModel

    model = LoggedModel.objects.create(
        project=project, experiment=Experiment.objects.get(number=experiment_id), name="m", created_by="x"
    )
    for value, step in ((0.5, 1), (0.75, 3), (0.25, 2)):
        body = {"key": "acc", "value": value, "timestamp": 100, "step": step, "model_id": model.pk}
        track.post("runs/log-metric", run_id=run_id, dataset_name="wine", dataset_digest="ab", **body)
    told = model.metrics.get()
    assert (told.value, told.step, told.dataset_name, told.run_id) == (0.75, 3, "wine", run_id)
    assert len(track.get("metrics/get-history", run_id=run_id, metric_key="acc")["metrics"]) == 3


# -- several runs ---------------------------------------------------------------------------------------------------
def test_bulk_interval(track, run_id, log):
    for step in range(10):
        log(float(step), 100, step)
    ask = {"run_ids": [run_id, "0" * 32], "metric_key": "loss"}
    told = track.get("metrics/get-history-bulk-interval", **ask)["metrics"]
    assert [point["step"] for point in told] == list(range(10))
    assert told[0]["run_id"] == run_id
    few = track.get("metrics/get-history-bulk-interval", **ask, start_step=2, end_step=4)["metrics"]
    assert [point["step"] for point in few] == [2, 3, 4]
    thin = track.get("metrics/get-history-bulk-interval", **ask, max_results=3)["metrics"]
    assert len(thin) == 3
    assert (thin[0]["step"], thin[-1]["step"]) == (0, 9)


WRONG_INTERVALS = [
    ({"run_ids": []}, "Missing value for required parameter 'run_ids'."),
    ({"metric_key": ""}, "Missing value for required parameter 'metric_key'."),
    ({"start_step": 2}, "If either start step or end step are specified, both must be specified."),
    (
        {"start_step": 3, "end_step": 2},
        "end_step must be greater than start_step. Found start_step=3 and end_step=2.",
    ),
    ({"max_results": 2501}, "max_results must be between 1 and 2500."),
    ({"run_ids": ["0"] * 101}, "GetMetricHistoryBulkInterval request must specify at most 100 run_ids."),
]


def test_wrong_intervals_are_refused(track, run_id):
    cases = [({"run_ids": [run_id], "metric_key": "loss", **query}, text) for query, text in WRONG_INTERVALS]
    assert track.wrong_refusals("GET", "metrics/get-history-bulk-interval", cases) == {}


def test_bulk(track, run_id, log):
    log(0.5, 100, 1)
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    told = track.get(path, run_id=[run_id, "0" * 32], metric_key="loss")["metrics"]
    assert told == [{"key": "loss", "value": 0.5, "timestamp": 100, "step": 1, "run_id": run_id}]
    assert "at least one run_id" in track.refused("GET", path, {"metric_key": "loss"})[2]
    assert "must specify a metric_key" in track.refused("GET", path, {"run_id": run_id})[2]


def test_bulk_is_ordered_by_time_step_and_value(track, run_id, log):
    for value, at, step in ((3, 100, 0), (1, 100, 0), (5, 50, 1), (2, 50, 0)):
        log(value, at, step)
    told = track.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=run_id, metric_key="loss")["metrics"]
    assert [point["value"] for point in told] == [2, 5, 1, 3]


def test_points_are_exact(log, history):
    log(0.1 + 0.2, 1_700_000_000_123, 2**53)
    point = history()["metrics"][0]
    assert (point["value"], point["timestamp"], point["step"]) == (0.1 + 0.2, 1_700_000_000_123, 2**53)
    assert MetricPoint.objects.get().at.microsecond == 123_000


def test_thinned_curve_keeps_its_ends_and_has_no_wide_gap(track, run_id, log):
    for index in range(20):
        log(float(index), 100 + index, index // 2 * 5)  # two points at each step
    for most in (1, 2, 3, 7, 19):
        ask = {"run_ids": [run_id], "metric_key": "loss", "max_results": most}
        points = track.get("metrics/get-history-bulk-interval", **ask)["metrics"]
        steps = [point["step"] for point in points]
        assert 1 <= len(points) <= most
        assert (steps[-1], points[-1]["value"]) == (45, 19.0), most
        assert most == 1 or steps[0] == 0
        assert steps == sorted(steps)
        assert max((after - before for before, after in pairwise(steps)), default=0) <= 2 * 46 / most + 5


def test_thinned_curve_query_count(track, run_id):
    ask = {"run_ids": [run_id], "metric_key": "loss", "max_results": 4}
    counts = []
    for start in (0, 50):
        points = [{"key": "loss", "value": float(n), "timestamp": 100, "step": n} for n in range(start, start + 50)]
        track.post("runs/log-batch", run_id=run_id, metrics=points)
        services.ingest_batches(run_ids=[run_id])
        with CaptureQueriesContext(connection) as queries:
            track.get("metrics/get-history-bulk-interval", **ask)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_pages_continue_within_a_millisecond(log, history):
    """Points of jobs have microseconds."""
    for step in range(3):
        log(float(step), 100, step)
    history()
    for point in MetricPoint.objects.all():
        MetricPoint.objects.filter(pk=point.pk).update(at=point.at + timedelta(microseconds=point.step * 7 + 1))
    told, token = [], ""
    for _ in range(3):
        page = history(max_results=1, page_token=token)
        told += [point["step"] for point in page["metrics"]]
        token = page.get("next_page_token", "")
    assert (told, token) == ([0, 1, 2], "")


def test_ended_run_counts_later_points(log, track, run_id):
    log(0.5, 100, 1)
    log(0.5, 100, 1, key="system/cpu")
    track.post("runs/update", run_id=run_id, status="FINISHED")
    assert Run.objects.get().metrics_count == 1
    log(0.5, 101, 2, key="system/cpu")
    log(0.5, 101, 2)
    services.ingest_batches(run_ids=[run_id])
    assert Run.objects.get().metrics_count == 2


def test_curve_without_steps_is_thinned_by_time(track, run_id):
    points = [{"key": "loss", "value": float(n), "timestamp": 1000 + 10 * n, "step": 0} for n in range(40)]
    track.post("runs/log-batch", run_id=run_id, metrics=points)
    for most in (1, 2, 5, 39):
        ask = {"run_ids": [run_id], "metric_key": "loss", "max_results": most}
        thinned = track.get("metrics/get-history-bulk-interval", **ask)["metrics"]
        times = [point["timestamp"] for point in thinned]
        assert len(thinned) == most
        assert thinned[-1]["value"] == 39.0
        assert max((after - before for before, after in pairwise(times)), default=0) <= 2 * 400 / most + 10


def test_thinned_curve_has_max_results_points(track, run_id, log):
    for step in range(20):
        log(float(step), 100, step)
    ask = {"run_ids": [run_id], "metric_key": "loss", "max_results": 19}
    assert len(track.get("metrics/get-history-bulk-interval", **ask)["metrics"]) == 19


def test_bulk_interval_keeps_the_order_of_runs(track, run_id, experiment_id):
    other = track.post("runs/create", experiment_id=experiment_id)["run"]["info"]["run_id"]
    for pk in (run_id, other):
        track.post("runs/log-metric", run_id=pk, key="loss", value=1, timestamp=100, step=1)
    for asked in ([run_id, other], [other, run_id]):
        told = track.get("metrics/get-history-bulk-interval", run_ids=asked, metric_key="loss")["metrics"]
        assert [point["run_id"] for point in told] == asked


@pytest.fixture
def curves(track, experiment_id):
    """curves(n) -> so many runs: one in three without steps, one of few points, one of many."""

    def make(count: int) -> list[str]:
        runs = [track.post("runs/create", experiment_id=experiment_id)["run"]["info"]["run_id"] for _ in range(count)]
        for number, pk in enumerate(runs):
            points = [
                {"key": "loss", "value": float(n), "timestamp": 100 + n, "step": n if number % 3 else 0}
                for n in range(4 if number % 3 == 1 else 20)
            ]
            track.post("runs/log-batch", run_id=pk, metrics=points)
        services.ingest_batches(run_ids=runs)
        return runs

    return make


@pytest.mark.parametrize(
    ("path", "name", "more", "most"),
    [
        ("metrics/get-history-bulk-interval", "run_ids", {"max_results": 5}, 6),
        ("metrics/get-history-bulk-interval", "run_ids", {"max_results": 5, "start_step": 0, "end_step": 9}, 5),
        ("/ajax-api/2.0/mlflow/metrics/get-history-bulk", "run_id", {}, 3),
    ],
)
def test_bulk_history_query_count(track, curves, path, name, more, most):
    runs, counts = curves(8), []
    for asked in (runs[:1], runs[:3], runs):
        with CaptureQueriesContext(connection) as seen:
            told = track.get(path, **{name: asked}, metric_key="loss", **more)["metrics"]
        assert {point["run_id"] for point in told} == set(asked)
        counts.append(len([one for one in seen if "metric" in one["sql"]]))
    assert max(counts) <= most
    assert counts[1] == counts[2]


def test_bulk_is_cut_after_max_results(track, curves):
    runs = sorted(curves(3))
    told = track.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=runs, metric_key="loss", max_results=22)[
        "metrics"
    ]
    assert len(told) == 22
    assert [point["run_id"] for point in told] == sorted(point["run_id"] for point in told)


def test_window_of_several_runs_is_per_run(track, curves):
    runs = curves(3)
    ask = {"run_ids": runs, "metric_key": "loss", "start_step": 2, "end_step": 18, "max_results": 4}
    told = track.get("metrics/get-history-bulk-interval", **ask)["metrics"]
    found = {pk: [point["step"] for point in told if point["run_id"] == pk] for pk in runs}
    assert found == {runs[0]: [], runs[1]: [2, 3], runs[2]: [2, 7, 11, 18]}
