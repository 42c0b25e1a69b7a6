"""Deleted runs, logged models and experiments that go for good, once their time of retention is over and nothing keeps
them.

One function decides for the dry run and for the run (retention.decide). A run is marked first, in a transaction that
has looked again; then its points go, so many at a time, since a transaction of millions would keep others out; its rows
go at last. What is killed in between goes on the next time: a marked run is never restored (a constraint of its table).
Who holds it meanwhile keeps what is left of it.
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

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelArtifact,
    Metric,
    MetricBatch,
    MetricBucket,
    MetricPoint,
    Run,
    RunArtifact,
)
from apps.ml.experiments.purge.retention import (
    PurgeDecision,
    decide_purges,
    find_holds,
    find_standalone_reasons,
    is_empty,
    list_candidates,
    list_empty_experiments,
    list_standalone_models,
    sum_model_sizes,
)
from apps.ml.experiments.services.runs import lock_run_row
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record

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
    models: list[str] = field(default_factory=list)  # that were deleted by themselves
    models_kept: dict[str, str] = field(default_factory=dict)  # and why
    experiments: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # the first NAMED
    by_experiment: Counter[int] = field(default_factory=Counter)
    _listed: Any = field(default_factory=sha256)

    @property
    def listed(self) -> str:
        return str(self._listed.hexdigest())

    def add(self, one: PurgeDecision) -> None:
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
    say: Callable[[PurgeDecision], None] = lambda one: None,
) -> PurgeReport:
    """Remove the runs of `project` that were deleted before `older_than` and that nothing keeps, then the logged models
    and the experiments.

    `say` is told of each, kept or not, in the order in which they were deleted. With `dry_run` nothing is changed.
    """
    require(actor, "run.purge", project)
    cutoff, report = timezone.now() - older_than, PurgeReport()
    for decision in iter_decisions(project, cutoff):
        outcome = decision if dry_run or decision.kept else purge_run(actor, decision, cutoff)
        if outcome.kept:
            report.kept += 1
        else:
            report.add(outcome)
        say(outcome)
    purge_models(actor, project, cutoff, report, dry_run)
    for experiment in list_empty_experiments(project, cutoff, report.by_experiment if dry_run else {}):
        if dry_run or purge_experiment(actor, experiment, cutoff):
            report.experiments.append(experiment.name)
    if not dry_run and (report.runs or report.models or report.experiments):
        counted = ("runs", "points", "files", "bytes", "kept", "experiments")
        after = {name: getattr(report, name) for name in counted} | {"models": len(report.models)}
        after |= {"older_than_seconds": int(older_than.total_seconds()), "ids": report.ids}
        record(actor=actor, action="run.purge_many", obj=project, after=after, digests={"ids": report.listed})
    return report


def iter_decisions(project: Project, cutoff: datetime) -> Iterator[PurgeDecision]:
    """Yield the decision for every candidate, in batches by keyset, so rows deleted meanwhile do not shift the rest."""
    last: tuple[Any, str] | None = None
    while True:
        rows = list_candidates(project, cutoff)
        if last is not None:
            rows = rows.filter(Q(deleted_at__gt=last[0]) | Q(deleted_at=last[0], id__gt=last[1]))
        part = list(rows[:TOGETHER])
        if not part:
            return
        last = (part[-1].deleted_at, part[-1].pk)
        yield from decide_purges(project.pk, part)


# -- one run --------------------------------------------------------------------------------------------------------
def purge_run(actor: Actor, decision: PurgeDecision, cutoff: datetime) -> PurgeDecision:
    """Purge a run. The returned decision says why it was kept after all, if it was."""
    run = decision.run
    with transaction.atomic():
        rows = Run.objects.select_for_update(of=("self",)).select_related("experiment", "job")
        locked = rows.filter(pk=run.pk).first()
        if locked is None or locked.deleted_at is None or locked.deleted_at >= cutoff:
            return build_refusal(decision, "it was restored meanwhile")
        again = decide_purges(run.project_id, [locked])[0]
        if again.kept:
            return again
        Run.objects.filter(pk=run.pk, purging_at=None).update(purging_at=timezone.now())
    for metric in Metric.objects.filter(run=run).order_by("pk"):
        delete_metric_rows(MetricPoint, metric, "step")
        delete_metric_rows(MetricBucket, metric, "level")
    MetricBatch.objects.filter(run=run).delete()
    try:
        with transaction.atomic():
            if not lock_run_row(run.pk):  # whoever folds points of it now ends before, and they go with it
                return build_refusal(again, "another purge removed it")
            list(
                LoggedModel.objects.select_for_update().filter(source_run=run)
            )  # a hold on one of them waits, or is seen
            if why := find_holds(run.project_id, [run]).get(run.pk):
                return build_refusal(again, f"{why}; its points are gone")
            record_purge(actor, again)
            LoggedModel.objects.filter(source_run=run).delete()
            Run.objects.filter(pk=run.pk).delete()
    except ProtectedError:
        return build_refusal(again, "something came to cite it while it went; its points are gone")
    return again


def delete_metric_rows(table: Any, metric: Metric, order: str) -> None:
    """Delete the rows of a metric in batches, each in its own transaction."""
    rows = table.objects.filter(metric=metric).order_by(order, "pk").values_list("pk", flat=True)
    while part := list(rows[:POINTS]):
        table.objects.filter(pk__in=part).delete()


def record_purge(actor: Actor, decision: PurgeDecision) -> None:
    run = decision.run
    files = list(RunArtifact.objects.filter(run=run).order_by("path").values_list("path", "artifact_id")[:NAMED])
    before = {
        "name": run.name,
        "experiment": run.experiment.name,
        "deleted_at": run.deleted_at,
        "points": decision.points,
        "files": decision.files,
        "bytes": decision.bytes,
    }
    digests = {"metrics": run.metrics_digest, "code": run.code_digest, "spec": run.spec_digest}
    digests |= {f"artifact {path}": digest for path, digest in files}
    record(actor=actor, action="run.purge", obj=run, before=before, digests=digests)


def build_refusal(decision: PurgeDecision, why: str) -> PurgeDecision:
    return PurgeDecision(decision.run, decision.points, decision.files, decision.bytes, why)


# -- logged models --------------------------------------------------------------------------------------------------
def purge_models(actor: Actor, project: Project, cutoff: datetime, report: PurgeReport, dry_run: bool) -> None:
    """Remove the logged models that were deleted by themselves; `report` is told of those that went, and that stay."""
    every = list(list_standalone_models(project, cutoff).values_list("pk", flat=True))
    for start in range(0, len(every), TOGETHER):
        part = list_standalone_models(project, cutoff).in_bulk(every[start : start + TOGETHER])
        why = find_standalone_reasons(project.pk, part)
        for pk, model in part.items():
            files, size = sum_model_sizes([pk])
            reason = why.get(pk, "") if dry_run or pk in why else purge_model(actor, model, cutoff)
            if reason:
                report.kept += 1
                report.models_kept[pk] = reason
                continue
            report.models.append(pk)
            report.files, report.bytes = report.files + files, report.bytes + size


def purge_model(actor: Actor, model: LoggedModel, cutoff: datetime) -> str:
    """Remove a logged model; why it stayed after all, if it did."""
    try:
        with transaction.atomic():
            rows = LoggedModel.objects.select_for_update(of=("self",)).select_related("experiment")
            locked = rows.filter(pk=model.pk, deleted_at__lt=cutoff).first()
            if locked is None:
                return "another purge removed it"
            if why := find_standalone_reasons(model.project_id, {model.pk: locked}):
                return why[model.pk]
            files = LoggedModelArtifact.objects.filter(model=locked).order_by("path")
            digests = {f"artifact {path}": digest for path, digest in files.values_list("path", "artifact_id")[:NAMED]}
            before = {"name": locked.name, "deleted_at": locked.deleted_at}
            record(actor=actor, action="logged_model.purge", obj=locked, before=before, digests=digests)
            LoggedModel.objects.filter(pk=model.pk).delete()
    except ProtectedError:
        return "something came to cite it"
    return ""


# -- experiments ----------------------------------------------------------------------------------------------------
def purge_experiment(actor: Actor, experiment: Experiment, cutoff: datetime) -> bool:
    """Remove an experiment without runs; False where it was restored meanwhile, or something came to need it."""
    try:
        with transaction.atomic():
            locked = Experiment.objects.select_for_update().filter(pk=experiment.pk, deleted_at__lt=cutoff).first()
            list(LoggedModel.objects.select_for_update().filter(experiment=experiment))
            if locked is None or not is_empty(locked):
                return False
            before = {"name": experiment.name, "number": experiment.number, "deleted_at": experiment.deleted_at}
            record(actor=actor, action="experiment.purge", obj=experiment, before=before)
            LoggedModel.objects.filter(experiment=experiment).delete()
            Experiment.objects.filter(pk=experiment.pk).delete()
    except ProtectedError:
        return False
    return True
