"""What speaks for a version that an alarm had trained: the alarm, its data, and both versions on every set.

It becomes a part of the promotion's facts. Everything comes from rows that never change, and the alarm's own evidence
by its digest: whoever edits it voids the approval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apps.core.canonical import compute_digest
from apps.fleet.monitoring.models import Retraining
from apps.ml.registry.evaluations.sets import format_set_reference
from apps.ml.registry.gates.verdicts import list_gates
from apps.ml.registry.models import Evaluation, EvaluationSet, Gate, ModelVersion

SCHEMA = "plane/retraining-facts/v1"
MAX_SETS = 8  # that a version is evaluated on
FRESH, GOLDEN = "fresh", "golden"


def list_golden_sets(former: ModelVersion) -> list[EvaluationSet]:
    """The sets that the gates of the model ask for, and those on which its version was measured and that stand."""
    gated = [gate.set_id for gate in list_gates(former.model_id)]
    measured = Evaluation.objects.filter(version=former, set__superseded_at=None).values_list("set_id", flat=True)
    keys = list(dict.fromkeys([*gated, *measured.order_by("-set_id").distinct()]))[:MAX_SETS]
    sets = EvaluationSet.objects.select_related("project", "dataset_version__dataset").in_bulk(keys)
    return [sets[key] for key in keys]


def list_evaluated_forms(
    gates: Iterable[Gate], former: ModelVersion, version: ModelVersion, production: ModelVersion | None
) -> list[tuple[ModelVersion, EvaluationSet, str]]:
    """(version, set, variant) that the gates of the model look at: the new one, and what it is compared with."""
    forms = []
    for gate in gates:
        baseline = gate.baseline or production
        forms += [(each, gate.set, gate.variant) for each in (version, baseline) if each is not None]
    return forms


def build_retraining_facts(retraining: Retraining) -> dict[str, Any]:
    """What is stored once every evaluation has ended; the alarm's evidence is added by its digest as it is read."""
    former, version, fresh = retraining.former, retraining.version, retraining.fresh_set
    assert former is not None  # noqa: S101 - of this state, as what follows
    assert version is not None  # noqa: S101
    golden = [each for each in list_golden_sets(former) if fresh is None or each.pk != fresh.pk]
    sets = golden if fresh is None else [fresh, *golden]
    return {
        "schema": SCHEMA,
        "alarm": retraining.alarm_id,
        "monitor": retraining.monitor.name,
        "cause": retraining.alarm.cause,
        "since": retraining.alarm.since.isoformat(),
        "evidence": compute_digest(retraining.alarm.evidence),
        "former": {"version": former.number, "digest": former.digest},
        "data": describe_data(retraining),
        "pipeline": retraining.pipeline_id,
        "sets": {
            format_set_reference(each): {
                "kind": GOLDEN if fresh is None or each.pk != fresh.pk else FRESH,
                "metric": each.primary_metric,
                "former": describe_evaluation(former, each),
                "version": describe_evaluation(version, each),
            }
            for each in sets
        },
    }


def describe_data(retraining: Retraining) -> dict[str, Any]:
    data, fresh = retraining.data, retraining.fresh_set
    assert data is not None  # noqa: S101 - of this state, as what follows
    held_back = {"rows": fresh.dataset_version.rows, "digest": fresh.dataset_version.digest} if fresh else None
    return {
        "dataset": data.dataset.name,
        "version": data.number,
        "digest": data.digest,
        "rows": data.rows,
        "held_back": held_back,  # nothing of a dataset that the plan names
        "since": retraining.since.isoformat(),
        "until": retraining.until.isoformat() if retraining.until else None,
    }


def describe_evaluation(version: ModelVersion, on: EvaluationSet) -> dict[str, Any] | None:
    """The newest evaluation of the trained form: what it measured, and the digest of its document. None without one."""
    form = version.variants.order_by("pk").first()
    rows = Evaluation.objects.filter(version=version, set=on, variant=form)
    evaluation = rows.order_by("-pk").first()
    if evaluation is None:
        return None
    metrics = {each["name"]: pick_interval(each) for each in evaluation.metrics}
    return {"evaluation": evaluation.artifact_id, "rows": evaluation.rows, "metrics": metrics}


def pick_interval(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metric.get(name) for name in ("value", "low", "high", "better")}


def find_promotion_evidence(version: ModelVersion) -> dict[str, Any] | None:
    """Of a version that an alarm had trained. Registered in PROMOTION_EVIDENCE."""
    rows = Retraining.objects.select_related("alarm").filter(version=version).exclude(facts={})
    retraining = rows.order_by("-pk").first()
    if retraining is None:
        return None
    return {**retraining.facts, "evidence": compute_digest(retraining.alarm.evidence)}
