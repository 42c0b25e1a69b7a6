"""What pages and REST read of evaluations: sets, what was measured on them, a metric over the versions of a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, Q

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.ml.registry.evaluation_models import EvaluationQuerySet, EvaluationSetQuerySet
from apps.ml.registry.evaluations.sets import find_set
from apps.ml.registry.models import Evaluation, EvaluationSet, Gate, GateVerdict, Model, ModelVersion
from apps.platform.accounts.models import Project

MAX_VERSIONS_PLOTTED = 50  # the newest
MAX_SETS = 100
MAX_VERDICTS = 50
MAX_EVALUATIONS = 200  # of one version, or on one set


def list_sets(actor: Actor, project: Project, *, superseded: bool = False) -> EvaluationSetQuerySet:
    """The sets of the project, the current revision of each unless `superseded` asks for all. Page them by `-id`."""
    policy.require(actor, "model.view", project)
    rows = EvaluationSet.objects.visible_to(actor).filter(project=project)
    rows = rows if superseded else rows.filter(superseded_at=None)
    return rows.select_related("dataset_version__dataset").order_by("-pk")


def get_set(actor: Actor, project: Project, set_name: str) -> EvaluationSet:
    """A set by its name, or one revision by name-r2; NotFound if there is none."""
    policy.require(actor, "model.view", project)
    return find_set(project, set_name)


def list_fitting_sets(
    actor: Actor, model: Model, version: ModelVersion | None, gates: Iterable[Gate]
) -> list[EvaluationSet]:
    """The sets that fit a version: of its task and its target; and the older revisions that a gate still asks for.

    `gates` are those that the model has now."""
    if version is None:
        return []
    rows = list_sets(actor, model.project)
    tasks = [version.task, *(["ranking"] if version.task in ("classification", "regression") else [])]
    if version.task:  # else a client registered it, and the set says what it does
        rows = rows.filter(task__in=tasks, target=version.target)
    sets = list(rows[:MAX_SETS])
    gated = {gate.set_id: gate.set for gate in gates if gate.set.superseded_at is not None}
    return sets + [evaluation_set for evaluation_set in gated.values() if evaluation_set not in sets]


def list_newest_evaluations(actor: Actor, version: ModelVersion) -> list[Evaluation]:
    """The newest evaluation of each variant of the version on each set, newest first, without the documents."""
    policy.require(actor, "model.view", version)
    return select_newest(Evaluation.objects.visible_to(actor).filter(version=version))


def list_evaluations(actor: Actor, version: ModelVersion) -> EvaluationQuerySet:
    """Every evaluation of a version, without the documents. Page them by `-id`."""
    policy.require(actor, "model.view", version)
    rows = Evaluation.objects.visible_to(actor).filter(version=version)
    return rows.select_related("set__project", "version__model", "variant").defer("document", "version__document")


def get_newest_predictions(version: ModelVersion) -> Evaluation | None:
    """The newest evaluation of a version that a client registered, without its document; None for any other version."""
    if not version.by_client:
        return None
    return Evaluation.objects.filter(version=version).select_related("set").defer("document").order_by("-pk").first()


def select_newest(rows: EvaluationQuerySet) -> list[Evaluation]:
    """The newest of each variant and set among these rows, newest first: one query."""
    last = rows.order_by().values("version", "variant", "set").annotate(newest=Max("pk")).values("newest")
    related = ("set__project", "set__dataset_version__dataset", "version__model", "variant")
    evaluations = Evaluation.objects.filter(pk__in=last).select_related(*related)
    return list(evaluations.defer("document", "version__document").order_by("-pk")[:MAX_EVALUATIONS])


def get_evaluation(actor: Actor, project: Project, pk: int) -> Evaluation:
    """An evaluation with its document, or NotFound."""
    policy.require(actor, "model.view", project)
    rows = Evaluation.objects.visible_to(actor).select_related("set__project", "version__model", "variant")
    evaluation = rows.filter(pk=pk, set__project=project).first() if pk < 2**63 else None
    if evaluation is None:
        raise NotFound("This project has no evaluation {pk}.", pk=pk, field="evaluation")
    return evaluation


def parse_document(evaluation: Evaluation) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(evaluation.document)
    return document


def list_verdicts(actor: Actor, version: ModelVersion) -> list[GateVerdict]:
    """What gates have said when the promotion of this version was asked for, newest first."""
    policy.require(actor, "model.view", version)
    rows = version.gate_verdicts.select_related("gate__set", "candidate", "baseline__version")
    return list(rows.defer("candidate__document", "baseline__document").order_by("-pk")[:MAX_VERDICTS])


# -- over versions --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class MetricLine:
    """One variant, or predictions, on one set, version by version.

    `points` are (number of the version, evaluation), oldest first.
    """

    variant: str
    points: Sequence[tuple[int, Evaluation]]


def list_metric_lines(actor: Actor, model: Model, on: EvaluationSet, production: int | None = None) -> list[MetricLine]:
    """What the newest versions of a model, and the one in production, measured on the set, by variant: two queries."""
    policy.require(actor, "model.view", model)
    since = max(0, model.versions_count - MAX_VERSIONS_PLOTTED)
    plotted = Q(version__number__gt=since) | Q(version__number=production)
    rows = Evaluation.objects.visible_to(actor).filter(plotted, set=on, version__model=model)
    points_by_form: dict[str, list[tuple[int, Evaluation]]] = {}
    for evaluation in sorted(select_newest(rows), key=lambda evaluation: evaluation.version.number):
        points_by_form.setdefault(evaluation.form, []).append((evaluation.version.number, evaluation))
    return [MetricLine(name, points) for name, points in points_by_form.items()]


def find_metric(metrics: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((metric for metric in metrics if metric["name"] == name), None)
