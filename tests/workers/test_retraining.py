"""From an alarm to a better model in use, on real data with an injected change: real jobs, real predictions.

A classifier of tumours (scikit-learn's breast cancer data), whose instrument reads higher from some hour on, and a
forecaster of the temperature of the sea (statsmodels), which is asked every second month instead of every month.
"""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.canonical import compute_digest, sha256_hex
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.registration import add_version
from apps.fleet.devices.models import Assignment, Device, DeviceTelemetry
from apps.fleet.monitoring.models import Alarm, Retraining
from apps.fleet.monitoring.services import (
    acknowledge_alarm,
    advance_retrainings,
    create_monitor,
    evaluate_due_monitors,
    evaluating,
    monitors,
    retraining_plans,
    retraining_steps,
    retraining_turns,
    retrainings,
    set_retraining_plan,
)
from apps.fleet.rollouts.schemas import RolloutBody
from apps.fleet.rollouts.services import advance_rollouts, create_rollout, request_start
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.schemas import LabelRow, PredictionRow
from apps.ml.observations.services import record_labels, record_predictions
from apps.ml.observations.services.batches import floor_hour
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.requests import read_pipeline_request
from apps.ml.pipelines.services import submit_pipeline
from apps.ml.registry.models import Alias, ModelVersion
from apps.ml.registry.services.aliases import request_promotion
from apps.ml.registry.services.evaluations import create_evaluation_set, set_gate
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import approve
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from deepseek.canary.verdict import evaluate_canary
from deepseek.models.manifest import ModelManifest
from deepseek.models.predictor import open_model
from tests.forks import kill_at
from workers import tasks

PARQUET = "application/vnd.apache.parquet"
HOUR = timedelta(hours=1)
PATIENCE = 200  # rounds

pytestmark = pytest.mark.django_db(transaction=True)


def judge(plan, evidence):
    return evaluate_canary(CanaryPlan.model_validate(plan), Evidence.model_validate(evidence))


class Story:
    """A plane in the test's process: its clock, its workers, and what is sent to it."""

    def __init__(self, project, engineer, approver, actor_for, monkeypatch):
        self.project, self.monkeypatch = project, monkeypatch
        self.engineer, self.approver = (lambda: actor_for(engineer)), (lambda: actor_for(approver))
        self.dispatcher = build_plane_actor(PlaneRole.DISPATCHER, host="test")
        self.start = floor_hour(timezone.now()) - 10 * HOUR
        self.now = self.start
        for module in (evaluating, monitors, retraining_plans, retrainings, retraining_steps):
            monkeypatch.setattr(module, "get_database_now", lambda: self.now)

    def store(self, dataset, table):
        """The table as the first version of a dataset."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        with get_store().open_staging() as staging:
            staging.write(sink.getvalue().to_pybytes())
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=self.project, artifact=artifact, defaults={"name": dataset})
        columns = [{"name": field.name, "dtype": str(field.type)} for field in table.schema]
        made = create_dataset(actor=self.engineer(), project=self.project, name=dataset)
        facts = {"media_type": PARQUET, "rows": table.num_rows, "columns": columns, "script": "upload", "params": {}}
        return add_version(actor=self.engineer(), dataset=made, files=[("t.parquet", artifact, PARQUET)], **facts)[0]

    def work(self):
        """Workers do all jobs that there are."""
        for _ in range(PATIENCE):
            if not Job.objects.filter(state__in=("queued", "waiting")).exists():
                break
            tasks.run_next("cpu")
        bad = Job.objects.exclude(state="succeeded").values_list("kind", "error")
        assert not bad, list(bad)

    def train(self, data, spec):
        """A pipeline of cleaning, training and registering; the version that is in production then."""
        digest = data.files.get().artifact_id
        steps = [
            {"name": "clean", "kind": "clean", "inputs": {"table": {"digest": digest}}},
            {"name": "train", "kind": "train", "spec": spec, "inputs": {"table": {"step": "clean", "slot": "table"}}},
        ]
        forms = {
            f"fp32{end}": {"step": "train", "slot": slot}
            for end, slot in (("", "model"), ("_manifest", "manifest"), ("_figures", "figures"))
        }
        steps.append({"name": "register", "kind": "register", "inputs": forms, "register": {"model": "watched"}})
        steps[0]["register"] = {"dataset": f"{data.dataset.name}-clean"}
        body = {"name": "watched", "steps": steps}
        request = read_pipeline_request(self.engineer(), self.project, body, idempotency_key=None)
        submit_pipeline(actor=self.engineer(), project=self.project, request=request)
        self.work()
        version = ModelVersion.objects.get(model__project=self.project)
        self.vote(request_promotion(actor=self.engineer(), version=version))
        return version

    def vote(self, approval):
        approval.refresh_from_db()
        proof = Proof(user_id=self.approver().user_id, method="password")
        approve(
            actor=self.approver(), approval=approval, facts_digest=approval.facts_digest, reason="good", proof=proof
        )

    def watch(self, metric, task, **rule):
        self.source = ObservationSource.objects.create(project=self.project, name="live", task=task, created_by="test")
        usual = {"name": "watch", "model": "watched", "window_hours": 1, "min_count": 20, "cooldown_hours": 0}
        self.monitor = create_monitor(
            actor=self.engineer(), project=self.project, metric=metric, source="live", **usual, **rule
        )

    def answer(self, version, hour, rows, labels, named=()):
        """A server that has this version answers in an hour; the labels come with it."""
        variant = version.variants.select_related("artifact", "manifest").get()
        manifest = ModelManifest.model_validate_json(b"".join(get_store().open(variant.manifest_id)))
        outputs = open_model(manifest, get_store().path_of(variant.artifact_id)).predict(rows.astype(np.float32))
        answers = [manifest.classes[best] for best in outputs.argmax(1)] if manifest.classes else outputs[:, 0].tolist()
        at = self.start + hour * HOUR
        keys = [f"{hour}-{number}" for number in range(len(rows))]
        features = [dict(zip(named, row, strict=True)) if named else list(row) for row in rows.tolist()]
        send = {"actor": self.engineer(), "source": self.source}
        asked = [
            PredictionRow(
                id=key,
                at=at + timedelta(seconds=place),
                model="watched",
                version=version.number,
                answer=answer,
                features=feature,
            )
            for place, (key, answer, feature) in enumerate(zip(keys, answers, features, strict=True))
        ]
        record_predictions(**send, rows=asked)
        record_labels(
            **send, rows=[LabelRow(id=k, at=at + HOUR, label=each) for k, each in zip(keys, labels, strict=True)]
        )

    def evaluate(self, hour):
        """The last window once this hour has ended."""
        self.now = self.start + (hour + 1) * HOUR + timedelta(minutes=6)
        evaluate_due_monitors(actor=self.dispatcher)
        return self.monitor.windows.order_by("until").last()

    def drive(self, until, killed=None):
        """Dispatcher and workers, until the retraining is there. `killed`: a set of the states in which a dispatcher
        was killed, which it was in each before its first step could commit."""
        for _ in range(PATIENCE):
            self.now += timedelta(seconds=6)
            retraining = Retraining.objects.get()
            if killed is not None and retraining.state not in killed and self.kill_dispatcher():
                killed.add(retraining.state)
            advance_retrainings(actor=self.dispatcher)
            retraining.refresh_from_db()
            if retraining.state == until:
                return retraining
            assert retraining.ended_at is None, retraining.state_reason
            self.work()
        raise AssertionError(retraining.state)

    def kill_dispatcher(self):
        """Let a dispatcher of its own submit what comes next, and kill it by SIGKILL when it would move the state."""
        return kill_at(retraining_turns, "change_state", lambda: advance_retrainings(actor=self.dispatcher))

    def roll_out(self, version, count):
        """To so many devices, whose answers the test gives; the rollout once it has ended."""
        Device.objects.bulk_create(
            Device(
                project=self.project,
                name=f"press-{number}",
                architecture="x86_64",
                created_by="test",
                token_digest=sha256_hex(str(number)),
                public_key=sha256_hex(str(number))[:44],
            )
            for number in range(count)
        )
        gate = {"name": "install", "measure": "install_failure", "scale": "binary", "reference": "limit", "limit": 0.5}
        body = {
            "model": "watched",
            "version": version.number,
            "variants": {"x86_64": "fp32"},
            "without_samples": True,
            "waves": [{"share": 1.0}],
            "approve_after": "none",
            "look_seconds": 1,
            "wave_deadline_seconds": 60,
            "canary": {"gates": [gate], "soak_seconds": 1, "min_canary": 2, "min_control": 2},
        }
        plan = RolloutBody.model_validate(body)
        rollout = create_rollout(actor=self.engineer(), project=self.project, body=plan)
        self.vote(request_start(actor=self.engineer(), rollout=rollout).approval)
        now = timezone.now()
        for _ in range(PATIENCE):
            now += timedelta(seconds=30)
            DeviceTelemetry.objects.update(last_seen=now)
            advance_rollouts(actor=self.dispatcher, evaluate=judge, now=now)
            for row in Assignment.objects.filter(state="assigned").select_related("release"):
                Assignment.objects.filter(pk=row.pk).update(state="succeeded", ended_at=now)
                Device.objects.filter(pk=row.device_id).update(running=row.release)
            rollout.refresh_from_db()
            if rollout.state == "completed":
                return rollout
        raise AssertionError(rollout.state, rollout.state_reason)

    def count_made(self):
        """What must never be there twice."""
        jobs = Job.objects.values_list("kind", flat=True)
        versions = DatasetVersion.objects.filter(script__startswith="deepseek.retraining")
        return {
            "data": list(jobs).count("retraining_data"),
            "evaluations": list(jobs).count("evaluate"),
            "pipelines": Pipeline.objects.count(),
            "approvals": Approval.objects.count(),
            "versions": versions.count(),
        }


@pytest.fixture
def story(project, engineer, approver, actor_for, worker, monkeypatch, settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return Story(project, engineer, approver, actor_for, monkeypatch)


def read_tumours():
    """(features, classes, names) of scikit-learn's breast cancer data: the means, in a fixed order by chance."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    order = np.random.default_rng(3).permutation(len(data.data))
    names = [name.replace(" ", "_") for name in data.feature_names[:10]]
    return data.data[order, :10], [str(data.target_names[each]) for each in data.target[order]], names


def read_sea():
    """The monthly temperature of the sea off Peru from 1950 to 2010, in degrees."""
    from statsmodels.datasets import elnino

    return elnino.load_pandas().data.to_numpy()[:, 1:].ravel().tolist()


SPEC = {"epochs": 60, "patience": 0, "reference": False, "hidden": [16]}
SPEC["schedule"] = {"max_lr": 0.02, "first_batch": 32, "last_batch": 32, "warmup_steps": 5}


def test_a_classifier_whose_instrument_reads_higher_is_good_again(story):
    rows, classes, names = read_tumours()
    columns = {name: rows[:, place] for place, name in enumerate(names)}
    table = pa.table({**columns, "kind": classes})
    data = story.store("tumours", table.slice(0, 250))
    spec = {"task": "classification", "target": "kind", "features": names, **SPEC}
    first = story.train(data, spec)
    golden = story.store("golden", table.slice(250, 60))
    on = create_evaluation_set(
        actor=story.engineer(),
        project=story.project,
        name="golden",
        dataset_version=golden,
        task="classification",
        target="kind",
    )
    set_gate(actor=story.approver(), model=first.model, on=on, margin=0.2)
    story.watch("accuracy", "classification", certainty="interval")
    set_retraining_plan(actor=story.engineer(), monitor=story.monitor, min_rows=60)

    higher = rows * np.where(np.arange(10) < 4, 1.4, 1.0)  # radius, texture, perimeter and area read too high
    story.answer(first, 0, rows[310:360], classes[310:360], names)
    assert story.evaluate(0).verdict == "good"
    story.answer(first, 1, higher[360:480], classes[360:480], names)
    bad = story.evaluate(1)
    assert bad.verdict == "worse"

    killed = set()
    retraining = story.drive("awaiting_approval", killed)
    assert killed == {"queued", "collecting", "training", "evaluating", "requesting"}
    assert story.count_made() == {"data": 1, "evaluations": 4, "pipelines": 2, "approvals": 2, "versions": 2}
    assert Alias.objects.get(name="production").version == first  # never by itself
    facts = json.loads(retraining.approval.facts)["evidence"]["retraining"]
    assert (facts["alarm"], facts["evidence"]) == (retraining.alarm_id, compute_digest(retraining.alarm.evidence))
    fresh = facts["sets"]["tumours-fresh-r1"]
    values = {side: fresh[side]["metrics"]["accuracy"]["value"] for side in ("former", "version")}
    assert values["version"] > values["former"] + 0.1
    assert facts["sets"]["golden-r1"]["version"]["metrics"]["accuracy"]["value"] > 0.8

    acknowledge_alarm(actor=story.engineer(), alarm=Alarm.objects.get(), reason="the instrument was exchanged")
    story.vote(retraining.approval)
    assert story.drive("approved").version == Alias.objects.get(name="production").version
    rollout = story.roll_out(retraining.version, 3)
    assert set(Device.objects.values_list("running__variant__version", flat=True)) == {retraining.version_id}
    assert rollout.state == "completed"
    story.answer(retraining.version, 2, higher[480:], classes[480:], names)
    good = story.evaluate(2)
    assert (good.verdict, good.version) == ("good", retraining.version)
    assert good.value > bad.value + 0.1
    assert Alarm.objects.get().state == "closed"


def test_a_forecaster_that_is_asked_every_second_month_is_good_again(story):
    series, lags = read_sea(), 12
    data = story.store("sea", pa.table({"degrees": series[:300]}))
    first = story.train(data, {"task": "forecast", "target": "degrees", "lags": lags, **SPEC})
    story.watch("error", "regression", limit=0.5, certainty="interval")
    set_retraining_plan(actor=story.engineer(), monitor=story.monitor, min_rows=60, mode="replace")

    def answer(version, hour, values):
        windows = np.array([values[place - lags : place] for place in range(lags, len(values))])
        story.answer(version, hour, windows, values[lags:])

    answer(first, 0, series[300:362])
    assert story.evaluate(0).verdict == "good"
    sparse = series[362::2]
    answer(first, 1, sparse[:150])
    bad = story.evaluate(1)
    assert bad.verdict == "worse"
    retraining = story.drive("awaiting_approval")
    fresh = retraining.facts["sets"]["sea-fresh-r1"]
    values = {side: fresh[side]["metrics"]["mae"]["value"] for side in ("former", "version")}
    assert values["version"] < values["former"] * 0.7
    assert retraining.fresh_set.spec["first_row"] == lags
    story.vote(retraining.approval)
    story.drive("approved")
    assert story.roll_out(retraining.version, 2).state == "completed"
    assert set(Device.objects.values_list("running__variant__version", flat=True)) == {retraining.version_id}
    answer(retraining.version, 2, sparse[138:])
    good = story.evaluate(2)
    assert (good.verdict, good.version) == ("good", retraining.version)
    assert good.value < bad.value * 0.7
