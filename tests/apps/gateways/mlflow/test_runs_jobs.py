"""What a job of the plane measured: told to clients, and not theirs to change."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import LoggedModel, Run
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from tests.apps.gateways.mlflow.test_runs_life import WRITES


@pytest.fixture
def of_job(track, project, experiment_id) -> Run:
    track.post("runs/create", experiment_id=experiment_id, run_name="measured")
    about = {"kind": "noop", "spec": {}, "spec_digest": "0" * 64, "requester": "engineer", "time_limit_seconds": 60}
    about["grant"] = {}
    job = Job.objects.create(project=project, **about)
    Run.objects.update(job=job, kind="noop", created_by="engineer")
    return Run.objects.get()


def test_it_is_told(track, of_job):
    told = track.get("runs/get", run_id=of_job.pk)["run"]["info"]
    assert (told["run_name"], told["user_id"]) == ("measured", "engineer")


def test_run_of_a_job_refuses_writes(track, of_job):
    calls = [*sorted(set(WRITES) - {"set-tag", "delete-tag"}), "delete"]
    bodies = {call: {"run_id": of_job.pk, **WRITES.get(call, {})} for call in calls}
    answers = {call: track.refused("POST", f"runs/{call}", body)[:2] for call, body in bodies.items()}
    assert answers == dict.fromkeys(calls, (403, "PERMISSION_DENIED"))
    assert not of_job.batches.exists()


def test_it_takes_tags_but_no_name(track, of_job):
    track.post("runs/set-tag", run_id=of_job.pk, key="mlflow.note.content", value="good")
    assert of_job.tags.get().value == "good"
    track.post("runs/delete-tag", run_id=of_job.pk, key="mlflow.note.content")
    told = AuditRecord.objects.filter(action="run.amend", object_id=of_job.pk).values_list("body", flat=True)
    assert ["mlflow.note.content" in body for body in told] == [True, True]
    refusal = track.refused("POST", "runs/set-tag", {"run_id": of_job.pk, "key": "mlflow.runName", "value": "x"})
    assert refusal[:2] == (403, "PERMISSION_DENIED")


def test_no_model_is_said_to_be_of_it(track, of_job):
    body = {"experiment_id": str(of_job.experiment.number), "name": "net", "source_run_id": of_job.pk}
    assert track.refused("POST", "logged-models", body)[:2] == (403, "PERMISSION_DENIED")
    assert not LoggedModel.objects.exists()
