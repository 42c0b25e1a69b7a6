"""Every write of evaluations: make a set, measure a variant on it, take in what was measured, set and lift gates."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import get_main_file
from apps.data.datasets.versions.image_data import TABLE, format_image_reference
from apps.data.datasets.versions.table_parts import build_table_inputs
from apps.ml.registry.documents import read_document
from apps.ml.registry.evaluations.image_sets import compare_data, takes_images
from apps.ml.registry.evaluations.sets import (
    check_fits,
    check_set_name,
    find_set,
    format_set_reference,
    parse_set_spec,
)
from apps.ml.registry.models import Evaluation, EvaluationSet, Gate, Model, ModelVersion, Variant
from apps.ml.registry.services.validation import check_name, check_text
from apps.ml.registry.services.versions import JobOutputRow
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.audit import services as audit
from apps.platform.jobs.models import Job, JobInput
from apps.platform.jobs.provenance import resolve_requester
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.states import ENDED
from apps.platform.jobs.submission import InputSpec, Submission
from deepseek.evaluate.spec import EvaluateSpec, Measures, get_task_metrics
from deepseek.messages import N_

KIND, SCHEMA = "evaluate", "plane/evaluation/v1"
TIMING_FIELDS = ("batches", "runs", "threads")
MAX_GATES = 20  # of a model: each is judged whenever the version's page is drawn


# -- sets -----------------------------------------------------------------------------------------------------------
def create_evaluation_set(
    *,
    actor: Actor,
    project: Project,
    name: str,
    dataset_version: DatasetVersion,
    task: str,
    target: str,
    primary_metric: str = "",
    spec: Mapping[str, Any] | None = None,
    description: str = "",
    supersede: bool = False,
) -> EvaluationSet:
    """A set to measure models on: the table of a dataset version, and how. It never changes.

    `supersede`: make the next revision of a set that there is. What was measured on the one before stays, and so do
    the gates that ask for it. Raises Invalid with every error, Conflict `evaluation_set_exists`.
    """
    policy.require(actor, "evaluation_set.create", project)
    check_name("name", name)
    check_set_name(name)
    check_text("description", description, 500)
    typed, primary = parse_set_spec(task, target, primary_metric, spec or {}, dataset_version)
    table = get_main_file(actor, dataset_version).artifact
    try:
        with transaction.atomic():
            before = EvaluationSet.objects.select_for_update().filter(project=project, name=name, superseded_at=None)
            current = before.first()
            if current is not None and not supersede:
                raise build_set_exists_error(current)
            if current is not None:
                before.update(superseded_at=timezone.now())
            evaluation_set = EvaluationSet.objects.create(
                project=project,
                name=name,
                number=current.number + 1 if current else 1,
                description=description,
                dataset_version=dataset_version,
                table=table,
                task=task,
                target=target,
                primary_metric=primary,
                spec=typed.same_figures(),
                created_by=resolve_requester(actor),
            )
            audit.record(
                actor=actor,
                action="evaluation_set.create",
                obj=evaluation_set,
                after={
                    "name": format_set_reference(evaluation_set),
                    "data": str(dataset_version),
                    "task": task,
                    "target": target,
                },
                digests={"table": table.pk, "data": dataset_version.digest},
            )
    except IntegrityError:  # made at the same instant
        raise build_set_exists_error(find_set(project, name)) from None
    return evaluation_set


def build_set_exists_error(current: EvaluationSet) -> Conflict:
    return Conflict(
        "The project has an evaluation set {current_name!r} already: {reference}.",
        current_name=current.name,
        reference=format_set_reference(current),
        code="evaluation_set_exists",
        field="name",
        hint=N_("Send supersede: true to make its next revision, or choose another name."),
    )


# -- evaluations ----------------------------------------------------------------------------------------------------
def submit_evaluation(
    *,
    actor: Actor,
    version: ModelVersion,
    on: EvaluationSet,
    variant: str = "",
    timing: Mapping[str, Any] | None = None,
) -> tuple[Job, bool]:
    """Queue the job that measures a variant (empty: the one that was trained) on the set; the one that does already,
    if there is one. Returns it and whether it is new.

    `timing`: batches, runs and threads of the spec. Raises Invalid `no_variant`, `set_mismatch`.
    """
    policy.require(actor, "job.submit", version.model)
    chosen = get_variant(version, variant)
    check_fits(version, on)
    register = {"evaluation": format_set_reference(on)}
    of_these = JobInput.objects.filter(artifact=chosen.manifest_id, slot="manifest", job__project_id=version.project_id)
    unended = of_these.filter(job__kind=KIND, job__register=register).exclude(job__state__in=ENDED)
    running = unended.select_related("job").first()
    if running is not None:
        return running.job, False
    timing_fields = {key: value for key, value in (timing or {}).items() if key in TIMING_FIELDS and value is not None}
    inputs = [
        InputSpec(slot="model", digest=chosen.artifact_id),
        InputSpec(slot="manifest", digest=str(chosen.manifest_id)),
    ]
    data = {"images": format_image_reference(on.dataset_version)} if takes_images(version) else {}
    if not data:
        inputs += build_table_inputs(on.dataset_version, str(on.table_id), TABLE)
    submission = Submission(
        kind=KIND,
        spec={**on.spec, **timing_fields, **data, "horizon": get_horizon(version)},
        inputs=inputs,
        register=register,
        name=f"{version} {chosen.name} on {format_set_reference(on)}"[:120],
    )
    return submit_job(actor=actor, project=version.model.project, submission=submission)


def get_variant(version: ModelVersion, name: str = "") -> Variant:
    """A form of the version by its name, the trained one without; Invalid where the plane has no form of it."""
    forms = list(version.variants.order_by("pk"))
    form = next((variant for variant in forms if variant.name == name), None) if name else next(iter(forms), None)
    if form is not None:
        return form
    if not forms:
        raise Invalid(
            "{version} has no form that the plane can run: a client registered its files.",
            version=version,
            code="no_variant",
            field="variant",
            hint=N_("Predict the table of the set where it runs, and send predictions: the digest of what it said."),
        )
    raise Invalid(
        "{version} has no variant {name!r}.",
        version=version,
        name=name[:60],
        code="no_variant",
        field="variant",
        limit=", ".join(variant.name for variant in forms),
    )


def get_horizon(version: ModelVersion) -> int | None:
    """How far a forecast looks ahead: the manifest of a form that was made from another does not say."""
    horizon = (read_document(version.document).get("spec") or {}).get("horizon") if version.document else None
    return horizon if version.task == "forecast" and isinstance(horizon, int) else None


def register_evaluation(
    *, actor: Actor, project: Project, set_name: str, outputs: Sequence[JobOutputRow], job: Job
) -> list[Evaluation]:
    """What an evaluate job measured, for every variant of the project that has these bytes.

    Call it inside the transaction that ends the job; it reads no bytes. Raises Invalid where the document is not what
    the job wrote, or is not of the set or of a variant.
    """
    policy.require(actor, "evaluation.register", project)
    outputs_by_slot = {row[0]: row for row in outputs}
    artifact, document = outputs_by_slot["evaluation"][1], outputs_by_slot["evaluation"][4]
    on = find_set(project, set_name)
    check_document(job, document, artifact.pk, on, ("model", "manifest"), EvaluateSpec)
    variants = Variant.objects.select_related("version__model").filter(
        artifact=document["model"], manifest=document["manifest"], version__model__project=project
    )
    measured = [variant for variant in variants.order_by("pk") if has_same_horizon(variant, document)]
    if not measured:
        raise Invalid(
            "No version of this project has the model that was measured.",
            code="no_variant",
            field="inputs/model",
            limit="a model file and its manifest of a registered version, at its horizon",
            hint=N_("Register the model first: the figures of a set belong to a version."),
        )
    with transaction.atomic():
        return [
            insert_evaluation(
                actor, on, variant.version, job, artifact, outputs_by_slot["replicates"][1], document, variant=variant
            )
            for variant in measured
        ]


def has_same_horizon(variant: Variant, document: Mapping[str, Any]) -> bool:
    return bool(document["horizon"] == get_horizon(variant.version))


def check_document(
    job: Job,
    document: Mapping[str, Any],
    digest: str,
    on: EvaluationSet,
    slots: Sequence[str],
    spec: type[Measures],
) -> None:
    """Invalid unless it is what the job wrote, of what was in its `slots`, and measured as the set asks."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"
    inputs = dict(JobInput.objects.filter(job=job).values_list("slot", "artifact_id"))
    comparisons = {
        "what it wrote": (sha256_hex(text), digest),
        "schema": (document.get("schema"), SCHEMA),
        **{slot: (document.get(slot), inputs.get(slot)) for slot in slots},
        **compare_data(document, inputs, on),
        "task": (document.get("task"), on.task),
        "target": (document.get("target"), on.target),
        "spec": (
            encode_canonical_json(spec(**document.get("spec", {})).same_figures()),
            encode_canonical_json(on.spec),
        ),
    }
    wrong = [(name, *pair) for name, pair in comparisons.items() if pair[0] != pair[1]]
    for name, value, limit in wrong:
        raise Invalid(
            "The evaluation is not one of {reference}: {name} differs.",
            reference=format_set_reference(on),
            name=name,
            code="evaluation_document",
            field="outputs/evaluation",
            limit=f"{str(limit)[:120]}, not {str(value)[:120]}",
            hint=N_("Evaluate the version again, by its page or its address."),
        )


def insert_evaluation(
    actor: Actor,
    on: EvaluationSet,
    version: ModelVersion,
    job: Job,
    artifact: Artifact,
    replicates: Artifact,
    document: Mapping[str, Any],
    *,
    variant: Variant | None = None,
) -> Evaluation:
    """The row, once: of a variant, or without one of the predictions that the document names."""
    evaluation, new = Evaluation.objects.get_or_create(
        set=on,
        version=version,
        variant=variant,
        job_id=job.pk,
        defaults={
            "predictions_id": document.get("predictions"),
            "artifact": artifact,
            "replicates": replicates,
            "pairing": document["pairing"],
            "rows": document["rows"],
            "metrics": document["metrics"],
            "document": encode_canonical_json(document),
            "created_by": job.requester or actor.label,
        },
    )
    if new:
        audit.record(
            actor=actor,
            action="evaluation.register",
            obj=evaluation,
            after={"version": str(version), "variant": evaluation.form, "set": format_set_reference(on), "job": job.pk},
            digests={
                "evaluation": artifact.pk,
                "table": on.table_id,
                **({"model": variant.artifact_id} if variant else {"predictions": str(evaluation.predictions_id)}),
            },
        )
    return evaluation


# -- gates ----------------------------------------------------------------------------------------------------------
def set_gate(
    *,
    actor: Actor,
    model: Model,
    on: EvaluationSet,
    metric: str = "",
    margin: float = 0.0,
    confidence: float = 0.95,
    variant: str = "",
    baseline: ModelVersion | None = None,
    guard_slices: bool = False,
    seen: int | None = None,
) -> Gate:
    """Ask of every version of the model not to be worse than the baseline (None: production) by more than `margin`.

    A gate on the same set, metric and variant is replaced; Conflict where it is not the one that was `seen` (its key, 0
    for none). Raises Invalid for a metric that the set has not, a baseline that is no version of the model, or a margin
    or confidence outside its limits.
    """
    policy.require(actor, "gate.set", model)
    require_confirmed(actor, "gate.set", project_id=model.project_id)
    metric = metric or on.primary_metric
    metrics = get_task_metrics(on.task, EvaluateSpec(**on.spec))
    if metric not in metrics:
        raise Invalid(
            "{reference} has no metric {metric!r}.",
            reference=format_set_reference(on),
            metric=metric[:40],
            code="unknown_metric",
            field="metric",
            limit=", ".join(metrics),
        )
    check_number("margin", margin, 0.0, 1e12)
    check_number("confidence", confidence, 0.5, 1.0, open_ends=True)
    check_text("variant", variant, 60)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=model.pk)
        current = Gate.objects.filter(model=model, removed_at=None)
        if baseline is not None and not model.versions.filter(pk=baseline.pk, deleted_at=None).exists():
            raise Invalid(
                "{model} has no version {baseline_number} to compare with.",
                model=model,
                baseline_number=baseline.number,
                field="baseline",
            )
        same = current.filter(set=on, metric=metric, variant=variant)
        replaced = same.select_related("set", "model", "baseline").first()
        if replaced is not None and seen not in (None, replaced.pk):
            against = f"v{replaced.baseline.number}" if replaced.baseline else "production"
            raise Conflict(
                "A gate on {reference}, {metric} stands already, against {against}.",
                reference=format_set_reference(on),
                metric=metric,
                against=against,
                code="gate_stands",
                field="gate",
                hint=N_("Edit that one in the list of gates."),
            )
        if replaced is None and current.count() >= MAX_GATES:
            raise Conflict(
                "{model} has {most_gates} gates.",
                model=model,
                most_gates=MAX_GATES,
                code="too_many_gates",
                field="gates",
                hint=N_("Lift one of them first."),
            )
        same.update(removed_at=timezone.now())
        gate = Gate.objects.create(
            model=model,
            set=on,
            metric=metric,
            better=metrics[metric],
            variant=variant,
            baseline=baseline,
            margin=margin,
            confidence=confidence,
            guard_slices=guard_slices,
            set_by=resolve_requester(actor),
        )
        audit.record(
            actor=actor,
            action="gate.set",
            obj=gate,
            before=gate_as_dict(replaced) if replaced else None,
            after=gate_as_dict(gate),
        )
    return gate


def remove_gate(*, actor: Actor, gate: Gate, reason: str) -> None:
    """Remove the gate; recorded verdicts are kept. Raises Conflict if it has been removed already."""
    policy.require(actor, "gate.set", gate.model)
    require_confirmed(actor, "gate.set", project_id=gate.model.project_id)
    check_text("reason", reason, 2000, required=True)
    with transaction.atomic():
        if not Gate.objects.filter(pk=gate.pk, removed_at=None).update(removed_at=timezone.now()):
            raise Conflict("The gate is lifted already.", code="gate_removed", field="gate")
        audit.record(actor=actor, action="gate.remove", obj=gate, reason=reason, before=gate_as_dict(gate))


def get_gate(model: Model, pk: int) -> Gate:
    """A gate of the model that is still asked for, or NotFound."""
    gate = Gate.objects.select_related("set", "model", "baseline").filter(model=model, removed_at=None, pk=pk).first()
    if gate is None:
        raise NotFound("{model} has no gate {pk}.", model=model, pk=pk, field="gate", hint=N_("List its gates."))
    return gate


def gate_as_dict(gate: Gate) -> dict[str, Any]:
    return {
        "model": gate.model.name,
        "set": format_set_reference(gate.set),
        "metric": gate.metric,
        "variant": gate.variant,
        "baseline": gate.baseline.number if gate.baseline else "production",
        "margin": gate.margin,
        "confidence": gate.confidence,
        "guard_slices": gate.guard_slices,
    }


def check_number(field: str, value: float, low: float, high: float, *, open_ends: bool = False) -> None:
    is_within = low < value < high if open_ends else low <= value <= high
    if not (math.isfinite(value) and is_within):
        raise Invalid(
            "{name} is {found:g}.",
            name=field,
            found=value,
            code="out_of_range",
            field=field,
            limit=f"{'above' if open_ends else 'from'} {low:g} {'and below' if open_ends else 'to'} {high:g}",
        )
