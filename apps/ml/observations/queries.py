"""What pages, rollouts and monitors read of observations: sources, and the figures of a period. None reads rows.

    figures = get_period_figures(actor, project, Period(since, until), source="wti", model="wti-forecaster", version=3)
    figures.accuracy          # Estimate(value, low, high, count) or None: a classification
    figures.absolute_error    # likewise: a regression
    figures.predictions, figures.labelled, figures.labelled_share, figures.error_rate

`list_figures` gives the same by hour, version, variant or source. A period covers whole hours: it begins with the hour
of `since` and ends before the hour of `until`, unless that is a part of an hour, which is then counted whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.db.models import Count, Exists, Max, OuterRef, Sum
from django.db.models.functions import TruncDay

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import validate_choice
from apps.ml.observations.models import (
    ClassCount,
    HourFigures,
    HourFiguresQuerySet,
    Label,
    ObservationSource,
    ObservationSourceQuerySet,
    Task,
)
from apps.platform.accounts.models import Project
from deepseek.drift.estimates import Estimate, estimate_mean, estimate_share
from deepseek.messages import N_
from deepseek.observations.spec import FIRST_YEAR, LAST_YEAR, check_year

MAX_GROUPS = 2_000  # that one answer lists
SUMS = (
    "predictions",
    "labelled",
    "scored",
    "correct",
    "error_sum",
    "error_square_sum",
    "bias_sum",
    "latency_count",
    "latency_us_sum",
)
GROUPINGS = {
    "hour": ("hour",),
    "day": ("day",),  # of UTC
    "version": ("version__model__name", "version__number"),
    "variant": ("variant",),
    "source": ("source__name",),
    "hour_version": ("hour", "version__model__name", "version__number"),
    "day_version": ("day", "version__model__name", "version__number"),
}


@dataclass(frozen=True, slots=True)
class Period:
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was counted of one group."""

    predictions: int = 0
    labelled: int = 0
    scored: int = 0
    correct: int = 0
    error_sum: float = 0.0
    error_square_sum: float = 0.0
    bias_sum: float = 0.0
    latency_count: int = 0
    latency_us_sum: int = 0
    latency_us_max: int = 0
    is_classification: bool = False
    is_regression: bool = False

    @property
    def labelled_share(self) -> float | None:
        return self.labelled / self.predictions if self.predictions else None

    @property
    def accuracy(self) -> Estimate | None:
        """The share of labelled predictions that were right, with Wilson's interval."""
        return estimate_share(self.correct, self.scored) if self.is_classification and self.scored else None

    @property
    def error_rate(self) -> float | None:
        accuracy = self.accuracy
        return None if accuracy is None else (self.scored - self.correct) / self.scored

    @property
    def absolute_error(self) -> Estimate | None:
        """The mean absolute error, with Student's interval; of one row alone there is none."""
        if not self.is_regression or not self.scored:
            return None
        estimate = estimate_mean(self.scored, self.error_sum, self.error_square_sum)
        return estimate if estimate.low is None else replace(estimate, low=max(0.0, estimate.low))

    @property
    def rmse(self) -> float | None:
        return math.sqrt(self.error_square_sum / self.scored) if self.is_regression and self.scored else None

    @property
    def bias(self) -> float | None:
        """The mean of answer minus label."""
        return self.bias_sum / self.scored if self.is_regression and self.scored else None

    @property
    def latency_ms(self) -> float | None:
        return self.latency_us_sum / self.latency_count / 1000 if self.latency_count else None

    @property
    def latency_ms_max(self) -> float | None:
        return self.latency_us_max / 1000 if self.latency_count else None

    @property
    def quality(self) -> Estimate | None:
        """The accuracy or the mean absolute error, whichever the task has."""
        return self.accuracy or self.absolute_error


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one group, and what it is of; what it is not grouped by is None."""

    figures: Figures
    hour: datetime | None = None  # or the start of the day
    model: str | None = None
    version: int | None = None
    variant: str | None = None
    source: str | None = None


# -- sources --------------------------------------------------------------------------------------------------------
def list_sources(
    actor: Actor, project: Project, *, kind: str = "", name: str = "", model: str = ""
) -> ObservationSourceQuerySet:
    """The sources of a project; those from which a model has answered, where one is named."""
    policy.require(actor, "observation.view", project)
    validate_choice("kind", kind, ("endpoint", "device"))
    rows = ObservationSource.objects.visible_to(actor).filter(project=project)
    narrow = {"kind": kind, "name__icontains": name}
    if model:
        rows = rows.filter(Exists(HourFigures.objects.filter(source=OuterRef("pk"), version__model__name=model)))
    return rows.filter(**{field: value for field, value in narrow.items() if value})


def get_source(actor: Actor, project: Project, name: str) -> ObservationSource:
    policy.require(actor, "observation.view", project)
    return find_source(actor, project, name)


def get_recording_source(actor: Actor, project: Project, name: str) -> ObservationSource:
    """The source of a batch, for a token that may record and not read."""
    policy.require(actor, "observation.record", project)
    return find_source(actor, project, name)


def find_source(actor: Actor, project: Project, name: str) -> ObservationSource:
    rows = ObservationSource.objects.visible_to(actor).select_related("project")
    source = rows.filter(project=project, name=name).first()
    if source is None:
        raise NotFound(
            "This project has no observation source {name!r}.",
            name=name[:60],
            code="source_unknown",
            field="/source",
            hint=N_("Create it first: POST .../observations/sources."),
        )
    return source


def count_waiting_labels(actor: Actor, source: ObservationSource) -> int:
    """Labels whose prediction has not come."""
    policy.require(actor, "observation.view", source)
    return Label.objects.filter(source=source, joined=False).count()


# -- figures --------------------------------------------------------------------------------------------------------
def get_period_figures(
    actor: Actor,
    project: Project,
    period: Period,
    *,
    source: str = "",
    model: str = "",
    version: int | None = None,
    variant: str = "",
    shadow: bool = False,
) -> Figures:
    """The figures of a period as one. Sources of different tasks are not added up: name a source, or a model."""
    rows = filter_figures(actor, project, period, source, model, version, variant, shadow)
    tasks = set(rows.order_by().values_list("source__task", flat=True).distinct())
    values = rows.aggregate(**build_sums())
    return build_figures(values, tasks)


def list_figures(
    actor: Actor,
    project: Project,
    period: Period,
    *,
    by: str,
    source: str = "",
    model: str = "",
    version: int | None = None,
    variant: str = "",
    shadow: bool = False,
) -> list[Group]:
    """The figures of a period by one of GROUPINGS, in that order; MAX_GROUPS at most."""
    validate_choice("by", by, GROUPINGS, required=True)
    rows = filter_figures(actor, project, period, source, model, version, variant, shadow)
    fields = GROUPINGS[by]
    if "day" in fields:
        rows = rows.annotate(day=TruncDay("hour", tzinfo=UTC))
    grouped = (
        rows.order_by(*fields).values(*fields).annotate(**build_sums(), tasks=Count("source__task", distinct=True))
    )
    groups = list(grouped.annotate(task=Max("source__task"))[: MAX_GROUPS + 1])
    if len(groups) > MAX_GROUPS:
        raise Invalid(
            "The period has more than {most} groups.",
            most=MAX_GROUPS,
            code="too_many_groups",
            field="until",
            limit=MAX_GROUPS,
            hint=N_("Choose a shorter period."),
        )
    return [
        Group(
            build_figures(row, {row["task"]} if row["tasks"] == 1 else set()),
            hour=row.get("hour") or row.get("day"),
            model=row.get("version__model__name"),
            version=row.get("version__number"),
            variant=row.get("variant"),
            source=row.get("source__name"),
        )
        for row in groups
    ]


def get_figures_of_sources(
    actor: Actor, project: Project, period: Period, source_ids: Sequence[int]
) -> dict[int, Figures]:
    """{source: its figures}, shadow left out; for a page of a list."""
    rows = filter_figures(actor, project, period, "", "", None, "", False).filter(source__in=source_ids)
    grouped = rows.order_by().values("source_id").annotate(**build_sums(), task=Max("source__task"))
    return {row["source_id"]: build_figures(dict(row), {row["task"]}) for row in grouped}


def list_class_counts(
    actor: Actor, project: Project, period: Period, *, most: int = 50, **narrow: Any
) -> list[dict[str, Any]]:
    """[{name, predicted, labelled, correct}] of a classification, the class predicted most often first."""
    options = {"source": "", "model": "", "version": None, "variant": "", "shadow": False} | narrow
    rows = ClassCount.objects.filter(figures__in=filter_figures(actor, project, period, **options))
    grouped = rows.values("name").annotate(
        all_predicted=Sum("predicted"), all_labelled=Sum("labelled"), all_correct=Sum("correct")
    )
    return [
        {
            "name": row["name"],
            "predicted": row["all_predicted"],
            "labelled": row["all_labelled"],
            "correct": row["all_correct"],
        }
        for row in grouped.order_by("-all_predicted", "name")[:most]
    ]


def list_versions(actor: Actor, source: ObservationSource) -> list[tuple[str, int]]:
    """(model, version) of everything that has answered from a source, newest first."""
    policy.require(actor, "observation.view", source)
    rows = HourFigures.objects.filter(source=source).order_by("version__model__name", "-version__number")
    return list(rows.values_list("version__model__name", "version__number").distinct()[:200])


def filter_figures(
    actor: Actor,
    project: Project,
    period: Period,
    source: str,
    model: str,
    version: int | None,
    variant: str,
    shadow: bool,
) -> HourFiguresQuerySet:
    policy.require(actor, "observation.view", project)
    check_period(period)
    rows = HourFigures.objects.visible_to(actor).filter(
        source__project=project, hour__gt=period.since - timedelta(hours=1), hour__lt=period.until, is_shadow=shadow
    )
    narrow = {
        "source__name": source,
        "version__model__name": model,
        "version__number": version,
        "variant": variant,
    }
    return rows.filter(**{field: value for field, value in narrow.items() if value})


def check_period(period: Period) -> None:
    if period.since >= period.until:
        raise Invalid(
            "The period ends at {until}, not after its start, {since}.",
            until=period.until.isoformat(),
            since=period.since.isoformat(),
            code="bad_period",
            field="until",
            limit="after since",
        )


def build_sums() -> dict[str, Any]:
    return {**{f"all_{name}": Sum(name) for name in SUMS}, "all_latency_us_max": Max("latency_us_max")}


def build_figures(values: dict[str, Any], tasks: Iterable[str]) -> Figures:
    numbers = {name: values[f"all_{name}"] or 0 for name in (*SUMS, "latency_us_max")}
    return Figures(
        **numbers, is_classification=set(tasks) == {Task.CLASSIFICATION}, is_regression=set(tasks) == {Task.REGRESSION}
    )


def parse_time(text: str, field: str, default_zone: tzinfo = UTC) -> datetime:
    """An ISO 8601 time or date, in `default_zone` where it has no offset. Raises Invalid for anything else."""
    try:
        at = datetime.fromisoformat(text)
        check_year(at)
    except ValueError:  # a spec error is one too
        raise Invalid(
            "{text!r} is no time.",
            text=text[:40],
            code="bad_time",
            field=field,
            limit=f"2026-01-31T08:00:00+00:00 or 2026-01-31, of the years {FIRST_YEAR} to {LAST_YEAR}",
            hint=N_("Write it as ISO 8601 has it."),
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=default_zone)
