"""A worse model is stopped by the gate before anybody is asked to promote it; an equal one goes through. Real jobs."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.core.errors import Conflict
from apps.data.datasets.services import add_files
from apps.ml.registry.models import Evaluation, GateVerdict, ModelVersion
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import approve
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.models import Edge
from workers import tasks

PARQUET = "application/vnd.apache.parquet"
TRAINING = {
    "task": "regression",
    "target": "y",
    "features": ["a", "b"],
    "hidden": [],
    "epochs": 30,
    "patience": 0,
    "schedule": {"max_lr": 0.05, "first_batch": 16, "last_batch": 16, "warmup_steps": 5},
}
WORSE = TRAINING | {"epochs": 1, "schedule": {"init_lr": 1e-7, "max_lr": 1e-6, "first_batch": 16, "last_batch": 16}}
MODELS = "/api/v1/projects/demo/models/plain"


def table(rows, seed):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, rows))
    y = 3 * a - 2 * b + 10 + random.normal(scale=0.3, size=rows)
    return pa.table({"a": a, "b": b, "y": y, "site": random.choice(["north", "south"], rows)})


@pytest.fixture
def held(project, tmp_path, worker):
    def put(of, name) -> Artifact:
        path = tmp_path / name
        pq.write_table(of, path)
        with get_store().open_staging() as staging:
            staging.write(path.read_bytes())
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": name})
        return artifact

    return put


@pytest.fixture
def done(worker):
    """done(job) -> the job, once a worker has done it."""

    def run(job):
        tasks.run_next("cpu")
        job = Job.objects.get(pk=job if isinstance(job, int) else job.pk)
        assert job.state == JobState.SUCCEEDED, job.error
        return job

    return run


@pytest.fixture
def trained(done, submit, held):
    """trained(spec) -> the version that is made of it."""

    def make(spec) -> ModelVersion:
        data = [InputSpec(slot="table", digest=held(table(300, 1), "t.parquet").digest)]
        outputs = {
            f"fp32{ending}": made.artifact_id
            for made in done(submit(kind="train", spec=spec, inputs=data)).outputs.all()
            for slot, ending in (("model", ""), ("manifest", "_manifest"), ("figures", "_figures"))
            if made.slot == slot
        }
        inputs = [InputSpec(slot=slot, digest=digest) for slot, digest in outputs.items()]
        done(submit(kind="register", inputs=inputs, register={"model": "plain"}))
        return ModelVersion.objects.order_by("-number").first()

    return make


@pytest.fixture
def a_set(held, project, engineer, actor_for, api):
    """An evaluation set, made over REST of a table in two parts that no training saw."""
    rows = table(400, 2)
    parts = {f"{start}.parquet": held(rows.slice(start, 200), f"{start}.parquet") for start in (0, 200)}
    files = [(path, artifact.digest, PARQUET) for path, artifact in parts.items()]
    add_files(actor=actor_for(engineer), project=project, dataset_name="later", files=files)
    body = {"name": "later", "dataset": "later", "version": "1", "task": "regression", "target": "y"}
    body["spec"] = {"slices": [{"column": "site"}], "replicates": 1000}
    answer = api(engineer).post("/api/v1/projects/demo/evaluation-sets", body, format="json")
    assert answer.status_code == 201, answer.content
    return answer.json()["ref"]


@pytest.fixture
def promoted(actor_for, approver):
    def give(approval):
        proof = Proof(user_id=approver.pk, method="password")
        row = Approval.objects.get(pk=approval)
        return approve(
            actor=actor_for(approver), approval=row, facts_digest=row.facts_digest, reason="good", proof=proof
        )

    return give


@pytest.mark.django_db(transaction=True)
def test_gate_stops_worse_model_and_passes_equal_one(
    trained, a_set, done, api, engineer, approver, promoted, actor_for
):
    client, judge = api(engineer), api(approver)

    def evaluated(number):
        answer = client.post(f"{MODELS}/versions/{number}/evaluations", {"set": "later", "runs": 20}, format="json")
        assert answer.status_code == 201, answer.content
        return done(answer.json()["id"])

    def asked(number):
        return client.post(f"{MODELS}/versions/{number}/promote", {}, format="json")

    first = trained(TRAINING)
    gate = judge.post(f"{MODELS}/gates", {"set": "later", "margin": 0.1}, format="json")
    assert (gate.status_code, gate.json()["metric"], gate.json()["set"]) == (201, "rmse", a_set)

    # Not evaluated: the way out is in the refusal.
    refused = asked(1).json()["error"]
    assert refused["code"] == "gate_not_evaluated"
    assert f'POST {MODELS}/versions/1/evaluations {{"set": "{a_set}"}}' in refused["hint"]
    job = evaluated(1)
    evaluation = Evaluation.objects.get()
    assert (evaluation.variant.version, evaluation.rows) == (first, 400)
    assert Edge.objects.filter(target_type="job", target_id=str(job.pk), role="table").exists()
    assert AuditRecord.objects.filter(action="evaluation.register").count() == 1

    # Nothing in production yet: there is nothing to be worse than.
    answer = asked(1)
    assert answer.status_code == 201, answer.content
    promoted(answer.json()["id"])

    # Worse by far: refused, with the numbers, and nobody is asked.
    worse = trained(WORSE)
    evaluated(2)
    answer = asked(2)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, "gate_failed")
    for part in ("later-r1, rmse", "plain v2 is worse than v1", "95% interval", "the margin 0.1"):
        assert part in error["message"]
    assert not Approval.objects.filter(subject_id=str(worse.pk)).exists()
    verdict = GateVerdict.objects.latest("pk")
    assert (verdict.version, verdict.verdict) == (worse, "fail")
    assert 0.1 < verdict.low < verdict.difference < verdict.high
    assert verdict.worst["worse"] is True

    # An equal one passes, and the verdict is among the facts.
    trained(TRAINING | {"seed": 5})
    evaluated(3)
    answer = asked(3)
    assert answer.status_code == 201, answer.content
    facts = json.loads(Approval.objects.get(pk=answer.json()["id"]).facts)["gates"]
    assert facts["later-r1 rmse"]["state"] == "pass"
    assert facts["later-r1 rmse"]["against"] == 1

    # A newer evaluation is another fact: what was asked before is void.
    evaluated(3)
    with pytest.raises(Conflict) as caught:
        promoted(answer.json()["id"])
    assert caught.value.code == "approval_void"

    # Over versions, and what the gates say now.
    lines = client.get(f"{MODELS}/baselines?set=later").json()["lines"]
    values = [point["metric"]["value"] for point in lines[0]["points"]]
    assert values[1] > 3 > values[0]
    told = client.get(f"{MODELS}/versions/2/gates").json()
    assert (told["lets_through"], told["gates"][0]["verdict"]) == (False, "fail")
    assert told["gates"][0]["against"] == 1
    assert len(told["history"]) == 1

    # The card tells all of it, in both forms.
    cards = [client.get(f"{MODELS}/versions/1/card.{ending}").content.decode() for ending in ("md", "html")]
    for card in cards:
        for part in ("Model card: plain v1", "Quantitative Analyses", "later", "south", "rmse", "epochs", "approver"):
            assert part in card
    assert "<script" not in cards[1]


@pytest.mark.django_db(transaction=True)
def test_evaluation_on_another_table_is_not_registered(trained, a_set, held, submit, worker):
    version = trained(TRAINING)
    variant = version.variants.get()
    inputs = {"model": variant.artifact_id, "manifest": variant.manifest_id}
    inputs["table"] = held(table(300, 1), "t.parquet").digest  # what it learned from
    asked = [InputSpec(slot=slot, digest=digest) for slot, digest in inputs.items()]
    job = submit(kind="evaluate", spec={"runs": 20, "replicates": 200}, inputs=asked, register={"evaluation": a_set})
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "evaluation_document")
    assert json.loads(job.spec)["replicates"] == 1000  # the set's
    assert not Evaluation.objects.exists()
