"""Deleted runs that go for good, with their points, once their time of retention is over and nothing keeps them.

One function decides for the dry run and for the run (retention.decide). A run is marked first, in a transaction that
has looked again; then its points go, so many at a time, since a transaction of millions would keep others out; its rows
go at last. What is killed in between goes on the next time: a marked run is never restored (a constraint of its table).
The bytes of its files are garbage then, unless something else cites them: manage.py collect_garbage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError, Q
from django.utils import timezone

from apps.accounts.models import Project
from apps.actors import Actor
from apps.audit.services import record
from apps.experiments.models import (
    Experiment,
    LoggedModel,
    Metric,
    MetricBatch,
    MetricBucket,
    MetricPoint,
    Run,
    RunArtifact,
)
from apps.experiments.retention import Decided, candidates, decide, emptied, is_empty
from apps.experiments.services.runs import hold
from apps.policy import require

TOGETHER = 200  # runs that are decided about at once
POINTS = 5_000  # of one transaction
NAMED = 1_000  # ids, or digests, that one record holds


@dataclass(slots=True)
class PurgeReport:
    """What went, or of a dry run would go; `listed` is the digest of its ids, a line each, in their order."""

    runs: int = 0
    points: int = 0
    files: int = 0
    bytes: int = 0
    kept: int = 0
    experiments: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # the first NAMED
    by_experiment: Counter[int] = field(default_factory=Counter)
    _listed: Any = field(default_factory=sha256)

    @property
    def listed(self) -> str:
        return str(self._listed.hexdigest())

    def add(self, one: Decided) -> None:
        self.runs, self.points = self.runs + 1, self.points + one.points
        self.files, self.bytes = self.files + one.files, self.bytes + one.bytes
        self.by_experiment[one.run.experiment_id] += 1
        self._listed.update(f"{one.run.pk}\n".encode())
        if len(self.ids) < NAMED:
            self.ids.append(one.run.pk)


def purge_runs(
    *,
    actor: Actor,
    project: Project,
    older_than: timedelta,
    dry_run: bool = False,
    say: Callable[[Decided], None] = lambda one: None,
) -> PurgeReport:
    """Remove the runs of `project` that were deleted before `older_than` and that nothing keeps, then the experiments.

    `say` is told of each, kept or not, in the order in which they were deleted. With `dry_run` nothing is changed.
    """
    require(actor, "run.purge", project)
    cutoff, report = timezone.now() - older_than, PurgeReport()
    for found in decided(project, cutoff):
        one = found if dry_run or found.kept else purge_run(actor, found, cutoff)
        if one.kept:
            report.kept += 1
        else:
            report.add(one)
        say(one)
    for experiment in emptied(project, cutoff, report.by_experiment if dry_run else {}):
        if dry_run or purge_experiment(actor, experiment, cutoff):
            report.experiments.append(experiment.name)
    if not dry_run and (report.runs or report.experiments):
        after = {name: getattr(report, name) for name in ("runs", "points", "files", "bytes", "kept", "experiments")}
        after |= {"older_than_seconds": int(older_than.total_seconds()), "ids": report.ids}
        record(actor=actor, action="run.purge_many", obj=project, after=after, digests={"ids": report.listed})
    return report


def decided(project: Project, cutoff: datetime) -> Iterator[Decided]:
    """Every candidate with what becomes of it, so many at a time; those that go meanwhile do not move the others."""
    last: tuple[Any, str] | None = None
    while True:
        rows = candidates(project, cutoff)
        if last is not None:
            rows = rows.filter(Q(deleted_at__gt=last[0]) | Q(deleted_at=last[0], id__gt=last[1]))
        part = list(rows[:TOGETHER])
        if not part:
            return
        last = (part[-1].deleted_at, part[-1].pk)
        yield from decide(project.pk, part)


# -- one run --------------------------------------------------------------------------------------------------------
def purge_run(actor: Actor, found: Decided, cutoff: datetime) -> Decided:
    """Remove a run; what is given back says why it stayed after all, if it did."""
    run = found.run
    with transaction.atomic():
        rows = Run.objects.select_for_update(of=("self",)).select_related("experiment", "job")
        locked = rows.filter(pk=run.pk).first()
        if locked is None or locked.deleted_at is None or locked.deleted_at >= cutoff:
            return stays(found, "it was restored meanwhile")
        again = decide(run.project_id, [locked])[0]
        if again.kept:
            return again
        Run.objects.filter(pk=run.pk, purging_at=None).update(purging_at=timezone.now())
    for metric in Metric.objects.filter(run=run).order_by("pk"):
        drain(MetricPoint, metric, "step")
        drain(MetricBucket, metric, "level")
    MetricBatch.objects.filter(run=run).delete()
    try:
        with transaction.atomic():
            if not hold(run.pk):  # whoever folds points of it now ends before, and they go with it
                return stays(again, "another purge removed it")
            record_purge(actor, again)
            LoggedModel.objects.filter(source_run=run).delete()
            Run.objects.filter(pk=run.pk).delete()
    except ProtectedError:
        return stays(again, "something came to cite it while it went; its points are gone")
    return again


def drain(table: Any, metric: Metric, order: str) -> None:
    """Remove the rows of a metric, each part in a transaction of its own."""
    rows = table.objects.filter(metric=metric).order_by(order, "pk").values_list("pk", flat=True)
    while part := list(rows[:POINTS]):
        table.objects.filter(pk__in=part).delete()


def record_purge(actor: Actor, one: Decided) -> None:
    run = one.run
    files = list(RunArtifact.objects.filter(run=run).order_by("path").values_list("path", "artifact_id")[:NAMED])
    before = {
        "name": run.name,
        "experiment": run.experiment.name,
        "deleted_at": run.deleted_at,
        "points": one.points,
        "files": one.files,
        "bytes": one.bytes,
    }
    digests = {"metrics": run.metrics_digest, "code": run.code_digest, "spec": run.spec_digest}
    digests |= {f"artifact {path}": digest for path, digest in files}
    record(actor=actor, action="run.purge", obj=run, before=before, digests=digests)


def stays(one: Decided, why: str) -> Decided:
    return Decided(one.run, one.points, one.files, one.bytes, why)


# -- experiments ----------------------------------------------------------------------------------------------------
def purge_experiment(actor: Actor, experiment: Experiment, cutoff: datetime) -> bool:
    """Remove an experiment without runs; False where it was restored meanwhile, or something came to need it."""
    try:
        with transaction.atomic():
            held = Experiment.objects.select_for_update().filter(pk=experiment.pk, deleted_at__lt=cutoff).first()
            if held is None or not is_empty(held):
                return False
            before = {"name": experiment.name, "number": experiment.number, "deleted_at": experiment.deleted_at}
            record(actor=actor, action="experiment.purge", obj=experiment, before=before)
            LoggedModel.objects.filter(experiment=experiment).delete()
            Experiment.objects.filter(pk=experiment.pk).delete()
    except ProtectedError:
        return False
    return True
