"""A version that a client registered is measured by what it said: a worse one is stopped, an equal one passes. Real
jobs; production is a model that the plane trained and ran itself."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelArtifact
from apps.ml.registry.models import Evaluation, GateVerdict
from apps.ml.registry.services import record_version
from apps.platform.approvals.models import Approval
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.lineage.models import Edge
from tests.workers.test_evaluation_gate import (  # noqa: F401  fixtures
    MODELS,
    TRAINING,
    a_set,
    done,
    held,
    promoted,
    table,
    trained,
)
from workers import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def of_client(actor_for, engineer, project, held):  # noqa: F811
    """of_client() -> the next version of the model plain, with a file that nobody opens."""

    def make():
        experiment = Experiment.objects.get_or_create(
            project=project, number=0, defaults={"name": "Default", "created_by": "x"}
        )[0]
        logged = LoggedModel.objects.create(project=project, experiment=experiment, name="net", created_by="engineer")
        file = held(pa.table({"w": [1.0]}), "weights")
        facts = {"artifact": file, "size": file.size, "media_type": "x/y"}
        LoggedModelArtifact.objects.create(model=logged, path="model.pkl", **facts)
        source = f"models:/{logged.pk}"
        return record_version(
            actor=actor_for(engineer), project=project, name="plain", source=source, model_id=logged.pk
        )

    return make


@pytest.fixture
def uploaded(api, engineer):
    """uploaded(numbers) -> the digest of a table of these predictions, sent over REST."""

    def send(values) -> str:
        file = io.BytesIO()
        pq.write_table(pa.table({"prediction": values}), file)
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        where = f"/api/v1/projects/demo/artifacts/{digest}"
        answer = api(engineer).put(where, data, content_type="application/octet-stream")
        assert answer.status_code in (200, 201), answer.content
        return digest

    return send


def test_client_predictions_are_compared_with_production(
    trained,  # noqa: F811
    a_set,  # noqa: F811
    done,  # noqa: F811
    promoted,  # noqa: F811
    api,
    engineer,
    approver,
    of_client,
    uploaded,
):
    client = api(engineer)

    def evaluated(number, **body):
        answer = client.post(f"{MODELS}/versions/{number}/evaluations", {"set": "later", **body}, format="json")
        assert answer.status_code == 201, answer.content
        return done(answer.json()["id"])

    def asked(number):
        return client.post(f"{MODELS}/versions/{number}/promote", {}, format="json")

    trained(TRAINING)
    api(approver).post(f"{MODELS}/gates", {"set": "later", "margin": 0.1}, format="json")
    evaluated(1, runs=20)
    promoted(asked(1).json()["id"])

    # Worse by far: refused, with the numbers, and nobody is asked.
    right = np.asarray(table(400, 2)["y"])
    noise = np.random.default_rng(3).normal(size=400)
    of_client()
    digest = uploaded(right + 3 * noise)
    job = evaluated(2, predictions=digest)
    made = Evaluation.objects.get(version__number=2)
    assert (made.variant, made.predictions_id, made.created_by) == (None, digest, "engineer")
    assert made.pairing == Evaluation.objects.get(version__number=1).pairing
    error = asked(2).json()["error"]
    assert error["code"] == "gate_failed"
    assert "plain v2 is worse than v1" in error["message"]
    verdict = GateVerdict.objects.latest("pk")
    assert 2 < verdict.low < verdict.difference < verdict.high
    assert not Approval.objects.filter(subject_id=str(made.version_id)).exists()

    # The lineage: predictions and table, by the job, to the evaluation.
    ends = Edge.objects.filter(target_type="job", target_id=str(job.pk)).values_list("role", "source_id")
    assert dict(ends)["predictions"] == digest
    assert "table" in dict(ends)
    assert Edge.objects.filter(source_type="job", source_id=str(job.pk), target_id=made.artifact_id).exists()

    # As good as production, it passes; the facts say whose word it is.
    of_client()
    evaluated(3, predictions=uploaded(right + 0.3 * noise))
    answer = asked(3)
    assert answer.status_code == 201, answer.content
    gate = json.loads(Approval.objects.get(pk=answer.json()["id"]).facts)["gates"]["later-r1 rmse"]
    assert (gate["state"], gate["candidate_predictions"]["by"]) == ("pass", "engineer")
    promoted(answer.json()["id"])

    # And is then the baseline of what the plane trains next.
    trained(TRAINING | {"seed": 5})
    evaluated(4, runs=20)
    told = client.get(f"{MODELS}/versions/4/gates").json()["gates"][0]
    assert (told["against"], told["verdict"]) == (3, "pass")


def test_wrong_count_of_predictions_fails_job(trained, a_set, api, engineer, of_client, uploaded, worker):  # noqa: F811
    trained(TRAINING)
    of_client()
    body = {"set": "later", "predictions": uploaded([1.0, 2.0])}
    job = Job.objects.get(pk=api(engineer).post(f"{MODELS}/versions/2/evaluations", body, format="json").json()["id"])
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.error["field"]) == (
        JobState.FAILED,
        "predictions_count",
        "inputs/predictions",
    )
    assert not Evaluation.objects.exists()
