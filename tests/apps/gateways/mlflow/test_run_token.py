"""The token of a job's run: a stock client in the script logs to that run, to no other, and only while it runs."""

from __future__ import annotations

import pytest
from django.db.models import F

from apps.ml.experiments.models import LoggedModel, Run, RunToken
from apps.ml.experiments.services import create_run_token, ingest_batches
from apps.platform.accounts.models import Membership
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from tests.apps.gateways.mlflow.conftest import Tracker
from tests.apps.gateways.mlflow.test_runs_life import WRITES


@pytest.fixture
def script_run(project, engineer, actor_for, experiment_id) -> Run:
    """A run that the running script job of an engineer keeps."""
    actor = actor_for(engineer)
    job = Job.objects.create(
        project=project,
        kind="script",
        spec={},
        spec_digest="0" * 64,
        requester="engineer",
        time_limit_seconds=60,
        state=JobState.RUNNING,
        attempt=1,
        grant={**actor.as_record(), "scopes": None},
    )
    experiment = project.experiments.get(number=experiment_id)
    return Run.objects.create(
        project=project, experiment=experiment, name="script", kind="script", job=job, attempt=1, created_by="engineer"
    )


@pytest.fixture
def script(script_run, worker_actor) -> Tracker:
    return Tracker(create_run_token(actor=worker_actor, run=script_run))


def test_script_logs_to_its_run(script, script_run):
    run_id = script_run.pk
    for call, body in WRITES.items():
        if call != "delete-tag":
            script.post(f"runs/{call}", run_id=run_id, **body)
    ingest_batches(run_ids=[run_id])
    assert script.get("runs/get", run_id=run_id)["run"]["info"]["status"] == "RUNNING"  # the job says how it ends
    assert script_run.metrics.exists()
    place = f"{script_run.experiment.number}/{run_id}/artifacts"
    assert script.put(f"{place}/plots/loss.txt", b"0.1").status_code == 200
    assert script.send("GET", f"/api/2.0/mlflow-artifacts/artifacts/{place}/plots/loss.txt").status_code == 200
    body = {"experiment_id": str(script_run.experiment.number), "name": "net", "source_run_id": run_id}
    model = script.post("logged-models", **body)["model"]["info"]["model_id"]
    models = f"{script_run.experiment.number}/models/{model}/artifacts"
    assert script.put(f"{models}/MLmodel", b"flavors: {}").status_code == 200
    assert not AuditRecord.objects.filter(action="run.amend").exists()


def test_everything_else_is_refused(script, script_run, run, track):
    """`run`: another one of the project, which the engineer may write."""
    other = LoggedModel.objects.create(project=run.project, experiment=run.experiment, name="net", source_run=run)
    calls = [("POST", f"runs/{call}", {"run_id": run.pk, **body}) for call, body in WRITES.items()]
    calls += [
        ("GET", "runs/get", {"run_id": run.pk}),
        ("POST", "runs/create", {"experiment_id": "0"}),
        ("POST", "runs/search", {"experiment_ids": ["0"]}),
        ("POST", "runs/delete", {"run_id": script_run.pk}),
        ("POST", "experiments/create", {"name": "new"}),
        ("GET", "experiments/get", {"experiment_id": "3"}),
        ("POST", "registered-models/create", {"name": "m"}),
        ("POST", "model-versions/create", {"name": "m", "source": "x"}),
        ("POST", "logged-models", {"experiment_id": "3", "name": "net", "source_run_id": run.pk}),
        ("GET", f"logged-models/{other.pk}", {}),
        ("PATCH", f"logged-models/{other.pk}", {"model_id": other.pk, "status": "LOGGED_MODEL_READY"}),
        ("GET", "artifacts/list", {"run_id": run.pk}),
    ]
    wrong = {}
    for method, path, body in calls:
        response = script.send(method, path, body)
        if response.status_code != 403:
            wrong[method, path] = response.status_code, response.content
    for place in (f"3/{run.pk}/artifacts/x", f"3/models/{other.pk}/artifacts/x", "x"):
        if (response := script.put(place, b"x")).status_code != 403:
            wrong[place] = response.status_code, response.content
    assert wrong == {}
    for address in ("/api/v1/me", "/api/v1/projects/demo/jobs"):
        assert script.send("GET", address).status_code == 401


def test_token_ends_with_its_attempt(script, script_run, worker_actor, engineer, track):
    def status() -> int:
        return script.send("GET", "runs/get", {"run_id": script_run.pk}).status_code

    assert status() == 200
    endings = {
        "another attempt": {"attempt": F("attempt") + 1},
        "queued": {"state": JobState.QUEUED},
        "ended": {"state": JobState.SUCCEEDED},
    }
    before = Job.objects.values("attempt", "state").get(pk=script_run.job_id)
    wrong = {}
    for name, columns in endings.items():
        Job.objects.filter(pk=script_run.job_id).update(**columns)
        if status() != 401:
            wrong[name] = status()
        Job.objects.filter(pk=script_run.job_id).update(**before)
    assert wrong == {}
    assert status() == 200
    second = Tracker(create_run_token(actor=worker_actor, run=script_run))
    assert (status(), RunToken.objects.count()) == (401, 1)
    assert second.send("GET", "runs/get", {"run_id": script_run.pk}).status_code == 200
    Membership.objects.filter(user=engineer).delete()
    assert second.send("GET", "runs/get", {"run_id": script_run.pk}).status_code == 401


def test_person_still_may_not_write_it(track, script_run):
    body = {"run_id": script_run.pk, "key": "loss", "value": 1.0, "timestamp": 1_700_000_000_000}
    assert track.refused("POST", "runs/log-metric", body)[:2] == (403, "PERMISSION_DENIED")
