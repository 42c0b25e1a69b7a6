"""What the gates of a model say of one of its versions now, and the refusal of a promotion that they forbid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.db.models import Max
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.ml.registry.evaluations.sets import format_set_reference
from apps.ml.registry.gates import replicates
from apps.ml.registry.gates.criteria import GateCriteria, GateOutcome, SliceLoss, decide_outcome
from apps.ml.registry.models import PREDICTIONS, Alias, Evaluation, Gate, GateVerdict, ModelVersion, Variant
from apps.ml.registry.states import LET_THROUGH, PRODUCTION, GateState
from apps.platform.artifacts.services import Damaged
from apps.platform.audit import services as audit
from apps.platform.jobs.provenance import resolve_requester
from deepseek.messages import Message

Reads = Callable[[str], Mapping[replicates.Key, Any]]
VERDICT_CACHE_SECONDS = 7 * 86_400  # equal evaluations at one gate never give another verdict


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate, what it said, and the two evaluations that it compared."""

    gate: Gate
    outcome: GateOutcome
    candidate: Evaluation | None
    baseline: Evaluation | None
    against: ModelVersion | None  # the version that is the baseline
    may_evaluate_baseline: bool  # it has a form that the plane can run, or takes predictions
    is_baseline: bool  # the version itself is what others are compared with

    @property
    def state(self) -> GateState:
        return self.outcome.state

    @property
    def lets_through(self) -> bool:
        return self.state in LET_THROUGH

    @property
    def word(self) -> str:
        return _("It is the baseline itself") if self.is_baseline and self.lets_through else str(self.state.label)


@dataclass(frozen=True, slots=True)
class VersionPageData:
    """What a page has read already: the version in production, and the forms of versions by their keys."""

    production: ModelVersion | None
    forms: Mapping[int, Sequence[Variant]]


def list_gates(model_id: int) -> list[Gate]:
    """The gates that a model has now, oldest first."""
    rows = Gate.objects.filter(model=model_id, removed_at=None)
    return list(
        rows.select_related("set__project", "set__dataset_version__dataset", "baseline__model", "model").order_by("pk")
    )


def evaluate_gates(
    version: ModelVersion,
    gates: Sequence[Gate] | None = None,
    *,
    fresh: bool = False,
    page_data: VersionPageData | None = None,
) -> list[GateResult]:
    """What each gate of the version's model says of it: five queries, however many there are, and fewer with what is
    `page_data`. `fresh` reads the replicates again, whatever is remembered."""
    checked_gates = list_gates(version.model_id) if gates is None else gates
    if not checked_gates:
        return []
    production = page_data.production if page_data else get_production_version(version)
    against = {gate.pk: gate.baseline or production for gate in checked_gates}
    looked_at = {version.pk, *(version_row.pk for version_row in against.values() if version_row is not None)}
    forms = (
        {pk: sorted(variants, key=lambda form: form.pk) for pk, variants in page_data.forms.items()}
        if page_data
        else {}
    )
    if missing := looked_at - set(forms):
        for form in Variant.objects.filter(version__in=missing).order_by("pk"):
            forms.setdefault(form.version_id, []).append(form)
    read = lru_cache(maxsize=4)(replicates.read_replicates)  # gates on one set read the same two files
    newest = load_newest_evaluations(looked_at, checked_gates)

    def find_side(of: ModelVersion, gate: Gate) -> tuple[bool, Evaluation | None]:
        """Whether it has the form that the gate asks for, and what that measured last. A version that a client
        registered has no form, and is measured by its predictions."""
        variant_keys = [form.pk for form in forms.get(of.pk, []) if gate.variant in ("", form.name)]
        if of.by_client and gate.variant in ("", PREDICTIONS):
            return True, newest.get((of.pk, None, gate.set_id))
        return bool(variant_keys), newest.get((of.pk, variant_keys[0], gate.set_id)) if variant_keys else None

    sides = []
    for gate in checked_gates:
        baseline_version = against[gate.pk]
        sides.append(
            (
                gate,
                baseline_version,
                find_side(version, gate),
                find_side(baseline_version, gate) if baseline_version is not None else (False, None),
            )
        )
    cached = {} if fresh else load_cached_outcomes((gate, mine[1], theirs[1]) for gate, _other, mine, theirs in sides)
    results = []
    for gate, baseline_version, (mine, candidate), (theirs, baseline) in sides:
        itself = baseline_version is not None and baseline_version.pk == version.pk
        if not mine:
            outcome = GateOutcome(GateState.NO_VARIANT)
        elif candidate is None:
            outcome = GateOutcome(GateState.NOT_EVALUATED)
        elif baseline_version is None or itself:
            outcome, baseline_version, baseline = GateOutcome(GateState.NO_BASELINE), None, None
        elif baseline is None:
            outcome = GateOutcome(GateState.BASELINE_NOT_EVALUATED)
        else:
            outcome = compare_evaluations(gate, candidate, baseline, read, cached)
        results.append(GateResult(gate, outcome, candidate, baseline, baseline_version, theirs, itself))
    return results


def load_newest_evaluations(
    versions: Iterable[int], gates: Sequence[Gate]
) -> dict[tuple[int, int | None, int], Evaluation]:
    """The newest evaluation of each form of these versions (None: of predictions) on each set that a gate asks for,
    without the documents."""
    rows = Evaluation.objects.filter(version__in=versions, set__in=[gate.set_id for gate in gates])
    last = rows.order_by().values("version", "variant", "set").annotate(newest=Max("pk")).values("newest")
    evaluations = Evaluation.objects.filter(pk__in=last).select_related("set", "variant").defer("document")
    return {(evaluation.version_id, evaluation.variant_id, evaluation.set_id): evaluation for evaluation in evaluations}


def get_production_version(version: ModelVersion) -> ModelVersion | None:
    """The version of the same model that is in production."""
    alias = Alias.objects.select_related("version__model").filter(model=version.model_id, name=PRODUCTION).first()
    return alias.version if alias else None


def build_cache_key(gate: Gate, candidate: Evaluation, baseline: Evaluation) -> str:
    """By which a verdict is remembered."""
    return f"gate-2:{gate.pk}:{candidate.replicates_id}:{baseline.replicates_id}"


def load_cached_outcomes(pairs: Iterable[tuple[Gate, Evaluation | None, Evaluation | None]]) -> dict[str, Any]:
    """What is remembered of these; one query, however many."""
    keys = [
        build_cache_key(gate, mine, theirs) for gate, mine, theirs in pairs if mine is not None and theirs is not None
    ]
    return cache.get_many(keys) if keys else {}


def compare_evaluations(
    gate: Gate, candidate: Evaluation, baseline: Evaluation, read: Reads, cached: Mapping[str, Any]
) -> GateOutcome:
    """The verdict on two evaluations, remembered: it follows from their bytes and the gate, which never change."""
    if candidate.pairing != baseline.pairing:
        why = Message(
            "{mine:,} rows of the candidate and {theirs:,} of the baseline are not the same, or were drawn otherwise.",
            mine=candidate.rows,
            theirs=baseline.rows,
        )
        return GateOutcome(GateState.NOT_COMPARABLE, why=why)
    key = build_cache_key(gate, candidate, baseline)
    if key in cached:
        return parse_outcome(cached[key])
    criteria = GateCriteria(
        metric=gate.metric,
        better=gate.better,
        margin=gate.margin,
        confidence=gate.confidence,
        guard_slices=gate.guard_slices,
    )
    try:
        outcome = decide_outcome(criteria, read(candidate.replicates_id), read(baseline.replicates_id))
    except Damaged as error:
        return GateOutcome(GateState.NOT_COMPARABLE, why=error.message)
    cache.set(key, outcome.as_dict(), VERDICT_CACHE_SECONDS)
    return outcome


def parse_outcome(fields: Mapping[str, Any]) -> GateOutcome:
    worst = fields["worst"]
    return GateOutcome(
        **{**fields, "state": GateState(fields["state"]), "worst": SliceLoss(**worst) if worst else None}
    )


# -- facts ----------------------------------------------------------------------------------------------------------
def build_gate_facts(results: Iterable[GateResult]) -> dict[str, Any]:
    """What an approver sees of the gates, by name so that a difference has a path."""
    return {
        " ".join(filter(None, (format_set_reference(result.gate.set), result.gate.metric, result.gate.variant))): {
            "set": format_set_reference(result.gate.set),
            "metric": result.gate.metric,
            "better": result.gate.better,
            "variant": result.gate.variant,
            "margin": result.gate.margin,
            "confidence": result.gate.confidence,
            "guard_slices": result.gate.guard_slices,
            "set_by": result.gate.set_by,
            "against": result.against.number if result.against else None,
            "candidate": result.candidate.artifact_id if result.candidate else None,
            "baseline": result.baseline.artifact_id if result.baseline else None,
            **describe_predictions_used(result),
            **result.outcome.as_dict(),
        }
        for result in results
    }


def describe_predictions_used(result: GateResult) -> dict[str, Any]:
    """Which of the two were measured by predictions, who gave those, their digest, and how many rows were measured;
    nothing where neither was."""
    return {
        f"{name}_predictions": {
            "by": evaluation.created_by,
            "sha256": evaluation.predictions_id,
            "rows": evaluation.rows,
        }
        for name, evaluation in (("candidate", result.candidate), ("baseline", result.baseline))
        if evaluation is not None and evaluation.by_predictions
    }


# -- the gate before a promotion ------------------------------------------------------------------------------------
def record_and_require_gates(actor: Actor, version: ModelVersion) -> list[GateResult]:
    """Evaluate the gates and record each verdict; Conflict with every gate that does not let the version through."""
    results = evaluate_gates(version, fresh=True)
    with transaction.atomic():
        for result in results:
            record_verdict(actor, version, result)
    errors = [build_refusal(version, result) for result in results if not result.lets_through]
    if errors:
        first = errors[0]
        raise Conflict(
            first["message"], code=first["code"], field="gates", limit=first["limit"], hint=first["hint"], errors=errors
        )
    return results


def record_verdict(actor: Actor, version: ModelVersion, result: GateResult) -> GateVerdict:
    verdict = GateVerdict.objects.create(
        gate=result.gate,
        version=version,
        candidate=result.candidate,
        baseline=result.baseline,
        verdict=result.state,
        difference=result.outcome.difference,
        low=result.outcome.low,
        high=result.outcome.high,
        worst=result.outcome.as_dict()["worst"],
        asked_by=resolve_requester(actor),
    )
    audit.record(
        actor=actor,
        action="gate.judge",
        obj=version,
        after={
            "gate": result.gate.pk,
            "set": format_set_reference(result.gate.set),
            "metric": result.gate.metric,
            "verdict": result.state,
        },
        digests={
            name: evaluation.artifact_id
            for name, evaluation in (("candidate", result.candidate), ("baseline", result.baseline))
            if evaluation is not None
        },
    )
    return verdict


def build_refusal(version: ModelVersion, result: GateResult) -> dict[str, Any]:
    """Which gate, what it found, what it allows, and what to do."""
    gate, outcome, against = result.gate, result.outcome, result.against
    where = Message("The gate on {reference}, {metric}", reference=format_set_reference(gate.set), metric=gate.metric)
    limit = f"not worse than v{against.number} by more than {gate.margin:g}" if against else None
    common: dict[str, Any] = {"field": "gates", "limit": limit}
    match outcome.state:
        case GateState.FAIL if against is not None:
            message = Message(
                "{where}: {version} is worse than v{against_number}. {found_words}",
                where=where,
                version=version,
                against_number=against.number,
                found_words=describe_difference(result),
            )
            hint = Message("Train a better version, or have an approver set another margin.")
            return {"code": "gate_failed", "message": message, **common, "hint": hint}
        case GateState.NOT_EVALUATED:
            message = Message("{where}: {version} was not evaluated on it.", where=where, version=version)
            hint = Message("Evaluate it first: {call}", call=format_evaluation_call(version, gate))
            return {"code": "gate_not_evaluated", "message": message, **common, "hint": hint}
        case GateState.BASELINE_NOT_EVALUATED if against is not None:
            message = Message(
                "{where}: v{number}, the baseline, was not evaluated on it.", where=where, number=against.number
            )
            advice = describe_baseline_remedy(result, against)
            return {"code": "gate_baseline_not_evaluated", "message": message, **common, "hint": advice}
        case GateState.NO_VARIANT:
            form = Message("variant {variant}", variant=gate.variant) if gate.variant else Message("form")
            message = Message(
                "{where}: {version} has no {form} that the plane can evaluate.", where=where, version=version, form=form
            )
            hint = Message("Register a version whose forms were made here, or have an approver lift the gate.")
            return {"code": "gate_no_variant", "message": message, **common, "hint": hint}
    message = Message("{where}: the two cannot be compared. {why}", where=where, why=outcome.why)
    hint = Message(
        "Evaluate both again; for forecasts with different lags make a revision of the set with "
        "a first_row. Forecasts that look ahead of different numbers of rows do not compare."
    )
    if describe_predictions_used(result):
        hint = Message(
            "Predict the rows that the other was measured on, no more and no fewer; of classes, with "
            "a column p_<class> for each that the other knows."
        )
    return {"code": "gate_not_comparable", "message": message, **common, "hint": hint}


def describe_baseline_remedy(result: GateResult, against: ModelVersion) -> str:
    """What to do about a baseline without figures: evaluate it, if there is a form to evaluate."""
    if result.may_evaluate_baseline:
        return Message("Evaluate it first: {call}", call=format_evaluation_call(against, result.gate))
    return Message(
        "It has no form that the plane can evaluate: have an approver name another baseline, or lift the gate."
    )


def describe_difference(result: GateResult) -> str:
    """The difference with its interval and margin; a slice where that is what failed."""
    gate, outcome = result.gate, result.outcome
    message = Message(
        "The difference is {difference:.4g} ({low:.4g} to {high:.4g}, {confidence:.0%} interval, "
        "{better} is better), the margin {margin:g}.",
        difference=outcome.difference,
        low=outcome.low,
        high=outcome.high,
        confidence=gate.confidence,
        better=gate.better,
        margin=gate.margin,
    )
    if gate.guard_slices and outcome.worst and outcome.worst.worse:
        worst = outcome.worst
        return Message(
            "{told} Worst of {slices} slices: {column} {worst_value}, {difference:.4g} ({low:.4g} to "
            "{high:.4g}; p {corrected:.3g} after Holm's correction).",
            told=message,
            slices=outcome.slices,
            column=worst.column,
            worst_value=worst.value,
            difference=worst.difference,
            low=worst.low,
            high=worst.high,
            corrected=worst.corrected,
        )
    return message


def format_evaluation_call(version: ModelVersion, gate: Gate) -> str:
    """The REST call that evaluates a version on the set of the gate."""
    where = [gate.set.project.slug, version.model.name, version.number]
    address = reverse("api-version-evaluations", args=where)
    if version.by_client:
        return Message(
            'POST {address} {{"set": "{reference}", "predictions": "SHA-256 of what it predicts"}}',
            address=address,
            reference=format_set_reference(gate.set),
        )
    variant = Message(', "variant": "{variant}"', variant=gate.variant) if gate.variant else ""
    return Message(
        'POST {address} {{"set": "{reference}"{variant}}}',
        address=address,
        reference=format_set_reference(gate.set),
        variant=variant,
    )
