"""What the tabs about evaluations show: a metric over versions, gates, and one version's figures slice by slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Case, Exists, OuterRef, Q, When
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.data.datasets.new_job.choices import format_table_label, list_latest_tables
from apps.ml.registry.evaluations import queries as evaluation_queries
from apps.ml.registry.evaluations.comparison import range_of
from apps.ml.registry.evaluations.prediction_notes import giver_of, sentence_of, words_of_two
from apps.ml.registry.evaluations.sets import reference
from apps.ml.registry.gates.verdicts import Judged, Known, gates_of, judge, refusal
from apps.ml.registry.models import Evaluation, EvaluationSet, Gate, Model, ModelVersion, ModelVersionQuerySet, Variant
from apps.ml.registry.states import GATE_COLOURS, LET_THROUGH, PRODUCTION
from deepseek.evaluate.spec import METRICS, EvaluateSpec, metrics_of

BARS = 24  # versions and variants that are drawn, the newest; what is in production is drawn beside them
VERSIONS_OFFERED = 100  # to compare with, the newest; an older one is named by REST
SETS_TOLD = 20  # whose table the form of predictions links
EXAMPLES = {  # of the columns that predictions have
    "classification": "prediction,p_no,p_yes\nyes,0.13,0.87\nno,0.91,0.09",
    "regression": "prediction\n57.31\n58.02",
    "forecast": "row,prediction\n61,57.31\n62,58.02",
    "ranking": "prediction\n0.87\n0.09",
}
SHOWN = ("accuracy", "f1_macro", "auc", "rmse", "mae", "r2", "map", "mrr")  # beside the primary one, in the table


def measurable(model: Model) -> ModelVersionQuerySet:
    """Versions that can be measured, the newest first: there still, and with a form that the plane can run, or
    registered by a client, whose predictions are measured."""
    forms = Q(Exists(Variant.objects.filter(version=OuterRef("pk")))) | ~Q(source="")
    return ModelVersion.objects.filter(forms, model=model, deleted_at=None).order_by("-number")


def newest_version(model: Model) -> ModelVersion | None:
    """The newest that says what it does, else the newest of all: sets are offered that fit it."""
    says = Case(When(task="", then=0), default=1)
    return measurable(model).order_by(says.desc(), "-number").select_related("model__project").first()


# -- a model --------------------------------------------------------------------------------------------------------
def baselines_context(
    actor: Actor,
    model: Model,
    query: Mapping[str, str],
    production: int | None,
    refused_gate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The tab of a model: sets that fit it, one of them drawn over its versions, its gates, and the forms.

    The form of a gate is filled with what was refused, or from the gate that `gate` of the query or the set and the
    metric name."""
    newest = newest_version(model)
    gates = gates_of(model.pk)
    sets = evaluation_queries.sets_for(actor, model, newest, gates)
    asked = refused_gate or query
    edited = next((gate for gate in gates if str(gate.pk) == asked.get("gate") and gate.set in sets), None)
    deciding = [edited] if edited else gates
    wanted = asked.get("set") or next((reference(gate.set) for gate in deciding), "")  # what decides, unless asked
    chosen = next((one for one in sets if reference(one) == wanted), next(iter(sets), None))
    known = list(metrics_of(chosen.task, EvaluateSpec(**chosen.spec))) if chosen else []
    metric = asked.get("metric", edited.metric if edited else "")
    metric = metric if metric in known else chosen.primary_metric if chosen else ""
    lines = evaluation_queries.over_versions(actor, model, chosen, production) if chosen else []
    found = [(number, one) for line in lines for number, one in line.points]
    found.sort(key=lambda pair: (-pair[0], pair[1].variant_id or 0))
    may_set = is_allowed(actor, "gate.set", model)
    named = [gate for gate in gates if (gate.set, gate.metric, gate.variant) == (chosen, metric, "")]
    form = refused_gate or gate_form_of(chosen, metric, edited or next(iter(named), None))
    against = "" if form.get("field") == "baseline" else form.get("baseline", "")
    return {
        "sets": [{"ref": reference(one), "row": one} for one in sets],
        "chosen": chosen,
        "chosen_ref": reference(chosen) if chosen else "",
        "metric": metric,
        "known": known,
        "filters": filters_of(sets, chosen, known, metric),
        "chart": chart_of(found, metric, production),
        "columns": (columns := columns_of(found, metric)),
        "rows": [row_of(number, one, columns, production) for number, one in found],
        "gates": [{"row": gate, "ref": reference(gate.set), "fits": gate.set in sets} for gate in gates],
        "gate_form": form,
        "offered": versions_offered(model, against) if may_set and sets else [],
        "most_offered": VERSIONS_OFFERED,
        "tasks": list(METRICS),
        "newest": newest,
        "tables": [
            (str(file.version_id), format_table_label(file)) for file in list_latest_tables(actor, model.project)
        ],
        "may_set": may_set,
        "may_make": is_allowed(actor, "evaluation_set.create", model),
    }


def gate_form_of(on: EvaluationSet | None, metric: str, gate: Gate | None) -> dict[str, Any]:
    """What the form of a gate begins with, as it is typed: what this gate asks for, or what a new one would."""
    found = {"set": reference(on) if on else "", "metric": metric, "baseline": PRODUCTION}
    if gate is None:
        return found | {"gate": "", "variant": "", "margin": "0", "confidence": "95", "guard_slices": ""}
    return found | {
        "gate": gate.pk,
        "variant": gate.variant,
        "baseline": str(gate.baseline.number) if gate.baseline else PRODUCTION,
        "margin": repr(gate.margin).removesuffix(".0"),
        "confidence": f"{100 * gate.confidence:.12g}",
        "guard_slices": "true" if gate.guard_slices else "",
    }


def versions_offered(model: Model, chosen: str) -> list[str]:
    """Numbers of versions to compare with: the newest, and behind them the one that is chosen, however old."""
    numbers = [str(number) for number in measurable(model).values_list("number", flat=True)[:VERSIONS_OFFERED]]
    lacks = chosen.isascii() and chosen.isdigit() and chosen not in numbers
    return [*numbers, chosen] if lacks else numbers


def filters_of(
    sets: Sequence[EvaluationSet], chosen: EvaluationSet | None, known: Sequence[str], metric: str
) -> list[dict[str, Any]]:
    if chosen is None:
        return []
    choices = [(reference(one), reference(one)) for one in sets]
    return [
        {"name": "set", "label": _("Evaluation set"), "value": reference(chosen), "choices": choices},
        {"name": "metric", "label": _("Metric"), "value": metric, "choices": [(name, name) for name in known]},
    ]


def chart_of(found: Sequence[tuple[int, Evaluation]], metric: str, production: int | None) -> dict[str, Any] | None:
    """Bars with intervals, oldest version first; that of production stands out."""
    bars = []
    drawn = [*found[:BARS], *(pair for pair in found[BARS:] if pair[0] == production)]
    for number, one in sorted(drawn, key=lambda pair: (pair[0], pair[1].variant_id or 0)):
        told = evaluation_queries.metric_of(one.metrics, metric)
        if told is not None:
            bars.append({"label": f"v{number} {one.form}", "best": number == production, **told})
    return {"bars": bars, "unit": metric, "head": _("Version"), "id": "baselines"} if bars else None


def columns_of(found: Sequence[tuple[int, Evaluation]], metric: str) -> list[str]:
    there = {told["name"] for _number, one in found for told in one.metrics}
    return [metric, *(name for name in SHOWN if name in there and name != metric)][:5] if metric else []


def row_of(number: int, one: Evaluation, columns: Iterable[str], production: int | None) -> dict[str, Any]:
    cells = [evaluation_queries.metric_of(one.metrics, name) for name in columns]
    return {"number": number, "evaluation": one, "cells": cells, "in_production": number == production}


# -- a version ------------------------------------------------------------------------------------------------------
def evaluations_context(actor: Actor, version: ModelVersion, query: Mapping[str, str], known: Known) -> dict[str, Any]:
    """The tab of a version: what gates say, its evaluations, and one of them whole."""
    gates = gates_of(version.model_id)
    found = in_order(evaluation_queries.evaluations_of(actor, version))
    sets, gated = evaluation_queries.sets_for(actor, version.model, version, gates), {gate.set_id for gate in gates}
    sets.sort(key=lambda one: one.pk not in gated)  # first what decides; of a client's version any set may fit
    asked = query.get("evaluation", "")
    chosen = next((one for one in found if str(one.pk) == asked), next(iter(found), None))
    return {
        "judged": [judged_row(version, one) for one in judge(version, gates, known=known)],
        "verdicts": evaluation_queries.verdicts_of(actor, version),
        "evaluations": [{"row": one, "ref": reference(one.set), "told": primary_of(one)} for one in found],
        "shown": whole_of(evaluation_queries.get_evaluation(actor, version.model.project, chosen.pk))
        if chosen
        else None,
        "sets": [reference(one) for one in sets],
        "may_evaluate": is_allowed(actor, "job.submit", version.model),
        **(asked_of_predictions(sets) if version.by_client else {}),
    }


def asked_of_predictions(sets: Sequence[EvaluationSet]) -> dict[str, Any]:
    """What the form of predictions tells: the tables to predict, and what the columns look like, by task."""
    tasks = {one.task for one in sets}
    return {
        "to_predict": [{"ref": reference(one), "row": one} for one in sets[:SETS_TOLD]],
        "examples": [{"task": task, "text": EXAMPLES[task]} for task in sorted(tasks) if task in EXAMPLES],
        "asks_horizon": "forecast" in tasks,
    }


def in_order(found: Sequence[Evaluation]) -> list[Evaluation]:
    """The set that was measured last first, and of each set the form that was trained: gates are about that one."""
    newest: dict[int, int] = {}
    for one in found:
        newest[one.set_id] = max(one.pk, newest.get(one.set_id, 0))
    return sorted(found, key=lambda one: (-newest[one.set_id], one.variant_id or 0))


def primary_of(one: Evaluation) -> Mapping[str, Any] | None:
    return evaluation_queries.metric_of(one.metrics, one.set.primary_metric)


def judged_row(version: ModelVersion, one: Judged) -> dict[str, Any]:
    """A gate on the page: the verdict in words, the interval beside the margin, and the way out."""
    said, gate = one.said, one.gate
    floor = -gate.margin if gate.better == "higher" else gate.margin
    ends = [{"value": end} for end in (said.low, said.high, said.difference, floor, 0.0) if end is not None]
    return {
        "gate": gate,
        "ref": reference(gate.set),
        "said": said,
        "against": one.against,
        "predicted": words_of_two(
            giver_of(one.candidate), giver_of(one.baseline), one.against.number if one.against else None
        ),
        "state": GATE_COLOURS.get(one.state, "failed"),
        "word": one.word,
        "blocks": one.state not in LET_THROUGH,
        "floor": floor,
        "at_least": gate.better == "higher",
        "scale": range_of(ends),
        "way_out": "" if one.lets_through else refusal(version, one)["hint"],
    }


def whole_of(one: Evaluation) -> dict[str, Any]:
    """One evaluation, its slices by the primary metric, its calibration as a line beside the diagonal."""
    told, primary = evaluation_queries.document_of(one), one.set.primary_metric
    named = {str(metric["name"]): metric for metric in told["metrics"]}
    slices = [{**part, "metric": evaluation_queries.metric_of(part["metrics"], primary)} for part in told["slices"]]
    scale = range_of([named.get(primary), *(part["metric"] for part in slices)]) if primary in named else (0.0, 1.0)
    return {
        "row": one,
        "ref": reference(one.set),
        "told": told,
        "primary": primary,
        "predicted": sentence_of(one),
        "whole": named.get(primary),
        "slices": slices,
        "scale": scale,
        "calibration": calibration_of(told["calibration"]),
    }


def calibration_of(bins: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How often the model was right against how sure it was, in per cent; on the diagonal it is calibrated."""
    if not bins:
        return None
    held = [(100 * one["confidence"], 100 * one["accuracy"]) for one in bins]
    return {
        "id": "calibration",
        "series": [
            {"label": _("right"), "points": held},
            {"label": _("ideal"), "points": [(x, x) for x, _y in held]},
        ],
        "x_unit": _("sureness, %"),
        "y_unit": _("right, %"),
        "holding": (0, 100),
        "small": True,
    }
