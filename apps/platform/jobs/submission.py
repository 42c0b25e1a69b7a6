"""What a submission asks for, checked before anything is written: all errors at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.registry import Registry
from apps.platform.accounts.models import SLUG, Project
from apps.platform.jobs.kinds import JobKind, Needs
from apps.platform.nodes.extras import describe_remedy
from apps.platform.nodes.models import Node
from deepseek.messages import Message
from deepseek.script.spec import DISTRIBUTED
from deepseek.tables.part_manifest import SUFFIX, is_part_path

PRIORITY_RANGE = (-100, 100)
TIME_LIMIT_RANGE = (1, 30 * 86_400)
ATTEMPTS_RANGE = (1, 20)
NEEDS_RANGES = {
    "cpus": (0.01, 4096),
    "memory_bytes": (2**20, 2**50),
    "gpus": (0, 64),
    "gpu_memory_bytes": (0, 2**50),
    "nodes": (1, 64),
}
GPU_QUEUE = "gpu"
PART_OUTPUTS = ("table",)  # that jobs over partitions may make in parts
SPEC_COMPLETIONS: Registry[Callable[[Actor, Project, str, BaseModel], BaseModel]] = Registry("SPEC_COMPLETIONS")
"""By key of `register`: what the app that registers adds to a spec before it is stored, from (project, name, spec)."""
SPEC_INPUTS: Registry[Callable[[Actor, Project, BaseModel], list[InputSpec]]] = Registry("SPEC_INPUTS")
"""By kind: the inputs that a spec names by words of an app above, for instance versions of a dataset."""

FOLDER_INPUTS: Registry[Callable[[Actor, Project, str, str], list[InputSpec]]] = Registry("FOLDER_INPUTS")
"""By app: the files that a digest names besides an artifact, from (actor, project, digest, slot): of a dataset version
the parts of its table, each as SLOT/path; empty where it names none."""
INPUT_CHECKS: Registry[Callable[[Actor, Project, BaseModel, Mapping[str, str]], list[dict[str, Any]]]] = Registry(
    "INPUT_CHECKS"
)
"""By kind: what an app above has against the inputs of a typed spec, given as {slot: digest}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """A slot and what fills it: an artifact by its digest, or the output slot of another job."""

    slot: str
    digest: str = ""
    job_id: int | None = None
    job_slot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    kind: str
    spec: Mapping[str, Any]
    inputs: Sequence[InputSpec] = ()
    after: Sequence[int] = ()  # jobs that must have succeeded before, without giving anything
    register: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    priority: int = 0
    needs: Needs | None = None
    max_attempts: int | None = None
    time_limit_seconds: int | None = None
    idempotency_key: str | None = None
    strict: bool = True  # False: values come from a form, as text

    def digest(self) -> str:
        """Of everything that makes two submissions the same, the key itself left out."""
        return compute_digest(
            {
                "kind": self.kind,
                "spec": dict(self.spec),
                "inputs": [[i.slot, i.digest, i.job_id, i.job_slot] for i in self.inputs],
                "after": sorted(self.after),
                "register": dict(self.register),
                "name": self.name,
                "priority": self.priority,
                "needs": self.needs.as_digest_text() if self.needs else "None",
                "limits": [self.max_attempts, self.time_limit_seconds],
            }
        )


def build_error(code: str, message: str, where: str, limit: Any = None, hint: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "field": where, "limit": limit, "hint": hint}


def check_slots(kind: JobKind, submission: Submission, promised: Sequence[str] = ()) -> list[dict[str, Any]]:
    filled = [*(i.slot for i in submission.inputs), *promised]
    folders = (f"{folder}/..." for folder in (*kind.folders, *kind.folder_inputs))
    files_or_one = (*kind.folder_inputs, *kind.spec_inputs, *kind.optional_folders)
    groups = (*kind.folders, *files_or_one)
    accepted = (*kind.inputs, *kind.optional_inputs, *kind.spec_inputs, *kind.optional_folders, *folders)
    errors = [
        build_error(
            "input_missing",
            Message("The input {slot} is not filled.", slot=slot),
            f"/spec/{slot if slot in kind.spec.model_fields else kind.spec_inputs[0]}"
            if slot in kind.spec_inputs
            else f"/inputs/{slot}",
            hint=Message("Give a digest or a job."),
        )
        for slot in (*kind.inputs, *kind.spec_inputs)
        if slot not in filled and not (takes_files(kind, slot) and any(name.startswith(f"{slot}/") for name in filled))
    ]
    errors += [
        build_error(
            "input_missing",
            Message("The input {slot} is not filled.", slot=folder),
            f"/spec/{folder}",
            "NAME:vN",
            Message("Name a version of a dataset, as NAME:vN."),
        )
        for folder in kind.folders
        if not any(slot.startswith(f"{folder}/") for slot in filled)
    ]
    if not kind.any_inputs:
        errors += [
            build_error(
                "unknown_slot",
                Message("A {asked_kind} job has no input {slot!r}.", asked_kind=submission.kind, slot=slot[:60]),
                f"/inputs/{slot[:60]}",
                ", ".join(accepted) or "none",
            )
            for slot in filled
            if slot not in accepted and slot.partition("/")[0] not in groups
        ]
    if kind.takes_parts:
        errors += [
            build_error(
                "unknown_slot",
                Message("The parts of a table are Parquet files, and {slot!r} is none by its name.", slot=slot[:60]),
                f"/inputs/{slot[:60]}",
                f"{slot.partition('/')[0]}/NAME{SUFFIX}",
                Message("Leave it out, or convert it and name it so."),
            )
            for slot in filled
            if slot.partition("/")[0] in kind.folder_inputs and "/" in slot and not is_part_path(slot)
        ]
    errors += [
        build_error(
            "duplicate_slot", Message("The input {slot} is given twice.", slot=slot[:60]), f"/inputs/{slot[:60]}"
        )
        for slot in (
            *sorted(slot for slot, times in Counter(filled).items() if times > 1),
            *(slot for slot in files_or_one if slot in filled and any(f.startswith(f"{slot}/") for f in filled)),
        )
    ]
    return errors


def takes_files(kind: JobKind, slot: str) -> bool:
    """Whether several inputs below the slot's name fill it, as files fill a folder."""
    return kind.any_inputs or slot in (*kind.spec_inputs, *kind.folder_inputs)


def can_make(kind: JobKind, slot: str) -> bool:
    """Whether the kind names this output; of a table in parts each is one, SLOT/path."""
    folder, _, part = slot.partition("/")
    is_part = bool(part) and kind.partitioned and folder in PART_OUTPUTS and is_part_path(part)
    return slot in kind.outputs or is_part


def list_outputs(kind: JobKind) -> str:
    """The outputs that a job of the kind may have, for the limit of an error."""
    parts = [f"{slot}/NAME{SUFFIX}" for slot in kind.outputs if kind.partitioned and slot in PART_OUTPUTS]
    return ", ".join((*kind.outputs, *parts)) or "none"


def check_limits(submission: Submission) -> list[dict[str, Any]]:
    errors = []
    for where, value, (low, high) in (
        ("/priority", submission.priority, PRIORITY_RANGE),
        ("/time_limit_seconds", submission.time_limit_seconds, TIME_LIMIT_RANGE),
        ("/max_attempts", submission.max_attempts, ATTEMPTS_RANGE),
        *((f"/needs/{name}", getattr(submission.needs, name, None), limits) for name, limits in NEEDS_RANGES.items()),
    ):
        if value is not None and not low <= value <= high:
            errors.append(
                build_error(
                    "out_of_range",
                    Message(
                        "{where}: {value} is not in {low} to {high}.", where=where, value=value, low=low, high=high
                    ),
                    where,
                    f"{low}..{high}",
                )
            )
    if len(submission.name) > 120:
        errors.append(
            build_error(
                "too_long",
                Message("/name has {count} characters.", count=len(submission.name)),
                "/name",
                120,
                Message("Shorten it."),
            )
        )
    if submission.idempotency_key is not None and not 1 <= len(submission.idempotency_key) <= 255:
        errors.append(
            build_error("too_long", Message("Idempotency-Key has 1 to 255 characters."), "Idempotency-Key", 255)
        )
    return errors


def check_device(spec: BaseModel | None, needs: Needs) -> list[dict[str, Any]]:
    """A spec that names the GPU, of a job that gets none: found now, not when its turn has come."""
    if getattr(spec, "device", None) != "cuda" or needs.gpus:
        return []
    return [
        build_error(
            "gpu_not_asked",
            Message("The spec asks for the device cuda, and the job asks for no GPU."),
            "/needs/gpus",
            Message("1 or more"),
            Message("Ask for a GPU, or leave the device to auto."),
        )
    ]


def check_extra(kind: JobKind, needs: Needs, spec: BaseModel | None) -> list[dict[str, Any]]:
    """A kind that needs more than the core, where no node of its queue has it: it would wait for ever.

    A plane that has just been started may have no node yet; then the job waits for one, as any other.
    """
    if not needs.extra:
        return []
    queue = choose_queue(kind, needs)
    extras_of_nodes = [extras for queues, extras in Node.objects.values_list("queues", "extras") if queue in queues]
    if not extras_of_nodes or any(needs.extra in extras for extras in extras_of_nodes):
        return []
    is_of_spec = getattr(spec, "extra", "") == needs.extra
    field = getattr(spec, "extra_field", "") if is_of_spec else ""
    return [
        build_error(
            "extra_missing",
            Message("No node of the queue {queue} has {extra}, which this job needs.", queue=queue, extra=needs.extra),
            f"/spec{field}" if field else "/kind",
            Message("a node with it"),
            Message("Give a worker {package}; then start it again.", package=describe_remedy(needs.extra)),
        )
    ]


def check_nodes(kind: JobKind, name: str, spec: BaseModel | None, needs: Needs) -> list[dict[str, Any]]:
    """Several nodes for a kind or a spec that would use only the first."""
    if needs.nodes <= 1:
        return []
    if not kind.distributed:
        return [
            build_error(
                "one_node_only",
                Message("A {kind} job runs on one node; this one asks for {nodes}.", kind=name, nodes=needs.nodes),
                "/needs/nodes",
                1,
                Message("Leave needs.nodes out."),
            )
        ]
    if getattr(spec, "cluster", False):
        return [
            build_error(
                "one_node_only",
                Message(
                    "The operator's cluster shares the work, and the job asks for {nodes} nodes.", nodes=needs.nodes
                ),
                "/needs/nodes",
                1,
                Message("Leave needs.nodes out, or the cluster."),
            )
        ]
    command = getattr(spec, "command", None)
    if command is not None and command[0] != DISTRIBUTED:
        message = Message("{nodes} nodes need a command that begins with python and names a script.", nodes=needs.nodes)
        return [build_error("bad_command", message, "/spec/command", DISTRIBUTED)]
    if getattr(spec, "strategy", "") == "none":
        return [
            build_error(
                "strategy_missing",
                Message("The job asks for {nodes} nodes, and its strategy is none.", nodes=needs.nodes),
                "/spec/strategy",
                "ddp, ps",
                Message("Choose the strategy ddp or ps, or ask for one node."),
            )
        ]
    return []


def check_register(kind: JobKind, submission: Submission) -> list[dict[str, Any]]:
    errors = []
    for key, value in submission.register.items():
        if key not in kind.registers:
            errors.append(
                build_error(
                    "unknown_register",
                    Message("A {asked_kind} job registers no {key!r}.", asked_kind=submission.kind, key=key[:60]),
                    f"/register/{key[:60]}",
                    ", ".join(kind.registers) or "nothing",
                )
            )
        elif not isinstance(value, str) or not re.search(SLUG.regex, value):
            # Found now, not after hours of work: every name that a worker registers under has this form.
            errors.append(
                build_error(
                    "invalid",
                    Message("/register/{key}: {value!r} is no name.", key=key, value=str(value)[:60]),
                    f"/register/{key}",
                    50,
                    Message("Lower-case letters, digits and hyphens; up to 50."),
                )
            )
    lacking = [key for key in kind.registers if key not in submission.register]
    if kind.registers_all and submission.register and lacking:
        errors.append(
            build_error(
                "register_incomplete",
                Message(
                    "A {asked_kind} job registers all of these names or nothing: {lacking} is not given.",
                    asked_kind=submission.kind,
                    lacking=", ".join(lacking),
                ),
                f"/register/{lacking[0]}",
                ", ".join(kind.registers),
                Message("Give it too, or leave register out."),
            )
        )
    return errors


def choose_queue(kind: JobKind, needs: Needs) -> str:
    """Return the GPU queue if the job needs a GPU, otherwise the queue of its kind."""
    return GPU_QUEUE if needs.gpus else kind.queue


def get_lease_seconds() -> float:
    return float(settings.ENV.lease_seconds)
