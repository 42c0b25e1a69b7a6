"""Create, get, update, delete, restore."""

from __future__ import annotations

import re

import pytest

from apps.ml.experiments.models import Experiment, Metric, Run
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services


def info(track, run_id):
    return track.get("runs/get", run_id=run_id)["run"]["info"]


# -- create ---------------------------------------------------------------------------------------------------------
def test_it_is_a_run_of_the_plane(track, project, experiment_id):
    tags = [{"key": "mlflow.user", "value": "ann"}, {"key": "note", "value": "hello"}]
    body = {"experiment_id": experiment_id, "user_id": "ann", "run_name": "first", "start_time": 1000, "tags": tags}
    told = track.post("runs/create", **body)["run"]
    run = Run.objects.get(project=project)
    assert (run.name, run.kind, run.job, run.created_by, run.client_user) == ("first", "", None, "engineer", "ann")
    assert told["info"] == {
        "run_uuid": run.pk,
        "run_id": run.pk,
        "experiment_id": experiment_id,
        "run_name": "first",
        "user_id": "ann",
        "status": "RUNNING",
        "start_time": 1000,
        "artifact_uri": f"mlflow-artifacts:/{experiment_id}/{run.pk}/artifacts",
        "lifecycle_stage": "active",
    }
    assert told["data"] == {"tags": [*tags, {"key": "mlflow.runName", "value": "first"}]}
    assert AuditRecord.objects.filter(action="run.create", object_id=run.pk).count() == 1
    assert not run.tags.filter(key="mlflow.runName").exists()


def test_without_an_experiment_it_goes_to_default(track, project):
    assert track.post("runs/create", experiment_id="0")["run"]["info"]["experiment_id"] == "0"
    assert track.post("runs/create")["run"]["info"]["experiment_id"] == "0"
    assert Experiment.objects.get(project=project).number == 0


@pytest.mark.parametrize("body", [{}, {"run_name": ""}, {"run_name": None}])
def test_a_name_is_invented_where_none_was_given(track, experiment_id, body):
    told = track.post("runs/create", experiment_id=experiment_id, **body)["run"]
    assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9]{1,3}", told["info"]["run_name"])
    assert told["data"]["tags"] == [{"key": "mlflow.runName", "value": told["info"]["run_name"]}]


def test_the_name_may_come_as_a_tag(track, experiment_id):
    tags = [{"key": "mlflow.runName", "value": "by-tag"}]
    assert track.post("runs/create", experiment_id=experiment_id, tags=tags)["run"]["info"]["run_name"] == "by-tag"
    same = track.post("runs/create", experiment_id=experiment_id, run_name="by-tag", tags=tags)
    assert same["run"]["info"]["run_name"] == "by-tag"
    refusal = track.refused("POST", "runs/create", {"experiment_id": experiment_id, "run_name": "a", "tags": tags})
    assert refusal[2].startswith("Both 'run_name' argument and 'mlflow.runName' tag are specified")


WRONG_RUNS = [
    ({"experiment_id": "99"}, 404, "No Experiment with id=99 exists"),
    ({"experiment_id": 0}, 400, "Invalid value 0 for parameter 'experiment_id' supplied:"),
    ({"start_time": "yesterday"}, 400, "Invalid value \"yesterday\" for parameter 'start_time' supplied:"),
    ({"start_time": 10**17}, 400, "Invalid value 100000000000000000 for parameter 'start_time' supplied:"),
    ({"start_time": 2**70}, 400, "Invalid value"),
    ({"run_name": 5}, 400, "Invalid value 5 for parameter 'run_name' supplied:"),
    ({"run_name": "n" * 251}, 400, "'run_name' exceeds the maximum length of 250 characters"),
    ({"user_id": "u" * 257}, 400, "'user_id' exceeds the maximum length of 256 characters"),
    ({"tags": [{"key": "a;b", "value": "x"}]}, 400, "Invalid value \"a;b\" for parameter 'key' supplied:"),
    ({"tags": "nope"}, 400, "Invalid value \"nope\" for parameter 'tags' supplied:"),
]


def test_wrong_runs_are_refused(track, experiment_id):
    wrong = {}
    for body, status, text in WRONG_RUNS:
        answer = track.refused("POST", "runs/create", {"experiment_id": experiment_id, **body})
        if answer[0] != status or not answer[2].startswith(text):
            wrong[repr(body)] = answer
    assert wrong == {}
    assert not Run.objects.exists()


def test_a_deleted_experiment_takes_no_runs(track, experiment_id):
    track.post("experiments/delete", experiment_id=experiment_id)
    refusal = track.refused("POST", "runs/create", {"experiment_id": experiment_id})
    assert refusal[0] == 400
    assert refusal[2] == f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted."


# -- get ------------------------------------------------------------------------------------------------------------
def test_either_name_of_the_id_will_do(track, run_id):
    assert track.get("runs/get", run_uuid=run_id) == track.get("runs/get", run_id=run_id, run_uuid=run_id)


@pytest.mark.parametrize("asked", ["0" * 32, "../etc", "x" * 500])
def test_an_unknown_run(track, asked):
    assert track.refused("GET", "runs/get", {"run_id": asked}) == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
        f"Run with id={asked} not found",
    )


def test_another_projects_run_is_not_there(client_of, stranger, viewer, run_id):
    assert client_of(viewer).get("runs/get", run_id=run_id)
    assert client_of(stranger).refused("GET", "runs/get", {"run_id": run_id})[0] == 404


# -- update ---------------------------------------------------------------------------------------------------------
def test_the_end_of_a_run_is_recorded_with_its_digests(track, run_id):
    track.post("runs/log-batch", run_id=run_id, metrics=[{"key": "a", "value": 1.0, "timestamp": 1, "step": 0}])
    track.post("runs/log-parameter", run_id=run_id, key="lr", value="0.1")
    told = track.post("runs/update", run_id=run_id, status="FINISHED", end_time=5000)["run_info"]
    assert (told["status"], told["end_time"]) == ("FINISHED", 5000)
    run = Run.objects.get()
    assert (run.metrics_count, len(run.metrics_digest)) == (1, 64)
    body = AuditRecord.objects.get(action="run.finish").body
    assert run.metrics_digest in body
    assert '"params":' in body
    assert '"tags":' in body


def test_the_same_again_writes_no_second_record(track, run_id):
    for _ in range(2):
        track.post("runs/update", run_id=run_id, status="FINISHED", end_time=5000)
    assert AuditRecord.objects.filter(object_id=run_id).exclude(action="run.create").count() == 1


def test_it_may_go_on_after_its_end(track, run_id):
    track.post("runs/update", run_id=run_id, status="FAILED", end_time=5000)
    track.post("runs/update", run_id=run_id, status="RUNNING")
    run = Run.objects.get()
    assert (run.state, run.ended_at, run.metrics_digest) == ("running", None, "")
    assert AuditRecord.objects.filter(action="run.reopen").count() == 1


def test_without_an_end_it_ends_now(track, run_id):
    track.post("runs/update", run_id=run_id, status="KILLED")
    assert Run.objects.get().ended_at is not None


@pytest.mark.parametrize(("status", "state"), [(3, "finished"), ("ASLEEP", "running"), (99, "running")])
def test_a_status_by_number_and_an_unknown_one(track, run_id, status, state):
    track.post("runs/update", run_id=run_id, status=status)
    assert Run.objects.get().state == state


def test_rename(track, run_id):
    assert track.post("runs/update", run_id=run_id, run_name="renamed")["run_info"]["run_name"] == "renamed"
    track.post("runs/set-tag", run_id=run_id, key="mlflow.runName", value="again")
    assert info(track, run_id)["run_name"] == "again"
    assert AuditRecord.objects.filter(action="run.rename").count() == 2


# -- delete and restore ---------------------------------------------------------------------------------------------
def test_delete_and_restore_twice_each(track, run_id):
    for call, stage in (("delete", "deleted"), ("restore", "active")):
        for _ in range(2):
            assert track.post(f"runs/{call}", run_id=run_id) == {}
        assert info(track, run_id)["lifecycle_stage"] == stage
        assert AuditRecord.objects.filter(action=f"run.{call}").count() == 1


WRITES = {
    "update": {"status": "RUNNING"},
    "log-metric": {"key": "a", "value": 1, "timestamp": 1},
    "log-parameter": {"key": "a", "value": "x"},
    "log-batch": {"metrics": [{"key": "a", "value": 1, "timestamp": 1}]},
    "set-tag": {"key": "a", "value": "x"},
    "delete-tag": {"key": "a"},
    "log-inputs": {"datasets": [{"dataset": {"name": "d", "digest": "x"}}]},
    "outputs": {"models": []},
    "log-model": {"model_json": '{"artifact_path": 1, "flavors": 1, "utc_time_created": 1, "run_id": 1}'},
}


def test_deleted_run_refuses_writes(track, run_id):
    track.post("runs/delete", run_id=run_id)
    answers = {call: track.refused("POST", f"runs/{call}", {"run_id": run_id, **WRITES[call]}) for call in WRITES}
    text = f"The run {run_id} must be in the 'active' state. Current state is deleted."
    assert answers == dict.fromkeys(WRITES, (400, "INVALID_PARAMETER_VALUE", text))


def test_writes_require_an_engineer_and_a_run(track, client_of, viewer, stranger, run_id):
    by_viewer, by_stranger = client_of(viewer), client_of(stranger)
    answers = {}
    for call in (*WRITES, "delete", "restore"):
        more = WRITES.get(call, {})
        body = {"run_id": run_id, **more}
        answers[call] = (
            by_viewer.refused("POST", f"runs/{call}", body)[:2],
            by_stranger.refused("POST", f"runs/{call}", body)[:2],
            track.refused("POST", f"runs/{call}", {**body, "run_id": "0" * 32})[0],
            track.refused("POST", f"runs/{call}", more)[2].split(".")[0],
        )
    denied, absent = (403, "PERMISSION_DENIED"), (404, "RESOURCE_DOES_NOT_EXIST")
    expected = (denied, absent, 404, "Missing value for required parameter 'run_id'")
    assert answers == dict.fromkeys(answers, expected)
    assert not Metric.objects.exists()


# -- statements -----------------------------------------------------------------------------------------------------
def test_as_many_queries_whatever_the_run_holds(track, experiment_id, django_assert_num_queries):
    for count in (1, 40):
        tags = [{"key": f"t{n}", "value": "v"} for n in range(count)]
        track.post("runs/create", experiment_id=experiment_id)  # the use of the token is noted
        with django_assert_num_queries(5):
            run_id = track.post("runs/create", experiment_id=experiment_id, tags=tags)["run"]["info"]["run_id"]
        track.post("runs/log-batch", run_id=run_id, params=[{"key": f"p{n}", "value": "v"} for n in range(count)])
        with django_assert_num_queries(3):
            track.get("runs/get", run_id=run_id)
        with django_assert_num_queries(9):
            track.post("runs/update", run_id=run_id, status="FINISHED")


def test_a_dataset_without_a_source_is_told_with_an_empty_one(track, experiment_id):
    run_id = track.post("runs/create", experiment_id=experiment_id)["run"]["info"]["run_id"]
    track.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": {"name": "wine", "digest": "ab"}}])
    told = {"name": "wine", "digest": "ab", "source_type": "", "source": ""}
    assert track.get("runs/get", run_id=run_id)["run"]["inputs"] == {"dataset_inputs": [{"dataset": told}]}
    found = track.post("runs/search", experiment_ids=[experiment_id])["runs"]
    assert [run["inputs"] for run in found] == [{"dataset_inputs": [{"dataset": told}]}]
