"""runs/search as a client calls it: the shape of a run, pages, and the refusals of MLflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    Metric,
    Run,
    RunDataset,
    RunModel,
    RunParam,
    RunTag,
)

pytestmark = pytest.mark.services

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
START_MS = 1767323045678


@pytest.fixture
def experiment(track, experiment_id, project) -> Experiment:
    return Experiment.objects.get(project=project, number=experiment_id)


@pytest.fixture
def add_run(project, experiment):
    """add_run("a") -> a run whose id is that letter 32 times; each begins a second after the last."""
    made = iter(range(1000))

    def add(letter: str, **more) -> Run:
        start = START + timedelta(seconds=next(made))
        facts = {"project": project, "experiment": experiment, "name": letter, "created_by": "t", "started_at": start}
        return Run.objects.create(id=letter * 32, **(facts | more))

    return add


def add_metric(run: Run, key: str, value: float, **more) -> None:
    owned = {"run": run, "project": run.project, "experiment": run.experiment, "started_at": run.started_at}
    Metric.objects.create(**owned, key=key, value=value, step=3, at=START, first_step=0, digest="", **more)


def names(answer: dict) -> list[str]:
    return [run["info"]["run_name"] for run in answer.get("runs", [])]


def test_a_run_whole(track, experiment, add_run):
    run = add_run("a", name='ä "b"\n', client_user="ann", state="finished", ended_at=START + timedelta(seconds=1))
    number = experiment.number
    add_metric(run, "acc", 0.1 + 0.2)
    add_metric(run, "nan", 0, is_nan=True)
    RunParam.objects.create(run=run, key="lr", value='it\'s "1"\\\n空')
    RunTag.objects.create(run=run, key="team", value="")
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    RunDataset.objects.create(run=run, name="wine", digest="abc", source_type="local", source="{}", tags=tags)
    model = LoggedModel.objects.create(id="m-1", project=run.project, experiment=run.experiment, name="net")
    RunModel.objects.create(run=run, model=model, direction="output", step=7)
    RunModel.objects.create(run=run, model=model, direction="input")
    assert track.post("runs/search", experiment_ids=[str(number)]) == {
        "runs": [
            {
                "info": {
                    "run_uuid": "a" * 32,
                    "experiment_id": str(number),
                    "run_name": 'ä "b"\n',
                    "user_id": "ann",
                    "status": "FINISHED",
                    "start_time": START_MS,
                    "end_time": START_MS + 1000,
                    "artifact_uri": f"mlflow-artifacts:/{number}/{'a' * 32}/artifacts",
                    "lifecycle_stage": "active",
                    "run_id": "a" * 32,
                },
                "data": {
                    "metrics": [
                        {"key": "acc", "value": 0.1 + 0.2, "timestamp": START_MS, "step": 3},
                        {"key": "nan", "value": "NaN", "timestamp": START_MS, "step": 3},
                    ],
                    "params": [{"key": "lr", "value": 'it\'s "1"\\\n空'}],
                    "tags": [{"key": "team", "value": ""}, {"key": "mlflow.runName", "value": 'ä "b"\n'}],
                },
                "inputs": {
                    "dataset_inputs": [
                        {
                            "tags": tags,
                            "dataset": {"name": "wine", "digest": "abc", "source_type": "local", "source": "{}"},
                        }
                    ],
                    "model_inputs": [{"model_id": "m-1"}],
                },
                "outputs": {"model_outputs": [{"model_id": "m-1", "step": 7}]},
            }
        ]
    }


def test_a_run_with_nothing(track, experiment, add_run):
    add_run("a", deleted_at=START)
    (run,) = track.post("runs/search", experiment_ids=[str(experiment.number)], run_view_type="ALL")["runs"]
    assert run["data"] == {"tags": [{"key": "mlflow.runName", "value": "a"}]}
    assert (run["inputs"], run["outputs"]) == ({}, {})
    assert "end_time" not in run["info"]
    assert (run["info"]["lifecycle_stage"], run["info"]["user_id"]) == ("deleted", "")


@pytest.mark.parametrize("value", [1.7976931348623157e308, -1e-300, 5e-324, 1e16, 123456789.123456789, 0.0])
def test_a_value_comes_back_as_it_was(track, experiment, add_run, value):
    add_metric(add_run("a"), "v", value)
    (run,) = track.post("runs/search", experiment_ids=[str(experiment.number)])["runs"]
    assert run["data"]["metrics"][0]["value"] == value


def test_pages(track, experiment, add_run):
    for letter in "abc":
        add_run(letter)
    query = {"experiment_ids": [str(experiment.number)], "max_results": 2}
    first = track.post("runs/search", **query)
    assert names(first) == ["c", "b"]
    last = track.post("runs/search", **query, page_token=first["next_page_token"])
    assert names(last) == ["a"]
    assert "next_page_token" not in last
    assert names(track.post("runs/search", **(query | {"max_results": "3"}))) == ["c", "b", "a"]


def test_what_mlflow_does_not_mind(track, experiment, add_run):
    add_run("a")
    assert names(track.post("runs/search", experiment_ids=[experiment.number])) == ["a"]
    query = {"experiment_ids": [str(experiment.number)]}
    assert names(track.post("runs/search", **query, run_view_type="NEVER", page_token=5, filter="", more=1)) == ["a"]
    for nothing in ({}, {"experiment_ids": []}, {"experiment_ids": ["99999999999999999999", "x", "-1"]}):
        assert track.post("runs/search", **nothing) == {}


SUPPLIED = "See the API docs for more information about request parameters."


WRONG_QUERIES = [
    ({"filter": "params.lr"}, "Invalid clause(s) in filter string: 'params.lr'"),
    ({"order_by": ["metrics.acc SIDEWAYS"]}, "Invalid ordering key in order_by clause 'metrics.acc SIDEWAYS'."),
    ({"page_token": "rubbish"}, "Invalid page token, could not base64-decode"),
    ({"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
    ({"max_results": 50001}, f"Invalid value 50001 for parameter 'max_results' supplied:  "
        f"Hint: Value was of type 'int'. {SUPPLIED}"),
    ({"filter": 5}, f"Invalid value 5 for parameter 'filter' supplied:  Hint: Value was of type 'int'. {SUPPLIED}"),
    ({"order_by": [5]}, f"Invalid value [5] for parameter 'order_by' supplied:  "
        f"Hint: Value was of type 'list'. {SUPPLIED}"),
    ({"experiment_ids": "14"}, f"Invalid value \"14\" for parameter 'experiment_ids' supplied:  "
        f"Hint: Value was of type 'str'. {SUPPLIED}"),
]  # fmt: skip


def test_wrong_queries_are_refused(track, experiment):
    cases = [({"experiment_ids": [str(experiment.number)]} | more, text) for more, text in WRONG_QUERIES]
    assert track.wrong_refusals("POST", "runs/search", cases, exact=True) == {}


def test_asks_as_much_for_a_hundred_runs_as_for_one(track, experiment, add_run, django_assert_max_num_queries):
    for letter in "0123456789abcdef":
        add_metric(add_run(letter), "acc", 0.5)
    query = {"experiment_ids": [str(experiment.number)], "order_by": ["metrics.acc DESC"]}
    track.post("runs/search", **query)  # notes that the token is in use
    for limit in (1, 16):
        with django_assert_max_num_queries(8):
            assert len(track.post("runs/search", **query, max_results=limit)["runs"]) == limit


def test_a_viewer_searches_too(client_of, viewer, experiment, add_run):
    add_run("a")
    assert names(client_of(viewer).post("runs/search", experiment_ids=[str(experiment.number)])) == ["a"]
