"""A forecast that a pipeline made, its monitor with a plan of retraining, and an alarm. No job runs: tests end them."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.fleet.monitoring.models import Alarm, Retraining
from apps.fleet.monitoring.services import advance_retrainings, set_retraining_plan
from apps.ml.observations.models import HourFigures, ObservationSource
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.registry.models import EvaluationSet, ModelVersion
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve, reject
from apps.platform.jobs.models import Job, JobOutput
from tests.apps.fleet.monitoring.conftest import LATER, NOON
from tests.apps.ml.registry.conftest import (  # noqa: F401  fixtures
    _own_store,
    a_set,
    approved,
    dataset_version,
    default_experiment,
    forms,
    gate,
    held,
    job_of,
    measure,
    registered,
    store_files,
)

PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def former(registered, dataset_version, approved, project):  # noqa: F811
    """In production, by a pipeline that trained it on a table of a dataset version."""
    version = registered()
    approved(version)
    table = {"table": {"digest": dataset_version.files.get().artifact_id}}
    forms = {f"fp32{end}": {"step": "train", "slot": f"{slot}"} for end, slot in FORMS}  # noqa: F811
    steps = [
        {"name": "train", "kind": "train", "spec": {"task": "forecast", "target": "close", "lags": 3}, "inputs": table},
        {"name": "register", "kind": "register", "inputs": forms, "register": {"model": version.model.name}},
    ]
    document = json.dumps({"name": "wti", "steps": steps})
    facts = {"document": document, "document_digest": "d" * 64, "requester": "engineer"}
    pipeline = Pipeline.objects.create(project=project, name="wti", **facts)
    PipelineStep.objects.create(pipeline=pipeline, name="register", position=1, job_id=version.job_id)
    return version


FORMS = (("", "model"), ("_manifest", "manifest"), ("_figures", "figures"))


@pytest.fixture
def version(former):
    """What the fixtures of monitoring watch."""
    return former


@pytest.fixture
def source(project):
    return ObservationSource.objects.create(project=project, name="live", task="regression", created_by="test")


@pytest.fixture
def watch(create, former):
    """watch(**fields) -> a monitor of the forecast's error, which is to be 2."""
    usual = {"name": "wti error", "model": former.model.name, "metric": "error", "source": "live", "reference": 2.0}
    return lambda **fields: create(**{**usual, **fields})


@pytest.fixture
def monitor(watch):
    return watch()


@pytest.fixture
def plan(monitor, actor_for, engineer):
    return set_retraining_plan(actor=actor_for(engineer), monitor=monitor, min_rows=50)


@pytest.fixture
def err(source, former):
    """err(hour, count=100, error=5): labelled answers of an hour that are wrong by so much."""

    def add(hour, count=100, error=5.0):
        counts = {"predictions": count, "labelled": count, "scored": count}
        sums = {"error_sum": error * count, "error_square_sum": error * error * count}
        facts = {"source": source, "version": former, "variant": "fp32", "is_shadow": False, "hour": hour}
        return HourFigures.objects.create(**facts, **counts, **sums)

    return add


@pytest.fixture
def retraining(plan, err, evaluate):
    """What an alarm of the hour before noon begins."""
    err(NOON - timedelta(hours=1))
    evaluate()
    return Retraining.objects.get()


@pytest.fixture
def step(at):
    """step(later=minutes) -> the retraining after a round of the dispatcher."""
    clock = SimpleNamespace(now=NOON + LATER)

    def run(later=1):
        clock.now += timedelta(minutes=later)
        at(clock.now)
        advance_retrainings(actor=build_plane_actor(PlaneRole.DISPATCHER))
        return Retraining.objects.order_by("pk").first()

    return run


def end(jobs, state="succeeded", **columns):
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(state=state, **columns)


@pytest.fixture
def finish(project, held, registered, measure):  # noqa: F811
    """finish(retraining): everything that it waits for has succeeded."""

    def make_data(retraining):
        job = Job.objects.get(kind="retraining_data")
        for slot, key in (("table", "dataset"), ("fresh", "fresh")):
            artifact = held(f"{slot} of {job.pk}".encode())
            JobOutput.objects.create(job=job, slot=slot, artifact=artifact, name=slot, media_type=PARQUET)
            dataset = Dataset.objects.get_or_create(project=project, name=job.register[key])[0]
            columns = [{"name": name, "dtype": "double"} for name in ("close", "region")]
            facts = {"digest": artifact.pk, "manifest": "{}", "media_type": PARQUET, "size": 1, "columns": columns}
            made = DatasetVersion.objects.create(dataset=dataset, number=1, rows=75, created_by="x", **facts)
            DatasetFile.objects.create(version=made, path="t.parquet", artifact=artifact, media_type=PARQUET)
        end([job])

    def train(retraining):
        steps = PipelineStep.objects.filter(pipeline=retraining.pipeline_id)
        end([each.job for each in steps])
        version = registered(name=retraining.model.name)
        ModelVersion.objects.filter(pk=version.pk).update(job_id=steps.get(name="register").job_id)

    def evaluate(retraining):
        for each in retraining.evaluations:
            version = ModelVersion.objects.get(model=retraining.model_id, number=each["version"])
            on = EvaluationSet.objects.get(name=each["set"].split()[0])
            measure(version, on, 5.0 if version.pk == retraining.former_id else 1.0, job=each["job"])
            end(Job.objects.filter(pk=each["job"]))

    return lambda retraining: {"collecting": make_data, "training": train, "evaluating": evaluate}[retraining.state](
        retraining
    )


@pytest.fixture
def advance(step, finish, retraining):
    """advance(state) -> the retraining once it is there, its jobs having succeeded."""

    def run(state):
        found = Retraining.objects.get()
        for _ in range(10):
            if found.state == state:
                return found
            if found.state in ("collecting", "training", "evaluating") and found.state != state:
                finish(found)
            found = step()
        raise AssertionError(found.state, found.state_reason)

    return run


@pytest.fixture
def decide(actor_for, approver):
    """decide(approval, rejects=False): an approver votes."""

    def vote(approval, *, rejects=False):
        proof = Proof(user_id=approver.pk, method="password")
        facts = {"actor": actor_for(approver), "approval": approval, "facts_digest": approval.facts_digest}
        (reject if rejects else approve)(**facts, reason="seen", proof=proof)

    return vote


@pytest.fixture
def alarm(retraining):
    return Alarm.objects.get()
