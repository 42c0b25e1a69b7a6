"""What benchmarks/seed.py adds beside chains: experiments, tags, reruns, holds, logged models, evaluations with gates,
ends of other tools, views, and bytes that nothing cites.

The evaluation is one that the engine measures here; the rows repeat it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from django.db import transaction

from apps.core.canonical import sha256_hex
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.gateways.openlineage.models import ForeignEnd, ForeignRun
from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelArtifact,
    LoggedModelMetric,
    LoggedModelParam,
    LoggedModelTag,
    Run,
    RunTag,
)
from apps.ml.registry.models import Evaluation, EvaluationSet, Gate, GateVerdict, Model, ModelVersion, Variant
from apps.ml.registry.services.evaluations import get_horizon
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.series import Budget
from apps.ml.reruns.tolerance import Tolerance
from apps.ml.reruns.verdicts import build_verdict
from apps.platform.accounts.models import Project, User
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store
from apps.platform.holds.models import Hold
from apps.platform.lineage.models import Edge
from apps.platform.preferences.models import SavedView

BATCH = 500
EXPERIMENTS, RERUNS, HOLDS, LOGGED, UNCITED, FOREIGN = 60, 100, 150, 100, 500, 40
SETS, MEASURED, VERSIONS, VERDICTS = 20, 5, 40, 50  # sets, those that versions were measured on, versions, verdicts
MODEL, TARGET, TABLE = "wti-forecaster", "DCOILWTICO", "wti-clean"
TEAMS, STAGES = ("pricing", "plant", "ward", "trading"), ("trial", "candidate", "kept")
BY = "engineer"


@transaction.atomic
def add_all(project: Project, times: int, now: datetime) -> None:
    chance = random.Random(20261125)
    add_experiments(project, EXPERIMENTS * times)
    add_tags(project, chance)
    first = demo_run(project)
    add_reruns(project, first, RERUNS * times)
    add_holds(project, HOLDS * times, now)
    add_logged_models(project, first, LOGGED * times)
    add_evaluations(project, times)
    add_foreign(project, FOREIGN * times, now)
    add_views(project)
    add_uncited(UNCITED * times, now)


def demo_run(project: Project) -> Run:
    """The first run of training, which pages.py asks for."""
    return Run.objects.filter(project=project, kind="train").order_by("job")[0]


def published(data: bytes) -> Artifact:
    with get_store().open_staging() as staging:
        staging.write(data)
        digest, size = staging.publish()
    return Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]


# -- runs -----------------------------------------------------------------------------------------------------------
def add_experiments(project: Project, count: int) -> None:
    first = Experiment.objects.filter(project=project).count()
    numbers = range(first, first + count)
    Experiment.objects.bulk_create(
        [Experiment(project=project, number=n, name=f"study {n}", created_by=BY) for n in numbers], batch_size=BATCH
    )


def add_tags(project: Project, chance: random.Random) -> None:
    """Two of every run; each hundredth is deleted."""
    ids = list(Run.objects.filter(project=project).exclude(job__pipeline_step__pipeline__in=(1, 2)).order_by("job"))
    tags = (
        RunTag(run=run, key=key, value=chance.choice(values))
        for run in ids
        for key, values in (("team", TEAMS), ("stage", STAGES))
    )
    RunTag.objects.bulk_create(tags, batch_size=BATCH)
    for run in ids[::100]:
        Run.objects.filter(pk=run.pk).update(deleted_at=run.ended_at or run.started_at)


def add_reruns(project: Project, first: Run, count: int) -> None:
    """Of the one run, judged with the verdict on the first of them."""
    ended = Run.objects.filter(project=project, kind=first.kind, state="finished").exclude(pk=first.pk)
    others = list(ended.select_related("job", "experiment").order_by("-job")[:count])
    document = build_verdict(first, others[0], Tolerance(), Budget())
    told = {"state": "judged", "verdict": document["verdict"], "document": document, "requester": BY}
    Rerun.objects.bulk_create(
        [Rerun(project=project, original=first, job=one.job, relative=1e-6, absolute=0.0, **told) for one in others],
        batch_size=BATCH,
    )


def add_holds(project: Project, count: int, now: datetime) -> None:
    """On runs; every other one is released again."""
    told = {"project": project, "object_type": "run", "reason": "Asked for by the supervisor.", "placed_by": "auditor"}
    gone = {"released_at": now, "released_by": "auditor", "release_reason": "The inquiry is closed."}
    ids = Run.objects.filter(project=project).order_by("job").values_list("pk", flat=True)[:count]
    Hold.objects.bulk_create(
        [Hold(object_id=pk, **told, **(gone if place % 2 else {})) for place, pk in enumerate(ids)], batch_size=BATCH
    )


def add_logged_models(project: Project, first: Run, count: int) -> None:
    """Each with some of everything, as MLflow's clients log them; a tenth of them by the one run."""
    runs = list(Run.objects.filter(project=project).select_related("experiment").order_by("-job")[:count])
    weights = published(b"weights")
    made = LoggedModel.objects.bulk_create(
        [
            LoggedModel(
                project=project,
                experiment=run.experiment,
                name=f"logged {n}",
                state="READY",
                source_run=run,
                created_by=BY,
            )
            for n, run in enumerate(first if n % 10 == 0 else run for n, run in enumerate(runs))
        ],
        batch_size=BATCH,
    )
    at, digits = first.started_at, range(8)
    file = {"artifact": weights, "size": weights.size, "media_type": "application/octet-stream"}
    for kind, rows in (
        (LoggedModelParam, [LoggedModelParam(model=one, key=f"p{n}", value=str(n)) for one in made for n in digits]),
        (LoggedModelTag, [LoggedModelTag(model=one, key=f"t{n}", value=str(n)) for one in made for n in digits]),
        (LoggedModelArtifact, [LoggedModelArtifact(model=one, path=f"f{n}", **file) for one in made for n in digits]),
        (
            LoggedModelMetric,
            [
                LoggedModelMetric(model=one, run_id=one.source_run_id, key=f"m{n}", value=1 / (n + 1), step=n, at=at)
                for one in made
                for n in digits
            ],
        ),
    ):
        kind.objects.bulk_create(rows, batch_size=BATCH)  # type: ignore[attr-defined]


# -- evaluations ----------------------------------------------------------------------------------------------------
def add_evaluations(project: Project, times: int) -> None:
    """Sets, versions of the demo's model that were measured on the first of them, gates, and what they said."""
    model = Model.objects.get(project=project, name=MODEL)
    first = ModelVersion.objects.get(model=model, number=1)
    forms = list(Variant.objects.filter(version=first, name__in=("fp32", "int8")).order_by("pk"))
    table = DatasetFile.objects.get(version__dataset__name=TABLE, version__number=1, media_type__contains="parquet")
    measured = {form.name: Measured.of(form, table) for form in forms}
    sets = sets_of(project, table, SETS * times, measured[forms[0].name].spec)
    versions = [first, *versions_of(model, first, VERSIONS * times)]
    rows = []
    for version in versions:
        for variant in Variant.objects.filter(version=version, name__in=measured):
            rows += [measured[variant.name].row(on, variant) for on in sets[:MEASURED]]
    made = Evaluation.objects.bulk_create(rows, batch_size=BATCH)
    asked = {"metric": "rmse", "better": "lower", "margin": 0.05, "confidence": 0.95, "guard_slices": True}
    gates = [Gate.objects.create(model=model, set=on, set_by="approver", **asked) for on in sets[:MEASURED]]
    newest = {one.set_id: one for one in made if one.variant.version_id == versions[-1].pk}
    said = {"verdict": "pass", "difference": 0.0, "low": -0.01, "high": 0.01, "asked_by": BY}
    GateVerdict.objects.bulk_create(
        GateVerdict(gate=gate, version=versions[-1], candidate=newest[gate.set_id], **said)
        for _n in range(VERDICTS * times // MEASURED)
        for gate in gates
    )


class Measured:
    """What the engine measured of a form: rows of it for other versions have the same figures in other bytes."""

    def __init__(self, spec: dict[str, object], document: str, replicates: bytes) -> None:
        self.spec, self.document, self.told = spec, document, json.loads(document)
        self.files = [published(replicates), published(json.dumps(json.loads(replicates), indent=1).encode())]
        self.artifact = published(document.encode())

    @classmethod
    def of(cls, form: Variant, table: DatasetFile) -> Measured:
        from deepseek.evaluate.run import run  # it is heavy, and the rest does without
        from deepseek.evaluate.spec import EvaluateSpec, Slice
        from deepseek.job import Silent

        spec = EvaluateSpec(slices=[Slice(column=TARGET, bins=10)], runs=20, horizon=get_horizon(form.version))
        with TemporaryDirectory() as folder:
            inputs = {"model": form.artifact_id, "manifest": form.manifest_id, "table": table.artifact_id}
            paths = {slot: Path(folder) / slot for slot in inputs}
            for slot, digest in inputs.items():
                paths[slot].write_bytes(b"".join(get_store().open(digest)))
            run(spec, inputs=paths, out=Path(folder) / "out", report=Silent())
            document = (Path(folder) / "out" / "evaluation.json").read_text("utf-8")
            return cls(spec.same_figures(), document, (Path(folder) / "out" / "replicates.json").read_bytes())

    def row(self, on: EvaluationSet, variant: Variant) -> Evaluation:
        return Evaluation(
            set=on,
            version=variant.version,
            variant=variant,
            job_id=variant.version_id,
            artifact=self.artifact,
            replicates=self.files[variant.version.number > 1],
            pairing=self.told["pairing"],
            rows=self.told["rows"],
            metrics=self.told["metrics"],
            document=self.document,
            created_by=BY,
        )


def sets_of(project: Project, table: DatasetFile, count: int, spec: dict[str, object]) -> list[EvaluationSet]:
    facts = {"dataset_version": table.version, "table": table.artifact, "task": "forecast", "target": TARGET}
    facts |= {"primary_metric": "rmse", "spec": spec, "created_by": BY, "number": 1}
    return EvaluationSet.objects.bulk_create(
        EvaluationSet(project=project, name=f"holdout-{n:04d}", **facts) for n in range(count)
    )


def versions_of(model: Model, source: ModelVersion, count: int) -> Iterator[ModelVersion]:
    """So many more, behind those that the demo's rollouts brought out."""
    last = max(model.versions.values_list("number", flat=True))
    for number in range(last + 1, last + count + 1):
        document = json.dumps(json.loads(source.document) | {"note": f"try {number}"}, separators=(",", ":"))
        facts = {name: getattr(source, name) for name in ("task", "target", "metrics", "run_id", "job_id")}
        version = ModelVersion.objects.create(
            model=model, number=number, digest=sha256_hex(document), document=document, created_by=BY, **facts
        )
        parents: dict[int, int] = {}
        for variant in Variant.objects.filter(version=source).order_by("pk"):
            old = variant.pk
            variant.pk, variant.version, variant.parent_id = None, version, parents.get(variant.parent_id or 0)
            variant.save(force_insert=True)
            parents[old] = variant.pk
        yield version
    Model.objects.filter(pk=model.pk).update(versions_count=last + count)


# -- what other tools told, views, garbage --------------------------------------------------------------------------
def add_foreign(project: Project, count: int, now: datetime) -> None:
    """Jobs of another tool that each wrote a dataset, of which the newest version was made; the first ran often."""
    version = DatasetVersion.objects.filter(dataset__project=project).order_by("-pk")[0]
    edges, told = [], {"project": project, "namespace": "airflow://plant", "told_at": now}
    jobs = ForeignEnd.objects.bulk_create(
        [ForeignEnd(type="foreign_job", key=f"{n:032x}", name=f"load.{n}", **told) for n in range(count)]
    )
    tables = ForeignEnd.objects.bulk_create(
        [ForeignEnd(type="foreign_dataset", key=f"{n:032x}", name=f"plant.t{n}", **told) for n in range(count)]
    )
    for job, table in zip(jobs, tables, strict=True):
        made = {"source_type": job.type, "source_id": job.key, "source_label": job.name}
        made |= {"target_type": table.type, "target_id": table.key, "target_label": table.name}
        used = {"source_type": table.type, "source_id": table.key, "source_label": table.name}
        used |= {"target_type": "dataset_version", "target_id": str(version.pk), "target_label": str(version)}
        edges += [Edge(project=project, role="output", **made), Edge(project=project, role="input", **used)]
    Edge.objects.bulk_create(edges, batch_size=BATCH)
    ForeignRun.objects.bulk_create(
        [ForeignRun(project=project, run_id=UUID(int=n), job=jobs[0], told_at=now) for n in range(5 * count)],
        batch_size=BATCH,
    )


def add_views(project: Project) -> None:
    user = User.objects.get(username=BY)
    SavedView.objects.bulk_create(
        SavedView(user=user, project=project, listing=listing, name=f"Broken {n}", query="status=failed")
        for listing in ("runs", "jobs")
        for n in range(10)
    )


def add_uncited(count: int, now: datetime) -> None:
    """Artifacts that nothing cites any more."""
    rows = [Artifact(digest=sha256_hex(f"uncited {n}"), size=1000 + n) for n in range(count)]
    Artifact.objects.bulk_create(rows, batch_size=BATCH)
    for first in range(0, count, BATCH):
        keys = [one.pk for one in rows[first : first + BATCH]]
        Artifact.objects.filter(pk__in=keys).update(created_at=now - timedelta(days=30))
