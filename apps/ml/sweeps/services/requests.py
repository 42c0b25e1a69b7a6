"""What people and tools ask for: to begin a sweep, to cancel it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, StaleState
from apps.core.policy import require
from apps.ml.experiments.services import open_parent_run
from apps.ml.sweeps.checks import check_request
from apps.ml.sweeps.models import Sweep
from apps.ml.sweeps.schemas import SweepRequest
from apps.ml.sweeps.services.ending import end_sweep
from apps.ml.sweeps.states import SweepState
from apps.ml.sweeps.trial_jobs import apply_values
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.services import record
from apps.platform.jobs.services.idempotency import build_key_conflict, find_by_idempotency_key, submit_once
from apps.platform.jobs.spec_validation import parse_spec
from deepseek.messages import Message
from deepseek.sweep.spec import ChoiceParameter

RUN_KIND = "sweep"  # of the run that stands for all trials


def create_sweep(*, actor: Actor, project: Project, request: SweepRequest) -> tuple[Sweep, bool]:
    """Begin a sweep. Returns it and whether it is new: the same idempotency key finds the first one.

    Raises Invalid with every error of the space and of the job, Conflict if the key was used for something else.
    """
    require(actor, "sweep.submit", project)
    request = replace(request, job=replace(request.job, name=request.job.name or f"{request.job.kind} sweep"))
    return submit_once(
        find_first=lambda: _find_first_sweep(actor, project, request),
        validate=lambda: check_request(actor, project, request),
        insert=lambda _checked: _insert(actor, project, request),
    )


def _find_first_sweep(actor: Actor, project: Project, request: SweepRequest) -> Sweep | None:
    key = request.idempotency_key
    if key is not None and not 1 <= len(key) <= 255:
        raise Invalid("Idempotency-Key has 1 to 255 characters.", code="too_long", field="Idempotency-Key", limit=255)
    sweep = find_by_idempotency_key(Sweep.objects.all(), actor=actor, project_id=project.pk, key=key)
    if sweep is not None and sweep.document != request.document():
        raise build_key_conflict(
            Message(
                "Idempotency-Key {key!r} was used for another request (sweep {sweep_pk}).", key=key, sweep_pk=sweep.pk
            )
        )
    return sweep


def _insert(actor: Actor, project: Project, request: SweepRequest) -> Sweep:
    request = convert_typed_texts(request)
    lock_inputs(actor, project, request)
    text = request.document()
    settings = request.settings
    run = open_parent_run(
        actor=actor,
        project=project,
        experiment=str(request.job.register.get("experiment", "")),
        name=request.job.name,
        kind=RUN_KIND,
        params={"kind": request.job.kind, "metric": settings.metric, **describe_space(request)},
    )
    sweep = Sweep.objects.create(
        project=project,
        name=request.job.name,
        kind=request.job.kind,
        document=text,
        document_digest=sha256_hex(text),
        grant={**actor.as_record(), "scopes": sorted(actor.scopes) if actor.scopes is not None else None},
        requester=actor.label,
        idempotency_key=request.idempotency_key,
        run=run,
    )
    record(
        actor=actor,
        action="sweep.submit",
        obj=sweep,
        after={"name": sweep.name, "kind": sweep.kind, "trials": settings.trials, "run": run.pk},
        digests={"document": sweep.document_digest},
    )
    return sweep


def lock_inputs(actor: Actor, project: Project, request: SweepRequest) -> None:
    """Hold the artifacts that the job takes until the transaction ends: the collection of garbage waits, and then finds
    the sweep that names them. Raises as the check does for one that it has taken since.
    """
    digests = {filled.digest for filled in request.job.inputs if filled.digest}
    rows = Artifact.objects.select_for_update(no_key=True).filter(pk__in=digests).order_by("pk")
    if len(rows.values_list("pk", flat=True)) < len(digests):
        check_request(actor, project, request)


def convert_typed_texts(request: SweepRequest) -> SweepRequest:
    """The request with its spec as REST would have sent it, where values came from a form as text."""
    if request.job.strict:
        return request
    fields = [parameter for parameter in request.settings.space if parameter.name.startswith("/")]
    first: list[Any] = [p.choices[0] if isinstance(p, ChoiceParameter) else p.low for p in fields]
    spec = parse_spec(request.job.kind, apply_values(request.job.spec, fields, first), strict=False)
    return replace(request, job=replace(request.job, spec=spec.model_dump(mode="json"), strict=True))


def describe_space(request: SweepRequest) -> dict[str, str]:
    """{"space/schedule/max_lr": "1e-05 to 0.1 (log)"}: what the parent's run shows as its params."""
    texts = {}
    for parameter in request.settings.space:
        if isinstance(parameter, ChoiceParameter):
            text = ", ".join(map(str, parameter.choices))
        else:
            text = f"{parameter.low} to {parameter.high}{' (log)' if parameter.log else ''}"
        texts[f"space/{parameter.name.removeprefix('/')}"] = text
    return texts


def cancel_sweep(*, actor: Actor, sweep: Sweep, reason: str = "") -> Sweep:
    """End a sweep now: no trial starts any more, and those that run are asked to stop. Conflict if it has ended."""
    require(actor, "sweep.cancel", sweep)
    while True:
        if sweep.ended:
            raise Conflict(
                "Sweep {sweep_pk} has ended already: {state}.",
                sweep_pk=sweep.pk,
                state=sweep.state,
                code="already_ended",
                field="state",
            )
        try:
            with transaction.atomic():
                why = reason or Message("Cancelled by {actor_label}", actor_label=actor.label)
                end_sweep(actor, sweep, SweepState.CANCELLED, why)
        except StaleState:  # a trial or the sweep has ended meanwhile: decide anew
            sweep.refresh_from_db()
        else:
            return sweep
