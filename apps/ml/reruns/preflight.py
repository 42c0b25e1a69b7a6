"""Preflight of a rerun: whether the recorded inputs suffice to run it again here, and which differences are expected.

The plane itself looks: which bytes are there, which code and packages it has, which processors its nodes have. A worker
of another version may take the job all the same; the verdict goes by what that one recorded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Conflict, PlaneError
from apps.core.policy import require
from apps.ml.experiments.models import Run
from apps.ml.reruns.inputs import Difference, format_value, get_gpus
from apps.ml.reruns.verdicts import build_open_run_error
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.nodes.models import Node
from deepseek.code import compute_code_digest
from deepseek.messages import N_, Message

NAME_LENGTH = 112  # of a job's name, so that the word behind it fits


@dataclass(frozen=True, slots=True)
class InputSlot:
    """One input as it was recorded; `fault` is why it cannot be taken again, {} if it can."""

    slot: str
    digest: str
    size: int | None
    fault: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a rerun would take, and what of it is not as it was."""

    run: Run
    slots: list[InputSlot]
    refusal: PlaneError | None  # why it cannot be run again
    differing: list[Difference] = field(default_factory=list)  # it can, and this is known to differ

    @property
    def spec(self) -> dict[str, Any]:
        return json.loads(self.run.job.spec) if self.run.job is not None else {}


def run_preflight(actor: Actor, run: Run) -> Preflight:
    """What a rerun of this run would meet, for whoever may see it. Looks at the size of each input in the store."""
    require(actor, "run.view", run)
    slots = [check_slot(actor, run, slot, digest) for slot, digest in sorted(run.inputs.items())]
    refusal = find_refusal(run, slots)
    return Preflight(run, slots, refusal, list_expected_differences(run) if refusal is None else [])


# -- may it be run again ---------------------------------------------------------------------------------------------
def find_refusal(run: Run, slots: Sequence[InputSlot]) -> PlaneError | None:
    """Why this run cannot be made again; None if it can."""
    if run.job is None:
        return Conflict(
            "Run {run_pk} was recorded from outside: the plane does not have what made it.",
            run_pk=run.pk,
            code="recorded_outside",
            field="run",
            limit="a run of a job of this plane",
            hint=N_(
                "Run it again where it was run, record it as a new run, and judge the two: GET "
                ".../runs/<new>/verdict?against=<old>."
            ),
        )
    if run.job.kind not in KINDS or not KINDS[run.job.kind].tracked:
        return Conflict(
            "This plane keeps no runs of the kind {job_kind!r} any more.",
            job_kind=run.job.kind,
            code="kind_gone",
            field="kind",
            limit=", ".join(kind for kind in KINDS if KINDS[kind].tracked),
            hint=N_("Run it again on a plane of the version that made it."),
        )
    if run.deleted_at is not None:
        return build_deleted_error(run)
    if not run.ended:
        return build_open_run_error(run)
    faults = [slot.fault for slot in slots if slot.fault]
    return combine_errors(faults) if faults else None


def build_deleted_error(run: Run) -> Conflict:
    return Conflict(
        "Run {run_pk} is deleted.", run_pk=run.pk, code="run_deleted", field="run", hint=N_("Restore it first.")
    )


def check_slot(actor: Actor, run: Run, slot: str, digest: str) -> InputSlot:
    artifact = Artifact.objects.visible_to(actor).filter(holdings__project=run.project_id, digest=digest).first()
    if artifact is None:
        return InputSlot(slot, digest, None, describe_missing_input(slot, digest))
    if artifact.damaged_at or not has_full_size(artifact):
        return InputSlot(slot, digest, artifact.size, describe_damaged_input(slot, digest))
    return InputSlot(slot, digest, artifact.size, {})


def has_full_size(artifact: Artifact) -> bool:
    """Whether the store has an object of that length. Its bytes are read by the worker that stages them."""
    try:
        return get_store().size(artifact.digest) == artifact.size
    except FileNotFoundError:
        return False


def describe_missing_input(slot: str, digest: str) -> dict[str, Any]:
    return {
        "code": "artifact_not_found",
        "message": Message(
            "The bytes of the input {slot} are gone: this project holds no artifact {digest}.", slot=slot, digest=digest
        ),
        "field": f"/inputs/{slot}/digest",
        "limit": None,
        "hint": Message("Upload the same bytes again: PUT /api/v1/projects/<project>/artifacts/<digest>."),
    }


def describe_damaged_input(slot: str, digest: str) -> dict[str, Any]:
    return {
        "code": "artifact_damaged",
        "message": Message(
            "The bytes of the input {slot} are damaged or missing in the store: {digest}.", slot=slot, digest=digest
        ),
        "field": f"/inputs/{slot}/digest",
        "limit": None,
        "hint": Message("Restore them from a backup, or upload the same bytes again."),
    }


# -- what is known to differ -----------------------------------------------------------------------------------------
def list_expected_differences(run: Run) -> list[Difference]:
    """What of the record this plane cannot give again: code, versions, processor and GPU. It runs all the same."""
    differences = []
    if run.code_digest and run.code_digest != compute_code_digest():
        differences.append(Difference("code", "", run.code_digest, compute_code_digest()))
    if (recorded := format_value(run.environment.get("python"))) not in ("", python_version()):
        differences.append(Difference("python", "", recorded, python_version()))
    for name, recorded in sorted((run.environment.get("packages") or {}).items()):
        if recorded != get_installed_version(name):
            differences.append(Difference("package", name, format_value(recorded), get_installed_version(name)))
    return differences + compare_hardware(run)


def compare_hardware(run: Run) -> list[Difference]:
    """The processor, or the GPUs, that no node of its queue has which is online now. With no node online: nothing."""
    job: Job = run.job  # type: ignore[assignment]  # asked before
    online = Node.objects.with_status().filter(online=True)  # type: ignore[misc]  # an annotation
    nodes = [node for node in online.order_by("name") if job.queue in node.queues]
    if not nodes:
        return []
    differences = []
    recorded = format_value(run.environment.get("processor"))
    processors = sorted({str(node.hardware.get("processor", "")) for node in nodes})
    if recorded and recorded not in processors:
        differences.append(Difference("processor", "", recorded, ", ".join(processors)))
    for place, gpu in get_gpus(run.environment).items():
        cards = sorted({card for node in nodes for card in get_gpus({"gpus": node.gpus}).values()})
        if gpu not in cards:
            differences.append(Difference("gpu", place, gpu, ", ".join(cards)))
    return differences


@cache
def get_installed_version(package: str) -> str:
    """The version that is installed here; "" if it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


# -- as a submission -------------------------------------------------------------------------------------------------
def build_submission(run: Run, *, priority: int = 0, idempotency_key: str | None = None) -> Submission:
    """The job as it was asked for, with the bytes that the run took, wherever it had got them from."""
    job: Job = run.job  # type: ignore[assignment]  # asked before
    return Submission(
        kind=job.kind,
        spec=json.loads(job.spec),
        inputs=[InputSpec(slot=slot, digest=digest) for slot, digest in sorted(run.inputs.items())],
        register=dict(job.register),
        name=f"{run.name[:NAME_LENGTH]} (again)",
        priority=priority,
        needs=Needs(
            cpus=job.need_cpus,
            memory_bytes=job.need_memory_bytes,
            gpus=job.need_gpus,
            gpu_memory_bytes=job.need_gpu_memory_bytes,
            nodes=job.need_nodes,
            extra=job.need_extra,
            labels=job.need_labels,
        ),
        max_attempts=job.max_attempts,
        time_limit_seconds=job.time_limit_seconds,
        idempotency_key=idempotency_key,
    )
