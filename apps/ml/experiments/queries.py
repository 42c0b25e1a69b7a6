"""Reads of runs shared by pages and REST: lists, one run, its points, comparisons; all bounded."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, Q, QuerySet, When

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import MAX_INT32, parse_int, validate_choice
from apps.ml.experiments.filters import grammar
from apps.ml.experiments.filters.grammar import FilterError, parse
from apps.ml.experiments.filters.runs import build_filter_expression, find_few_runs
from apps.ml.experiments.filters.vocabularies import RUNS
from apps.ml.experiments.keys import NOTE_TAG
from apps.ml.experiments.metrics.series import SYSTEM, is_system
from apps.ml.experiments.models import (
    Experiment,
    ExperimentQuerySet,
    Metric,
    MetricBatch,
    MetricPoint,
    Run,
    RunArtifact,
    RunDataset,
    RunModel,
    RunParam,
    RunQuerySet,
    RunTag,
)
from apps.ml.experiments.services import ingest_batches
from apps.ml.experiments.services.annotations import TAGS_LIMIT
from apps.ml.experiments.states import RunState
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS
from deepseek.messages import N_, Message

RUN_ID = re.compile(r"[0-9a-f]{32}")
FILTERS = ("status", "kind", "experiment", "name", "deleted", "filter")
DELETED = ("", "only", "all")  # runs that are there, those that are deleted, both
FILTER_LIMIT = 2000  # characters
COMPARED_RUNS_LIMITS = (2, 20)  # runs side by side: twenty lines have twenty signs
MAX_COLUMNS = 8  # metrics, and params, that a list shows
MAX_COMPARED_ROWS = 500  # params, and metrics, that a comparison shows
MAX_PARAMS = 2000  # params that are read of a run
MAX_ARTIFACTS = 1000  # artifacts that are told of a run beside everything else
MAX_USED = 100  # datasets, and models, of a run that its page shows
MAX_CSV_KEYS = 20  # metrics of one CSV file
POINTS_PER_READ = 5000
BY_METRIC = "metrics."
SOURCE_TAGS = tuple(f"mlflow.source.{name}" for name in ("name", "type", "git.commit", "git.branch", "git.repoURL"))
"""Tags by which MLflow's clients tell the code of a run."""


# -- lists ----------------------------------------------------------------------------------------------------------
def list_experiments(actor: Actor, project: Project, deleted: str = "") -> ExperimentQuerySet:
    """The experiments of a project, to be paged by `-number`; `deleted` as in Asked."""
    policy.require(actor, "run.view", project)
    validate_choice("deleted", deleted, DELETED)
    return (
        Experiment.objects.visible_to(actor).filter(build_deleted_filter(deleted), project=project).order_by("-number")
    )


def build_deleted_filter(deleted: str, prefix: str = "") -> Q:
    """The condition of one of DELETED."""
    return Q() if deleted == "all" else Q(**{f"{prefix}deleted_at__isnull": not deleted})


@dataclass(frozen=True, slots=True)
class RunFilters:
    """What narrows a list of runs, as a query says it; empty does not narrow."""

    status: str = ""
    kind: str = ""
    experiment: str = ""  # its number
    name: str = ""  # a part of it
    deleted: str = ""  # of DELETED
    filter: str = ""  # in MLflow's filter language

    def check(self) -> None:
        """Raise Invalid for what does not exist: an empty list would look like an answer."""
        validate_choice("status", self.status, RunState.values)
        validate_choice("deleted", self.deleted, DELETED)
        self.parse_filter()
        validate_choice("kind", self.kind, [kind for kind in KINDS if KINDS[kind].tracked])
        if self.experiment and parse_int(self.experiment, 0, MAX_INT32) is None:
            raise Invalid(
                "{experiment!r} is no number of an experiment.",
                experiment=self.experiment[:40],
                field="experiment",
                limit="a whole number",
                hint=N_("GET experiments lists them."),
            )

    def parse_filter(self) -> tuple[grammar.Comparison, ...]:
        """What the filter says. Raises FilterError, which knows the place of a mistake."""
        text = self.filter.strip()
        if len(text) > FILTER_LIMIT:
            raise FilterError(
                Message(
                    "The filter has {count} characters; {filter_limit} are read.",
                    count=len(text),
                    filter_limit=FILTER_LIMIT,
                ),
                end=len(text),
            )
        return parse(text, RUNS)

    def filter_rows(self, rows: QuerySet[Any], project: Project, prefix: str = "") -> QuerySet[Any]:
        """The rows whose run, at `prefix`, fits. The table of runs stands in the query by its own name.

        One query where there is a filter: whether one of its comparisons leaves few runs.
        """
        rows = rows.filter(self.build_condition(prefix))
        comparisons = self.parse_filter()
        few = find_few_runs(project.pk, comparisons) if comparisons else None
        if few is not None:
            rows = rows.filter(**{f"{prefix}pk__in": few})
        # A name is never null: the condition makes the join that the filter's SQL needs.
        return (
            rows.filter(build_filter_expression(comparisons), **{f"{prefix}name__isnull": False})
            if comparisons
            else rows
        )

    def build_condition(self, prefix: str = "") -> Q:
        """The condition on runs, or on what stands at `prefix` of them."""
        lookups = {"state": self.status, "kind": self.kind, "name__icontains": self.name.replace("\x00", "")}
        if self.experiment:
            lookups["experiment__number"] = self.experiment
        condition = Q(**{f"{prefix}{lookup}": value for lookup, value in lookups.items() if value})
        return condition & build_deleted_filter(self.deleted, prefix)


def list_runs(actor: Actor, project: Project, filters: RunFilters) -> RunQuerySet:
    """The runs of a project that match, to be paged by `started_at` and `id`."""
    policy.require(actor, "run.view", project)
    filters.check()
    if any(comparison.kind == grammar.METRIC for comparison in filters.parse_filter()):
        ingest_for_filters(project, filters)
    runs: RunQuerySet = filters.filter_rows(Run.objects.visible_to(actor).filter(project=project), project)  # type: ignore[assignment]
    return runs.select_related("experiment").defer("environment")


def list_by_metric(actor: Actor, project: Project, filters: RunFilters, key: str) -> QuerySet[Metric]:
    """The newest values of one metric with their runs, to be paged by `value` and `run_id`.

    Runs that do not have it, or for which it is no number, have no place in this order.
    """
    policy.require(actor, "run.view", project)
    filters.check()
    ingest_for_filters(project, filters)
    metrics = filters.filter_rows(Metric.objects.filter(project=project, key=key, is_nan=False), project, "run__")
    if not actor.plane_role:
        metrics = metrics.filter(project_id__in=actor.project_ids)
    return metrics.select_related("run__experiment").defer("run__environment")


def parse_order(sort: str) -> tuple[str, bool]:
    """(the metric to order by, or "" for the start; whether downwards). Raises Invalid for another order."""
    down, name = sort.startswith("-"), sort.removeprefix("-")
    if name in ("", "started"):
        return "", down or not name
    if name.startswith(BY_METRIC) and 0 < len(name) - len(BY_METRIC) <= 250 and "\x00" not in name:
        return name.removeprefix(BY_METRIC), down
    raise Invalid(
        "{sort!r} is no order.",
        sort=sort[:60],
        field="sort",
        limit="started, metrics.<key>, with - in front for downwards",
        hint=N_("For instance sort=-metrics.test/accuracy."),
    )


def get_page_order(key: str, down: bool) -> tuple[str, ...]:
    """Return the page order, for apps.core.lists.pages, of what `parse_order` returned."""
    names = ("value", "run_id") if key else ("started_at", "id")
    return tuple(f"-{name}" for name in names) if down else names


@dataclass(slots=True)
class Columns:
    """What a list shows beside its runs: the metrics that most of them have, and the params in which they differ."""

    metrics: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    values: dict[str, dict[str, Metric]] = field(default_factory=dict)  # run -> key -> metric
    given: dict[str, dict[str, str]] = field(default_factory=dict)  # run -> key -> param
    tag_keys: list[str] | None = None  # the first keys of their tags; None: not read
    unread: list[str] = field(default_factory=list)  # metrics that were asked for, beyond MAX_COLUMNS


def build_columns(
    runs: Sequence[Run], *, first: Iterable[str] = (), chosen: Sequence[str] = (), params: bool = True
) -> Columns:
    """The columns for these runs, the metrics `first` and the params `chosen` among them; three queries, however many
    runs, and one where clients keep some of them."""
    keys = [run.pk for run in runs]
    if not keys:
        return Columns()
    ingest_for_runs(runs)
    metrics = Metric.objects.filter(run__in=keys).exclude(
        key__startswith=SYSTEM
    )  # the machine's are there for who asks
    counted = metrics.values("key").annotate(count=Count("pk")).order_by("-count", "key")
    columns = Columns(
        metrics=list(dict.fromkeys([*first, *sort_by_preference([row["key"] for row in counted[:100]])]))[:MAX_COLUMNS]
    )
    values: dict[str, dict[str, Metric]] = defaultdict(dict)
    for metric in Metric.objects.filter(run__in=keys, key__in=columns.metrics):
        values[metric.run_id][metric.key] = metric
    columns.values = dict(values)
    if params:
        param_values: dict[str, dict[str, str]] = defaultdict(dict)
        is_column = Q(key__in=select_differing_params(keys))
        is_column = is_column | Q(key__in=chosen) if chosen else is_column
        for param in RunParam.objects.filter(is_column, run__in=keys):
            param_values[param.run_id][param.key] = param.value
        columns.given = dict(param_values)
        columns.params = sorted({key for run_params in param_values.values() for key in run_params})
    return columns


def sort_by_preference(keys: Iterable[str]) -> list[str]:
    """What was measured on held-out rows comes first, then losses, the baseline and the machine last; else the order
    stays.
    """
    return sorted(
        keys,
        key=lambda key: (is_system(key), not key.startswith("test/"), not is_loss(key), key.startswith("baseline/")),
    )


def is_loss(key: str) -> bool:
    return "loss" in key.lower()


def select_differing_params(runs: Sequence[str]) -> QuerySet[RunParam, str]:
    """The params whose values are not the same in all of these runs that have them."""
    counted = RunParam.objects.filter(run__in=runs).values("key").annotate(values=Count("value", distinct=True))
    keys: QuerySet[RunParam, str] = counted.filter(values__gt=1).order_by("key").values_list("key", flat=True)
    return keys[:MAX_COLUMNS]


# -- one run --------------------------------------------------------------------------------------------------------
def get_run(actor: Actor, project: Project, run_id: str) -> Run:
    """The run with its experiment and job; NotFound if there is none or `actor` may not see it."""
    policy.require(actor, "run.view", project)
    visible = Run.objects.visible_to(actor).filter(project=project).select_related("experiment", "job", "project")
    run = visible.filter(pk=run_id).first() if RUN_ID.fullmatch(run_id) else None
    if run is None:
        raise NotFound("This project has no run {run_id!r}.", run_id=run_id[:40], field="id")
    ingest_for_runs([run])
    return run


def ingest_for_runs(runs: Iterable[Run]) -> None:
    """What clients sent to those of these runs that they keep; a job's are written at once."""
    if client_runs := [run.pk for run in runs if run.job_id is None]:
        ingest_batches(run_ids=client_runs)


def ingest_for_filters(project: Project, filters: RunFilters) -> None:
    """What clients sent to the experiments that are asked for; one query where nothing waits."""
    waiting = MetricBatch.objects.filter(experiment__project=project)
    if filters.experiment:
        waiting = waiting.filter(experiment__number=filters.experiment)
    if waiting.exists():
        ingest_batches(experiment_ids=list(waiting.values_list("experiment_id", flat=True).distinct()))


def get_metric(actor: Actor, run: Run, key: str) -> Metric:
    """One metric of the run, or NotFound."""
    policy.require(actor, "run.view", run)
    metric = Metric.objects.filter(run=run, key=key).first() if "\x00" not in key else None
    if metric is None:
        raise NotFound(
            "Run {run_pk} has no metric {key!r}.",
            run_pk=run.pk,
            key=key[:60],
            field="key",
            hint=N_("List the metrics of the run."),
        )
    return metric


def list_metrics(actor: Actor, run: Run) -> QuerySet[Metric]:
    """The metrics of a run, to be paged by `key`."""
    policy.require(actor, "run.view", run)
    return Metric.objects.filter(run=run)


def split_metrics(actor: Actor, run: Run, limit: int) -> tuple[list[Metric], list[Metric]]:
    """(what the run measured, what its machine did), each by key and at most so many; one query."""
    metrics = list_metrics(actor, run).order_by("key")
    of_machine = Q(key__startswith=SYSTEM)
    parts = (metrics.exclude(of_machine), metrics.filter(of_machine))
    first, second = (Q(pk__in=part.values("pk")[:limit]) for part in parts)
    rows = list(metrics.filter(first | second))
    return [row for row in rows if not is_system(row.key)], [row for row in rows if is_system(row.key)]


def list_datasets(actor: Actor, run: Run) -> list[RunDataset]:
    """What a client says the run read, by name, USED at most; without schema and profile."""
    policy.require(actor, "run.view", run)
    return list(RunDataset.objects.filter(run=run).defer("schema", "profile").order_by("name", "digest")[:MAX_USED])


def list_models(actor: Actor, run: Run) -> list[RunModel]:
    """The logged models that the run read or made, USED at most."""
    policy.require(actor, "run.view", run)
    models = RunModel.objects.filter(run=run, model__deleted_at__isnull=True).select_related("model")
    return list(models.order_by("direction", "step", "id")[:MAX_USED])


def list_tags(actor: Actor, run: Run) -> list[RunTag]:
    """The tags of a run by their keys, the note not among them."""
    return get_note_and_tags(actor, run)[1]


def get_note_and_tags(actor: Actor, run: Run) -> tuple[str, list[RunTag]]:
    """(the note of a run, in Markdown, empty for none; its other tags by their keys, TAGS_LIMIT at most); one query."""
    policy.require(actor, "run.view", run)
    note_first = Case(When(key=NOTE_TAG, then=0), default=1)
    tags = list(RunTag.objects.filter(run=run).order_by(note_first, "key")[: TAGS_LIMIT + 1])
    note = tags.pop(0).value if tags and tags[0].key == NOTE_TAG else ""
    return note, tags[:TAGS_LIMIT]


def get_note(actor: Actor, run: Run) -> str:
    """The note of a run, in Markdown; empty for none."""
    policy.require(actor, "run.view", run)
    return RunTag.objects.filter(run=run, key=NOTE_TAG).values_list("value", flat=True).first() or ""


def list_params(actor: Actor, run: Run) -> list[RunParam]:
    """The params of a run by their keys, PARAMS at most."""
    policy.require(actor, "run.view", run)
    return list(RunParam.objects.filter(run=run).order_by("key")[:MAX_PARAMS])


def list_artifacts(actor: Actor, run: Run) -> QuerySet[RunArtifact]:
    """The artifacts of a run, to be paged by `path`."""
    policy.require(actor, "run.view", run)
    return RunArtifact.objects.filter(run=run)


def list_first_artifacts(actor: Actor, run: Run, limit: int) -> tuple[list[RunArtifact], bool]:
    """(the first artifacts of a run by their paths, whether there are more); one query."""
    artifacts = list(list_artifacts(actor, run).order_by("path")[: limit + 1])
    return artifacts[:limit], len(artifacts) > limit


def list_named_metrics(actor: Actor, project: Project, ids: Sequence[str], keys: Sequence[str]) -> list[Metric]:
    """Those of these metrics that these runs have, by run and key. Invalid for too many of either."""
    policy.require(actor, "run.view", project)
    for field_name, values, limit in (("ids", ids, COMPARED_RUNS_LIMITS[1]), ("key", keys, MAX_CSV_KEYS)):
        if len(values) > limit:
            raise Invalid(
                "{count} are named.", count=len(values), field=field_name, limit=limit, hint=N_("Ask for fewer.")
            )
    runs = Run.objects.visible_to(actor).filter(
        project=project, pk__in=[run_id for run_id in ids if RUN_ID.fullmatch(run_id)]
    )
    ingest_for_runs(runs.only("job_id"))
    storable_keys = [key for key in keys if "\x00" not in key]
    return list(Metric.objects.filter(run__in=runs, key__in=storable_keys).order_by("run_id", "key"))


def iter_point_batches(metric: Metric) -> Iterator[list[tuple[int, float, datetime]]]:
    """Every (step, value, at) of a metric by step, in batches; between two no cursor and no transaction is open."""
    points = MetricPoint.objects.filter(metric=metric).order_by("step", "id")
    rows, after_cursor = points.values_list("step", "id", "value", "is_nan", "at"), Q()
    while batch := list(rows.filter(after_cursor)[:POINTS_PER_READ]):
        yield [(step, math.nan if is_nan else value, at) for step, _id, value, is_nan, at in batch]
        last_step, last_id = batch[-1][:2]
        # The bound on the step is said once more by itself: planners walk an index by it, an OR they scan.
        after_cursor = Q(step__gte=last_step) & (Q(step__gt=last_step) | Q(id__gt=last_id))


# -- several runs ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One param or metric across the compared runs, in their order; None where a run does not have it."""

    key: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True, slots=True)
class RunComparison:
    runs: list[Run]
    params: list[ComparedRow]
    metrics: list[ComparedRow]  # values are Metric rows
    truncated: bool  # a run has more params or metrics than are compared


def compare_runs(actor: Actor, project: Project, ids: Sequence[str]) -> RunComparison:
    """These runs side by side, in the order asked for; three queries.

    Raises Invalid for fewer than two or more than twenty, NotFound for one that is not there.
    """
    policy.require(actor, "run.view", project)
    run_ids = list(dict.fromkeys(ids))
    low, high = COMPARED_RUNS_LIMITS
    if not low <= len(run_ids) <= high:
        raise Invalid(
            "{count} runs are named.",
            count=len(run_ids),
            field="ids",
            limit=f"{low} to {high} runs",
            hint=N_("Name each of them once."),
        )
    visible = Run.objects.visible_to(actor).filter(project=project).select_related("experiment", "job")
    runs_by_id = visible.in_bulk([run_id for run_id in run_ids if RUN_ID.fullmatch(run_id)])
    if missing := [run_id for run_id in run_ids if run_id not in runs_by_id]:
        raise NotFound("This project has no run {missing!r}.", missing=missing[0][:40], field="ids")
    ingest_for_runs(runs_by_id.values())
    params = list(RunParam.objects.filter(run__in=run_ids).order_by("key")[: MAX_COMPARED_ROWS * high])
    metrics = list(Metric.objects.filter(run__in=run_ids).order_by("key")[: MAX_COMPARED_ROWS * high])
    return RunComparison(
        [runs_by_id[run_id] for run_id in run_ids],
        align_rows(run_ids, ((param.run_id, param.key, param.value) for param in params)),
        align_rows(run_ids, ((metric.run_id, metric.key, metric) for metric in metrics)),
        truncated=max(len(params), len(metrics)) == MAX_COMPARED_ROWS * high,
    )


def align_rows(runs: Sequence[str], cells: Iterable[tuple[str, str, Any]]) -> list[ComparedRow]:
    rows: dict[str, dict[str, Any]] = defaultdict(dict)
    for run, key, value in cells:
        rows[key][run] = value
    return [ComparedRow(key, [by_run.get(run) for run in runs]) for key, by_run in sorted(rows.items())]


def get_source_tags(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """{run: its tags of SOURCE_TAGS} of runs that were read for somebody; one query."""
    by_run: dict[str, dict[str, str]] = defaultdict(dict)
    for tag in RunTag.objects.filter(run__in=[run.pk for run in runs], key__in=SOURCE_TAGS):
        by_run[tag.run_id][tag.key] = tag.value[:500]
    return dict(by_run)


def parse_run_ids(values: Iterable[str]) -> list[str]:
    """Run ids as a query has them: repeated, or one text with commas."""
    return [part.strip() for text in values for part in text.split(",") if part.strip()][: COMPARED_RUNS_LIMITS[1] + 1]
