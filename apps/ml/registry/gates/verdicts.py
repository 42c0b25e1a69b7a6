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
from apps.ml.registry.evaluations.sets import reference
from apps.ml.registry.gates import replicates
from apps.ml.registry.gates.criteria import Bar, Said, SliceLoss, decide
from apps.ml.registry.models import PREDICTIONS, Alias, Evaluation, Gate, GateVerdict, ModelVersion, Variant
from apps.ml.registry.states import LET_THROUGH, PRODUCTION, GateState
from apps.platform.artifacts.services import Damaged
from apps.platform.audit import services as audit
from apps.platform.jobs.provenance import resolve_requester
from deepseek.messages import Message

Reads = Callable[[str], Mapping[replicates.Key, Any]]
KEPT_SECONDS = 7 * 86_400  # equal evaluations at one gate never give another verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """A gate, what it said, and the two evaluations that it compared."""

    gate: Gate
    said: Said
    candidate: Evaluation | None
    baseline: Evaluation | None
    against: ModelVersion | None  # the version that is the baseline
    may_evaluate_baseline: bool  # it has a form that the plane can run, or takes predictions
    is_baseline: bool  # the version itself is what others are compared with

    @property
    def state(self) -> GateState:
        return self.said.state

    @property
    def lets_through(self) -> bool:
        return self.state in LET_THROUGH

    @property
    def word(self) -> str:
        return _("It is the baseline itself") if self.is_baseline and self.lets_through else str(self.state.label)


@dataclass(frozen=True, slots=True)
class Known:
    """What a page has read already: the version in production, and the forms of versions by their keys."""

    production: ModelVersion | None
    forms: Mapping[int, Sequence[Variant]]


def gates_of(model_id: int) -> list[Gate]:
    """The gates that a model has now, oldest first."""
    rows = Gate.objects.filter(model=model_id, removed_at=None)
    return list(
        rows.select_related("set__project", "set__dataset_version__dataset", "baseline__model", "model").order_by("pk")
    )


def judge(
    version: ModelVersion, gates: Sequence[Gate] | None = None, *, fresh: bool = False, known: Known | None = None
) -> list[Judged]:
    """What each gate of the version's model says of it: five queries, however many there are, and fewer with what is
    `known`. `fresh` reads the replicates again, whatever is remembered."""
    asked = gates_of(version.model_id) if gates is None else gates
    if not asked:
        return []
    held = known.production if known else production_of(version)
    against = {gate.pk: gate.baseline or held for gate in asked}
    looked_at = {version.pk, *(one.pk for one in against.values() if one is not None)}
    forms = {pk: sorted(some, key=lambda form: form.pk) for pk, some in known.forms.items()} if known else {}
    if lacking := looked_at - set(forms):
        for form in Variant.objects.filter(version__in=lacking).order_by("pk"):
            forms.setdefault(form.version_id, []).append(form)
    read = lru_cache(maxsize=4)(replicates.read)  # gates on one set read the same two files
    newest = newest_of(looked_at, asked)

    def side(of: ModelVersion, gate: Gate) -> tuple[bool, Evaluation | None]:
        """Whether it has the form that the gate asks for, and what that measured last. A version that a client
        registered has no form, and is measured by its predictions."""
        named = [form.pk for form in forms.get(of.pk, []) if gate.variant in ("", form.name)]
        if of.by_client and gate.variant in ("", PREDICTIONS):
            return True, newest.get((of.pk, None, gate.set_id))
        return bool(named), newest.get((of.pk, named[0], gate.set_id)) if named else None

    sides = []
    for gate in asked:
        other = against[gate.pk]
        sides.append((gate, other, side(version, gate), side(other, gate) if other is not None else (False, None)))
    told = {} if fresh else remembered((gate, mine[1], theirs[1]) for gate, _other, mine, theirs in sides)
    found = []
    for gate, other, (mine, candidate), (theirs, baseline) in sides:
        itself = other is not None and other.pk == version.pk
        if not mine:
            said = Said(GateState.NO_VARIANT)
        elif candidate is None:
            said = Said(GateState.NOT_EVALUATED)
        elif other is None or itself:
            said, other, baseline = Said(GateState.NO_BASELINE), None, None
        elif baseline is None:
            said = Said(GateState.BASELINE_NOT_EVALUATED)
        else:
            said = compared(gate, candidate, baseline, read, told)
        found.append(Judged(gate, said, candidate, baseline, other, theirs, itself))
    return found


def newest_of(versions: Iterable[int], gates: Sequence[Gate]) -> dict[tuple[int, int | None, int], Evaluation]:
    """The newest evaluation of each form of these versions (None: of predictions) on each set that a gate asks for,
    without the documents."""
    rows = Evaluation.objects.filter(version__in=versions, set__in=[gate.set_id for gate in gates])
    last = rows.order_by().values("version", "variant", "set").annotate(newest=Max("pk")).values("newest")
    found = Evaluation.objects.filter(pk__in=last).select_related("set", "variant").defer("document")
    return {(one.version_id, one.variant_id, one.set_id): one for one in found}


def production_of(version: ModelVersion) -> ModelVersion | None:
    """The version of the same model that is in production."""
    held = Alias.objects.select_related("version__model").filter(model=version.model_id, name=PRODUCTION).first()
    return held.version if held else None


def key_of(gate: Gate, candidate: Evaluation, baseline: Evaluation) -> str:
    """By which a verdict is remembered."""
    return f"gate-2:{gate.pk}:{candidate.replicates_id}:{baseline.replicates_id}"


def remembered(pairs: Iterable[tuple[Gate, Evaluation | None, Evaluation | None]]) -> dict[str, Any]:
    """What is remembered of these; one query, however many."""
    keys = [key_of(gate, mine, theirs) for gate, mine, theirs in pairs if mine is not None and theirs is not None]
    return cache.get_many(keys) if keys else {}


def compared(gate: Gate, candidate: Evaluation, baseline: Evaluation, read: Reads, told: Mapping[str, Any]) -> Said:
    """The verdict on two evaluations, remembered: it follows from their bytes and the gate, which never change."""
    if candidate.pairing != baseline.pairing:
        why = Message(
            "{mine:,} rows of the candidate and {theirs:,} of the baseline are not the same, or were drawn otherwise.",
            mine=candidate.rows,
            theirs=baseline.rows,
        )
        return Said(GateState.NOT_COMPARABLE, why=why)
    key = key_of(gate, candidate, baseline)
    if key in told:
        return said_of(told[key])
    bar = Bar(
        metric=gate.metric,
        better=gate.better,
        margin=gate.margin,
        confidence=gate.confidence,
        guard_slices=gate.guard_slices,
    )
    try:
        said = decide(bar, read(candidate.replicates_id), read(baseline.replicates_id))
    except Damaged as error:
        return Said(GateState.NOT_COMPARABLE, why=error.message)
    cache.set(key, said.as_dict(), KEPT_SECONDS)
    return said


def said_of(kept: Mapping[str, Any]) -> Said:
    worst = kept["worst"]
    return Said(**{**kept, "state": GateState(kept["state"]), "worst": SliceLoss(**worst) if worst else None})


# -- facts ----------------------------------------------------------------------------------------------------------
def facts_of_gates(judged: Iterable[Judged]) -> dict[str, Any]:
    """What an approver sees of the gates, by name so that a difference has a path."""
    return {
        " ".join(filter(None, (reference(one.gate.set), one.gate.metric, one.gate.variant))): {
            "set": reference(one.gate.set),
            "metric": one.gate.metric,
            "better": one.gate.better,
            "variant": one.gate.variant,
            "margin": one.gate.margin,
            "confidence": one.gate.confidence,
            "guard_slices": one.gate.guard_slices,
            "set_by": one.gate.set_by,
            "against": one.against.number if one.against else None,
            "candidate": one.candidate.artifact_id if one.candidate else None,
            "baseline": one.baseline.artifact_id if one.baseline else None,
            **predictions_told(one),
            **one.said.as_dict(),
        }
        for one in judged
    }


def predictions_told(one: Judged) -> dict[str, Any]:
    """Which of the two were measured by predictions, who gave those, their digest, and how many rows were measured;
    nothing where neither was."""
    return {
        f"{name}_predictions": {"by": found.created_by, "sha256": found.predictions_id, "rows": found.rows}
        for name, found in (("candidate", one.candidate), ("baseline", one.baseline))
        if found is not None and found.by_predictions
    }


# -- the gate before a promotion ------------------------------------------------------------------------------------
def require_gates(actor: Actor, version: ModelVersion) -> list[Judged]:
    """What the gates say, written down; Conflict with every gate that does not let the version through."""
    judged = judge(version, fresh=True)
    with transaction.atomic():
        for one in judged:
            write_down(actor, version, one)
    errors = [refusal(version, one) for one in judged if not one.lets_through]
    if errors:
        first = errors[0]
        raise Conflict(
            first["message"], code=first["code"], field="gates", limit=first["limit"], hint=first["hint"], errors=errors
        )
    return judged


def write_down(actor: Actor, version: ModelVersion, one: Judged) -> GateVerdict:
    made = GateVerdict.objects.create(
        gate=one.gate,
        version=version,
        candidate=one.candidate,
        baseline=one.baseline,
        verdict=one.state,
        difference=one.said.difference,
        low=one.said.low,
        high=one.said.high,
        worst=one.said.as_dict()["worst"],
        asked_by=resolve_requester(actor),
    )
    audit.record(
        actor=actor,
        action="gate.judge",
        obj=version,
        after={"gate": one.gate.pk, "set": reference(one.gate.set), "metric": one.gate.metric, "verdict": one.state},
        digests={
            name: found.artifact_id
            for name, found in (("candidate", one.candidate), ("baseline", one.baseline))
            if found is not None
        },
    )
    return made


def refusal(version: ModelVersion, one: Judged) -> dict[str, Any]:
    """Which gate, what it found, what it allows, and what to do."""
    gate, said, against = one.gate, one.said, one.against
    where = Message("The gate on {reference}, {metric}", reference=reference(gate.set), metric=gate.metric)
    limit = f"not worse than v{against.number} by more than {gate.margin:g}" if against else None
    told: dict[str, Any] = {"field": "gates", "limit": limit}
    match said.state:
        case GateState.FAIL if against is not None:
            message = Message(
                "{where}: {version} is worse than v{against_number}. {found_words}",
                where=where,
                version=version,
                against_number=against.number,
                found_words=found_words(one),
            )
            hint = Message("Train a better version, or have an approver set another margin.")
            return {"code": "gate_failed", "message": message, **told, "hint": hint}
        case GateState.NOT_EVALUATED:
            message = Message("{where}: {version} was not evaluated on it.", where=where, version=version)
            hint = Message("Evaluate it first: {call}", call=call_for(version, gate))
            return {"code": "gate_not_evaluated", "message": message, **told, "hint": hint}
        case GateState.BASELINE_NOT_EVALUATED if against is not None:
            message = Message(
                "{where}: v{number}, the baseline, was not evaluated on it.", where=where, number=against.number
            )
            advice = way_out(one, against)
            return {"code": "gate_baseline_not_evaluated", "message": message, **told, "hint": advice}
        case GateState.NO_VARIANT:
            form = Message("variant {variant}", variant=gate.variant) if gate.variant else Message("form")
            message = Message(
                "{where}: {version} has no {form} that the plane can evaluate.", where=where, version=version, form=form
            )
            hint = Message("Register a version whose forms were made here, or have an approver lift the gate.")
            return {"code": "gate_no_variant", "message": message, **told, "hint": hint}
    message = Message("{where}: the two cannot be compared. {why}", where=where, why=said.why)
    hint = Message(
        "Evaluate both again; for forecasts with different lags make a revision of the set with "
        "a first_row. Forecasts that look ahead of different numbers of rows do not compare."
    )
    if predictions_told(one):
        hint = Message(
            "Predict the rows that the other was measured on, no more and no fewer; of classes, with "
            "a column p_<class> for each that the other knows."
        )
    return {"code": "gate_not_comparable", "message": message, **told, "hint": hint}


def way_out(one: Judged, against: ModelVersion) -> str:
    """What to do about a baseline without figures: evaluate it, if there is a form to evaluate."""
    if one.may_evaluate_baseline:
        return Message("Evaluate it first: {call}", call=call_for(against, one.gate))
    return Message(
        "It has no form that the plane can evaluate: have an approver name another baseline, or lift the gate."
    )


def found_words(one: Judged) -> str:
    """The difference with its interval and margin; a slice where that is what failed."""
    gate, said = one.gate, one.said
    told = Message(
        "The difference is {difference:.4g} ({low:.4g} to {high:.4g}, {confidence:.0%} interval, "
        "{better} is better), the margin {margin:g}.",
        difference=said.difference,
        low=said.low,
        high=said.high,
        confidence=gate.confidence,
        better=gate.better,
        margin=gate.margin,
    )
    if gate.guard_slices and said.worst and said.worst.worse:
        worst = said.worst
        return Message(
            "{told} Worst of {slices} slices: {column} {worst_value}, {difference:.4g} ({low:.4g} to "
            "{high:.4g}; p {corrected:.3g} after Holm's correction).",
            told=told,
            slices=said.slices,
            column=worst.column,
            worst_value=worst.value,
            difference=worst.difference,
            low=worst.low,
            high=worst.high,
            corrected=worst.corrected,
        )
    return told


def call_for(version: ModelVersion, gate: Gate) -> str:
    """The REST call that evaluates a version on the set of the gate."""
    where = [gate.set.project.slug, version.model.name, version.number]
    address = reverse("api-version-evaluations", args=where)
    if version.by_client:
        return Message(
            'POST {address} {{"set": "{reference}", "predictions": "SHA-256 of what it predicts"}}',
            address=address,
            reference=reference(gate.set),
        )
    variant = Message(', "variant": "{variant}"', variant=gate.variant) if gate.variant else ""
    return Message(
        'POST {address} {{"set": "{reference}"{variant}}}',
        address=address,
        reference=reference(gate.set),
        variant=variant,
    )
