"""log-batch, params and tags: all or nothing, write-once, cut at their limits."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import MetricBatch, Run, RunParam, RunTag
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services


def metrics(count, start=0):
    return [{"key": f"m{start + index}", "value": 1.5, "timestamp": 1, "step": 0} for index in range(count)]


def pairs(count, prefix="k"):
    return [{"key": f"{prefix}{index}", "value": "1"} for index in range(count)]


def test_everything_at_once(track, run_id, data_of):
    tags = [{"key": "t", "value": "one"}, {"key": "t", "value": "two"}, {"key": "mlflow.runName", "value": "named"}]
    track.post("runs/log-batch", run_id=run_id, metrics=metrics(3), params=pairs(2, "p"), tags=tags)
    assert data_of(run_id) == {
        "metrics": {"m0": 1.5, "m1": 1.5, "m2": 1.5},
        "params": {"p0": "1", "p1": "1"},
        "tags": {"t": "two", "mlflow.runName": "named"},
    }
    assert MetricBatch.objects.count() == 0


def test_nothing_is_fine_but_the_run_must_be_there(track, run_id):
    assert track.post("runs/log-batch", run_id=run_id) == {}
    assert track.refused("POST", "runs/log-batch", {"run_id": "0" * 32})[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {"metrics": metrics(1), "params": [{"key": "p", "value": "9"}], "tags": pairs(1)},
        {"metrics": metrics(1), "params": pairs(1), "tags": [{"key": "../x", "value": "x"}]},
        {"metrics": [*metrics(1), {"key": "b;c", "value": 1, "timestamp": 10}], "params": pairs(1), "tags": pairs(1)},
        {"metrics": [*metrics(1), {"key": "b", "value": "high", "timestamp": 10}], "params": pairs(1)},
    ],
)
def test_it_is_all_or_nothing(track, run_id, body):
    track.post("runs/log-parameter", run_id=run_id, key="p", value="1")
    assert track.refused("POST", "runs/log-batch", {"run_id": run_id, **body})[0] == 400
    assert (MetricBatch.objects.count(), RunParam.objects.count(), RunTag.objects.count()) == (0, 1, 0)


WRONG_BATCHES = [
    ({"metrics": {"key": "b"}}, "Invalid value {\"key\":\"b\"} for parameter 'metrics' supplied:"),
    ({"metrics": ["b"]}, "Invalid value [\"b\"] for parameter 'metrics' supplied:"),
    ({"metrics": [{"value": 1, "timestamp": 1}]}, "Missing value for required parameter 'metrics[0].key'."),
    ({"metrics": [{"key": "b", "timestamp": 1}]}, "Missing value for required parameter 'metrics[0].value'."),
    ({"metrics": [{"key": "b", "value": 1}]}, "Missing value for required parameter 'metrics[0].timestamp'."),
    ({"metrics": [*metrics(1), {"key": "b;c", "value": 1, "timestamp": 1}]},
     "Invalid value \"b;c\" for parameter 'metrics[1].name' supplied: Names may only contain"),
    ({"params": [{"key": "", "value": "x"}]}, "Missing value for required parameter 'params[0].key'."),
    ({"params": [{"key": "n", "value": 5}]}, "Invalid value {\"key\":\"n\",\"value\":5} for parameter 'params'"),
    ({"tags": [{"key": "../x", "value": "x"}]}, "Invalid value \"../x\" for parameter 'tags[0].key' supplied:"),
    ({"tags": "x"}, "Invalid value \"x\" for parameter 'tags' supplied:"),
    ({"params": [{"key": "s", "value": "1"}] * 2}, "Duplicate parameter keys have been submitted: ['s']."),
    ({"metrics": metrics(1001)}, "A batch logging request can contain at most 1000 metrics. Got 1001 metrics."),
    ({"params": pairs(101)}, "A batch logging request can contain at most 100 params. Got 101 params."),
    ({"tags": pairs(101)}, "A batch logging request can contain at most 100 tags. Got 101 tags."),
    ({"metrics": metrics(990), "params": pairs(20)},
     "A batch logging request can contain at most 1000 metrics, params, and tags. Got 1010 metrics, params, and"),
]  # fmt: skip


def test_wrong_batches_are_refused(track, run_id):
    cases = [({"run_id": run_id, **body}, text) for body, text in WRONG_BATCHES]
    assert track.wrong_refusals("POST", "runs/log-batch", cases) == {}


def test_a_batch_of_a_thousand(track, run_id, data_of):
    track.post("runs/log-batch", run_id=run_id, metrics=metrics(1000))
    assert len(data_of(run_id)["metrics"]) == 1000


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"metrics": metrics(1)}, 2),
        ({"metrics": metrics(100)}, 2),
        ({"metrics": metrics(100), "params": pairs(1), "tags": pairs(1)}, 7),
        ({"metrics": metrics(100), "params": pairs(100), "tags": pairs(100)}, 7),
    ],
)
def test_as_many_queries_whatever_the_size(track, run_id, body, count, django_assert_num_queries):
    with django_assert_num_queries(count):
        track.post("runs/log-batch", run_id=run_id, **body)


# -- params ---------------------------------------------------------------------------------------------------------
def test_a_param_is_written_once(track, run_id, data_of):
    for _ in range(2):
        track.post("runs/log-parameter", run_id=run_id, key="lr", value="0.1")
    refusal = track.refused("POST", "runs/log-parameter", {"run_id": run_id, "key": "lr", "value": "0.2"})
    assert refusal == (
        400,
        "INVALID_PARAMETER_VALUE",
        "Changing param values is not allowed. Param with key='lr' was already logged with value='0.1' for run"
        f" ID='{run_id}'. Attempted logging new value '0.2'.",
    )
    listed = track.refused("POST", "runs/log-batch", {"run_id": run_id, "params": [{"key": "lr", "value": "9"}]})[2]
    assert listed == (
        "Changing param values is not allowed. Params were already logged='[{'key': 'lr', 'old_value': '0.1',"
        f" 'new_value': '9'}}]' for run ID='{run_id}'."
    )
    assert data_of(run_id)["params"] == {"lr": "0.1"}


def test_params_may_be_empty_and_long_ones_are_cut(track, run_id, data_of):
    track.post("runs/log-parameter", run_id=run_id, key="void", value="")
    for _ in range(2):
        track.post("runs/log-parameter", run_id=run_id, key="long", value="v" * 7000)
    assert data_of(run_id)["params"] == {"void": "", "long": "v" * 6000}


WRONG_PARAMS = [
    ({"key": "number", "value": 0.5}, "Invalid value 0.5 for parameter 'value' supplied:"),
    ({"value": "x"}, "Missing value for required parameter 'key'."),
    ({"key": "./a", "value": "x"}, "Invalid value \"./a\" for parameter 'key' supplied: Names may be treated"),
    ({"key": "a%b", "value": "x"}, "Invalid value \"a%b\" for parameter 'key' supplied: Names may only contain"),
    ({"key": "k" * 251, "value": "x"}, "'Param key' exceeds the maximum length of 250 characters"),
]


def test_wrong_params_are_refused(track, run_id):
    cases = [({"run_id": run_id, **body}, text) for body, text in WRONG_PARAMS]
    assert track.wrong_refusals("POST", "runs/log-parameter", cases) == {}


# -- tags -----------------------------------------------------------------------------------------------------------
def test_a_tag_is_replaced_and_deleted(track, run_id, data_of):
    for value in ("red", "", "blue"):
        track.post("runs/set-tag", run_id=run_id, key="colour", value=value)
        assert data_of(run_id)["tags"]["colour"] == value
    track.post("runs/delete-tag", run_id=run_id, key="colour")
    assert "colour" not in data_of(run_id)["tags"]
    refusal = track.refused("POST", "runs/delete-tag", {"run_id": run_id, "key": "colour"})
    assert refusal == (404, "RESOURCE_DOES_NOT_EXIST", f"No tag with name: colour in run with id {run_id}")


def test_a_long_tag_is_cut(track, run_id, data_of):
    track.post("runs/set-tag", run_id=run_id, key="long", value="v" * 9000)
    assert data_of(run_id)["tags"]["long"] == "v" * 8000


def test_telemetry_is_not_recorded_one_by_one_until_the_run_has_ended(track, run_id):
    track.post("runs/log-batch", run_id=run_id, metrics=metrics(1), params=pairs(1), tags=pairs(1))
    assert set(AuditRecord.objects.values_list("action", flat=True)) == {"experiment.create", "run.create"}
    track.post("runs/update", run_id=run_id, status="FINISHED", end_time=5000)
    track.post("runs/set-tag", run_id=run_id, key="late", value="x")
    track.post("runs/log-parameter", run_id=run_id, key="late", value="x")
    assert AuditRecord.objects.filter(action="run.amend").count() == 2


def test_points_after_the_end_change_the_digest_with_a_record(track, run_id, data_of):
    track.post("runs/update", run_id=run_id, status="FINISHED", end_time=5000)
    before = Run.objects.get().metrics_digest
    track.post("runs/log-batch", run_id=run_id, metrics=metrics(2))
    data_of(run_id)
    run = Run.objects.get()
    assert (run.metrics_count, run.metrics_digest != before) == (2, True)
    assert run.metrics_digest in AuditRecord.objects.get(action="run.amend").body
