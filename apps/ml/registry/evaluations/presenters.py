"""What the tabs about evaluations show: a metric over versions, gates, and one version's figures slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Case, Exists, OuterRef, Q, When
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.core.request_values import parse_int
from apps.ml.registry.evaluations import queries as evaluation_queries
from apps.ml.registry.evaluations.comparison import compute_range
from apps.ml.registry.evaluations.gate_form import GateForm
from apps.ml.registry.evaluations.prediction_notes import (
    describe_compared_predictions,
    describe_evaluation_predictions,
    get_prediction_giver,
)
from apps.ml.registry.evaluations.set_form import EvaluationSetForm
from apps.ml.registry.evaluations.sets import format_set_reference
from apps.ml.registry.gates.verdicts import GateResult, VersionPageData, build_refusal, evaluate_gates, list_gates
from apps.ml.registry.models import Evaluation, EvaluationSet, Gate, Model, ModelVersion, ModelVersionQuerySet, Variant
from apps.ml.registry.states import GATE_COLOURS, LET_THROUGH, PRODUCTION
from deepseek.evaluate.spec import EvaluateSpec, get_task_metrics

MAX_BARS = 24  # versions and variants that are drawn, the newest; what is in production is drawn beside them
MAX_VERSION_CHOICES = 100  # to compare with, the newest; an older one is named by REST
MAX_LINKED_SETS = 20  # whose table the form of predictions links
EXAMPLES = {  # of the columns that predictions have
    "classification": "prediction,p_no,p_yes\nyes,0.13,0.87\nno,0.91,0.09",
    "regression": "prediction\n57.31\n58.02",
    "forecast": "row,prediction\n61,57.31\n62,58.02",
    "ranking": "prediction\n0.87\n0.09",
}
TABLE_METRICS = (
    "accuracy",
    "f1_macro",
    "auc",
    "rmse",
    "mae",
    "r2",
    "map",
    "mrr",
)  # beside the primary one, in the table


def list_measurable_versions(model: Model) -> ModelVersionQuerySet:
    """Versions that can be measured, the newest first: there still, and with a form that the plane can run, or
    registered by a client, whose predictions are measured."""
    forms = Q(Exists(Variant.objects.filter(version=OuterRef("pk")))) | ~Q(source="")
    return ModelVersion.objects.filter(forms, model=model, deleted_at=None).order_by("-number")


def get_newest_version(model: Model) -> ModelVersion | None:
    """The newest that says what it does, else the newest of all: sets are offered that fit it."""
    says = Case(When(task="", then=0), default=1)
    return list_measurable_versions(model).order_by(says.desc(), "-number").select_related("model__project").first()


# -- a model --------------------------------------------------------------------------------------------------------
def build_baselines_context(
    actor: Actor,
    model: Model,
    query: Mapping[str, str],
    production: int | None,
    refused_gate: Mapping[str, Any] | None = None,
    set_form: EvaluationSetForm | None = None,
) -> dict[str, Any]:
    """The tab of a model: sets that fit it, one of them drawn over its versions, its gates, and the forms.

    The form of a gate is filled with what was refused, or from the gate that `gate` of the query or the set and the
    metric name."""
    newest = get_newest_version(model)
    gates = list_gates(model.pk)
    sets = evaluation_queries.list_fitting_sets(actor, model, newest, gates)
    form_input = refused_gate or query
    edited = next((gate for gate in gates if str(gate.pk) == form_input.get("gate") and gate.set in sets), None)
    deciding = [edited] if edited else gates
    set_name = form_input.get("set") or next(
        (format_set_reference(gate.set) for gate in deciding), ""
    )  # what decides, unless asked
    chosen = next((item for item in sets if format_set_reference(item) == set_name), next(iter(sets), None))
    metric_names = list(get_task_metrics(chosen.task, EvaluateSpec(**chosen.spec))) if chosen else []
    metric = form_input.get("metric", edited.metric if edited else "")
    metric = metric if metric in metric_names else chosen.primary_metric if chosen else ""
    lines = evaluation_queries.list_metric_lines(actor, model, chosen, production) if chosen else []
    points = [(number, item) for line in lines for number, item in line.points]
    points.sort(key=lambda pair: (-pair[0], pair[1].variant_id or 0))
    may_set = is_allowed(actor, "gate.set", model)
    matching_gates = [gate for gate in gates if (gate.set, gate.metric, gate.variant) == (chosen, metric, "")]
    form = refused_gate or build_gate_form(chosen, metric, edited or next(iter(matching_gates), None))
    against = "" if form.get("field") == "baseline" else form.get("baseline", "")
    offered = list_version_choices(model, against) if may_set and sets else []
    return {
        "sets": [{"ref": format_set_reference(item), "row": item} for item in sets],
        "chosen": chosen,
        "chosen_ref": format_set_reference(chosen) if chosen else "",
        "metric": metric,
        "filters": build_filters(sets, chosen, metric_names, metric),
        "chart": build_chart(points, metric, production),
        "columns": (columns := choose_columns(points, metric)),
        "rows": [build_row(number, item, columns, production) for number, item in points],
        "gates": [{"row": gate, "ref": format_set_reference(gate.set), "fits": gate.set in sets} for gate in gates],
        "gate_form": GateForm(
            form,
            sets=[format_set_reference(item) for item in sets],
            metrics=metric_names,
            versions=offered,
            versions_limit=describe_versions_limit(len(offered)),
        ),
        "newest": newest,
        "set_form": set_form or EvaluationSetForm(actor, model.project, newest),
        "may_set": may_set,
        "may_make": is_allowed(actor, "evaluation_set.create", model),
    }


def build_gate_form(on: EvaluationSet | None, metric: str, gate: Gate | None) -> dict[str, Any]:
    """What the form of a gate begins with, as it is typed: what this gate asks for, or what a new one would."""
    fields = {"set": format_set_reference(on) if on else "", "metric": metric, "baseline": PRODUCTION}
    if gate is None:
        return fields | {"gate": "", "variant": "", "margin": "0", "confidence": "95", "guard_slices": ""}
    return fields | {
        "gate": gate.pk,
        "variant": gate.variant,
        "baseline": str(gate.baseline.number) if gate.baseline else PRODUCTION,
        "margin": repr(gate.margin).removesuffix(".0"),
        "confidence": f"{100 * gate.confidence:.12g}",
        "guard_slices": "true" if gate.guard_slices else "",
    }


def describe_versions_limit(count: int) -> str:
    """What to say where the list of versions to compare with is cut; "" where it is whole."""
    if count < MAX_VERSION_CHOICES:
        return ""
    return _("The newest %(n)s versions; by REST any other.") % {"n": MAX_VERSION_CHOICES}


def list_version_choices(model: Model, chosen: str) -> list[str]:
    """Numbers of versions to compare with: the newest, and behind them the one that is chosen, however old."""
    numbers = [
        str(number) for number in list_measurable_versions(model).values_list("number", flat=True)[:MAX_VERSION_CHOICES]
    ]
    lacks = parse_int(chosen) is not None and chosen not in numbers
    return [*numbers, chosen] if lacks else numbers


def build_filters(
    sets: Sequence[EvaluationSet], chosen: EvaluationSet | None, metric_names: Sequence[str], metric: str
) -> list[dict[str, Any]]:
    if chosen is None:
        return []
    choices = [(format_set_reference(evaluation_set), format_set_reference(evaluation_set)) for evaluation_set in sets]
    return [
        {"name": "set", "label": _("Evaluation set"), "value": format_set_reference(chosen), "choices": choices},
        {"name": "metric", "label": _("Metric"), "value": metric, "choices": [(name, name) for name in metric_names]},
    ]


def build_chart(points: Sequence[tuple[int, Evaluation]], metric: str, production: int | None) -> dict[str, Any] | None:
    """Bars with intervals, oldest version first; that of production stands out."""
    bars = []
    charted = [*points[:MAX_BARS], *(pair for pair in points[MAX_BARS:] if pair[0] == production)]
    for number, evaluation in sorted(charted, key=lambda pair: (pair[0], pair[1].variant_id or 0)):
        value = evaluation_queries.find_metric(evaluation.metrics, metric)
        if value is not None:
            bars.append({"label": f"v{number} {evaluation.form}", "best": number == production, **value})
    return {"bars": bars, "unit": metric, "head": _("Version"), "id": "baselines"} if bars else None


def choose_columns(points: Sequence[tuple[int, Evaluation]], metric: str) -> list[str]:
    names = {metric_row["name"] for _number, evaluation in points for metric_row in evaluation.metrics}
    return [metric, *(name for name in TABLE_METRICS if name in names and name != metric)][:5] if metric else []


def build_row(number: int, evaluation: Evaluation, columns: Iterable[str], production: int | None) -> dict[str, Any]:
    cells = [evaluation_queries.find_metric(evaluation.metrics, name) for name in columns]
    return {"number": number, "evaluation": evaluation, "cells": cells, "in_production": number == production}


# -- a version ------------------------------------------------------------------------------------------------------
def build_evaluations_context(
    actor: Actor, version: ModelVersion, query: Mapping[str, str], page_data: VersionPageData
) -> dict[str, Any]:
    """The tab of a version: what gates say, its evaluations, and one of them whole."""
    gates = list_gates(version.model_id)
    evaluations = sort_evaluations(evaluation_queries.list_newest_evaluations(actor, version))
    sets, gated = (
        evaluation_queries.list_fitting_sets(actor, version.model, version, gates),
        {gate.set_id for gate in gates},
    )
    sets.sort(key=lambda item: item.pk not in gated)  # first what decides; of a client's version any set may fit
    requested = query.get("evaluation", "")
    chosen = next((item for item in evaluations if str(item.pk) == requested), next(iter(evaluations), None))
    return {
        "judged": [build_gate_row(version, item) for item in evaluate_gates(version, gates, page_data=page_data)],
        "verdicts": evaluation_queries.list_verdicts(actor, version),
        "evaluations": [
            {"row": item, "ref": format_set_reference(item.set), "told": get_primary_metric(item)}
            for item in evaluations
        ],
        "shown": build_evaluation_detail(evaluation_queries.get_evaluation(actor, version.model.project, chosen.pk))
        if chosen
        else None,
        "sets": [format_set_reference(item) for item in sets],
        "may_evaluate": is_allowed(actor, "job.submit", version.model),
        **(build_prediction_form(sets) if version.by_client else {}),
    }


def build_prediction_form(sets: Sequence[EvaluationSet]) -> dict[str, Any]:
    """What the form of predictions tells: the tables to predict, and what the columns look like, by task."""
    tasks = {evaluation_set.task for evaluation_set in sets}
    return {
        "to_predict": [
            {"ref": format_set_reference(evaluation_set), "row": evaluation_set}
            for evaluation_set in sets[:MAX_LINKED_SETS]
        ],
        "examples": [{"task": task, "text": EXAMPLES[task]} for task in sorted(tasks) if task in EXAMPLES],
        "asks_horizon": "forecast" in tasks,
    }


def sort_evaluations(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The set that was measured last first, and of each set the form that was trained: gates are about that one."""
    newest: dict[int, int] = {}
    for evaluation in evaluations:
        newest[evaluation.set_id] = max(evaluation.pk, newest.get(evaluation.set_id, 0))
    return sorted(evaluations, key=lambda evaluation: (-newest[evaluation.set_id], evaluation.variant_id or 0))


def get_primary_metric(evaluation: Evaluation) -> Mapping[str, Any] | None:
    return evaluation_queries.find_metric(evaluation.metrics, evaluation.set.primary_metric)


def build_gate_row(version: ModelVersion, result: GateResult) -> dict[str, Any]:
    """A gate on the page: the verdict in words, the interval beside the margin, and the way out."""
    outcome, gate = result.outcome, result.gate
    floor = -gate.margin if gate.better == "higher" else gate.margin
    ends = [{"value": end} for end in (outcome.low, outcome.high, outcome.difference, floor, 0.0) if end is not None]
    return {
        "gate": gate,
        "ref": format_set_reference(gate.set),
        "said": outcome,
        "against": result.against,
        "predicted": describe_compared_predictions(
            get_prediction_giver(result.candidate),
            get_prediction_giver(result.baseline),
            result.against.number if result.against else None,
        ),
        "state": GATE_COLOURS.get(result.state, "failed"),
        "word": result.word,
        "blocks": result.state not in LET_THROUGH,
        "floor": floor,
        "at_least": gate.better == "higher",
        "scale": compute_range(ends),
        "way_out": "" if result.lets_through else build_refusal(version, result)["hint"],
    }


def build_evaluation_detail(evaluation: Evaluation) -> dict[str, Any]:
    """One evaluation, its slices by the primary metric, its calibration as a line beside the diagonal."""
    document, primary = evaluation_queries.parse_document(evaluation), evaluation.set.primary_metric
    metrics_by_name = {str(metric["name"]): metric for metric in document["metrics"]}
    slices = [
        {**part, "metric": evaluation_queries.find_metric(part["metrics"], primary)} for part in document["slices"]
    ]
    scale = (
        compute_range([metrics_by_name.get(primary), *(part["metric"] for part in slices)])
        if primary in metrics_by_name
        else (0.0, 1.0)
    )
    return {
        "row": evaluation,
        "ref": format_set_reference(evaluation.set),
        "told": document,
        "primary": primary,
        "predicted": describe_evaluation_predictions(evaluation),
        "whole": metrics_by_name.get(primary),
        "slices": slices,
        "scale": scale,
        "calibration": build_calibration_chart(document["calibration"]),
    }


def build_calibration_chart(bins: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How often the model was right against how sure it was, in per cent; on the diagonal it is calibrated."""
    if not bins:
        return None
    points = [(100 * calibration_bin["confidence"], 100 * calibration_bin["accuracy"]) for calibration_bin in bins]
    return {
        "id": "calibration",
        "series": [
            {"label": _("right"), "points": points},
            {"label": _("ideal"), "points": [(x, x) for x, _y in points]},
        ],
        "x_unit": _("sureness, %"),
        "y_unit": _("right, %"),
        "holding": (0, 100),
        "small": True,
    }
