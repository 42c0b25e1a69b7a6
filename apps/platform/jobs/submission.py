"""What a submission asks for, checked before anything is written: all errors at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.errors import PlaneError
from apps.core.policy import require
from apps.core.registry import Registry
from apps.platform.accounts.models import SLUG, Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.kinds import KINDS, JobKind, Needs
from apps.platform.jobs.machine_code import find_foreign_code
from apps.platform.jobs.model_origins import add_model_needs, find_base_inputs, find_model_job
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.input_facts import find_input_facts
from apps.platform.jobs.scheduling.memory_fit import (
    MemoryFit,
    build_memory_fit,
    check_memory,
    check_node_count,
    estimate_job,
    raise_memory,
)
from apps.platform.jobs.spec_validation import combine_errors, get_job_kind, parse_spec
from apps.platform.jobs.states import JobState
from apps.platform.jobs.table_columns import check_columns
from apps.platform.nodes.extras import describe_remedy
from apps.platform.nodes.models import Node
from deepseek.fit.families import FAMILIES
from deepseek.messages import Message
from deepseek.script.spec import DISTRIBUTED

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
SPEC_COMPLETIONS: Registry[Callable[[Project, str, BaseModel], BaseModel]] = Registry("SPEC_COMPLETIONS")
"""By key of `register`: what the app that registers adds to a spec before it is stored, from (project, name, spec)."""
SPEC_INPUTS: Registry[Callable[[Actor, Project, BaseModel], list[InputSpec]]] = Registry("SPEC_INPUTS")
"""By kind: the inputs that a spec names by words of an app above, for instance versions of a dataset."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedSubmission:
    """A submission that holds: its kind, its typed spec, what it takes of a node, its artifacts and parents."""

    kind: JobKind
    spec: BaseModel
    needs: Needs
    artifacts: Mapping[str, Artifact]
    parents: Mapping[int, Job]
    inputs: Sequence[InputSpec]  # those of the submission, and those that its spec names


def validate_submission(
    actor: Actor, project: Project, submission: Submission, *, promised: Sequence[str] = ()
) -> ValidatedSubmission:
    """Resolve and validate; Invalid with every error found, each naming its field.

    `promised`: slots beyond `asked.inputs` that jobs not made yet will fill; for looking ahead, before any is made.
    """
    errors: list[dict[str, Any]] = []
    kind = get_job_kind(submission.kind)
    if kind.user_code:
        require(actor, "job.script", project)
        if "model" in submission.register:  # it is recorded in the requester's name, when the work is done
            require(actor, "model.record_version", project)
    spec: BaseModel | None = None
    try:
        spec = parse_spec(submission.kind, submission.spec, strict=submission.strict)
    except PlaneError as failure:
        errors += failure.errors
    if spec is not None:
        try:
            submission = add_spec_inputs(actor, project, submission, spec)
        except PlaneError as failure:
            errors += failure.errors
    model_job = find_model_job(project, submission.inputs) if kind.optional_folders else None
    submission = add_base_inputs(kind, model_job, submission)
    explained = {error["field"] for error in errors}  # a version that is not there fills no slot either
    slot_errors = check_slots(kind, submission, promised)
    if spec is None:  # what it would have filled is not known
        slot_errors = [error for error in slot_errors if not error["field"].startswith("/spec/")]
    errors += [error for error in slot_errors if error["field"] not in explained]
    errors += check_limits(submission) + check_register(kind, submission)
    needs = add_model_needs(resolve_needs(kind, submission, spec), kind, model_job)
    errors += check_device(spec, needs) + check_extra(kind, needs) + check_nodes(kind, submission.kind, spec, needs)
    if kind.check is not None and spec is not None:
        errors += kind.check(spec)
    artifacts, missing = resolve_artifacts(actor, project, submission)
    parents, unknown = resolve_parents(actor, project, submission)
    errors += missing + unknown
    filled = {i.slot: artifacts[i.digest] for i in submission.inputs if i.digest in artifacts}
    errors += find_foreign_code(kind.loads, project.pk, filled)
    if spec is not None:
        errors += check_columns(actor, project, spec, {slot: artifact.pk for slot, artifact in filled.items()})
    needs, fit = resolve_memory(project, kind, submission.kind, spec, needs, filled)
    queue = choose_queue(kind, needs)
    errors += check_memory(fit, queue)
    if needs.nodes > 1 and not errors:
        errors += check_node_count(needs, queue, Node.objects.all())
    if spec is not None and not errors:
        try:
            for key, name in submission.register.items():
                spec = SPEC_COMPLETIONS[key](project, str(name), spec) if key in SPEC_COMPLETIONS else spec
        except PlaneError as failure:
            errors += failure.errors
    if errors or spec is None:
        raise combine_errors(errors)
    return ValidatedSubmission(
        kind=kind, spec=spec, needs=needs, artifacts=artifacts, parents=parents, inputs=list(submission.inputs)
    )


def add_base_inputs(kind: JobKind, model_job: Job | None, submission: Submission) -> Submission:
    """The submission with the base of the adapter that it takes, as the adapter's training had it."""
    rows = find_base_inputs(kind, model_job, submission.inputs)
    base = [
        InputSpec(slot=row.slot, digest=row.artifact_id)
        if row.artifact_id
        else InputSpec(slot=row.slot, job_id=row.source_job_id, job_slot=row.source_slot)
        for row in rows
    ]
    return replace(submission, inputs=[*submission.inputs, *base])


def add_spec_inputs(actor: Actor, project: Project, submission: Submission, spec: BaseModel) -> Submission:
    """The submission with the inputs that its spec names. Raises PlaneError for a version that is not there."""
    if submission.kind not in SPEC_INPUTS:
        return submission
    filled_slots = {(filled.slot, filled.digest) for filled in submission.inputs}  # by a job that is run again
    referenced = [
        resolved
        for resolved in SPEC_INPUTS[submission.kind](actor, project, spec)
        if (resolved.slot, resolved.digest) not in filled_slots
    ]
    return replace(submission, inputs=[*submission.inputs, *referenced])


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
            f"/spec/{slot}" if slot in kind.spec_inputs else f"/inputs/{slot}",
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


def check_extra(kind: JobKind, needs: Needs) -> list[dict[str, Any]]:
    """A kind that needs more than the core, where no node of its queue has it: it would wait for ever.

    A plane that has just been started may have no node yet; then the job waits for one, as any other.
    """
    if not needs.extra:
        return []
    queue = choose_queue(kind, needs)
    extras_of_nodes = [extras for queues, extras in Node.objects.values_list("queues", "extras") if queue in queues]
    if not extras_of_nodes or any(needs.extra in extras for extras in extras_of_nodes):
        return []
    return [
        build_error(
            "extra_missing",
            Message("No node of the queue {queue} has {extra}, which this job needs.", queue=queue, extra=needs.extra),
            "/kind",
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


def resolve_artifacts(
    actor: Actor, project: Project, submission: Submission
) -> tuple[dict[str, Artifact], list[dict[str, Any]]]:
    digests = {i.digest for i in submission.inputs if i.digest}
    artifacts = {
        artifact.digest: artifact
        for artifact in Artifact.objects.visible_to(actor).filter(holdings__project=project, digest__in=digests)
    }
    errors = [
        build_error(
            "artifact_not_found",
            Message("This project holds no artifact {i_digest!r}.", i_digest=i.digest[:64]),
            f"/inputs/{i.slot}/digest",
            hint=Message("Upload it first: PUT /api/v1/projects/<project>/artifacts/<digest>."),
        )
        for i in submission.inputs
        if i.digest and i.digest not in artifacts
    ]
    errors += [
        build_error(
            "artifact_damaged",
            Message("The artifact {i_digest} is damaged.", i_digest=i.digest[:12]),
            f"/inputs/{i.slot}/digest",
        )
        for i in submission.inputs
        if i.digest in artifacts and artifacts[i.digest].damaged_at
    ]
    errors += [
        build_error(
            "input_empty",
            Message("The input {slot} names neither a digest nor a job.", slot=i.slot[:60]),
            f"/inputs/{i.slot[:60]}",
        )
        for i in submission.inputs
        if not i.digest and i.job_id is None
    ]
    return artifacts, errors


def resolve_parents(
    actor: Actor, project: Project, submission: Submission
) -> tuple[dict[int, Job], list[dict[str, Any]]]:
    sources = [(i.job_id, f"/inputs/{i.slot}/job", i.job_slot) for i in submission.inputs if i.job_id is not None]
    sources += [(job_id, f"/after/{index}", "") for index, job_id in enumerate(submission.after)]
    parents = Job.objects.visible_to(actor).filter(project=project).in_bulk([job_id for job_id, _, _ in sources])
    errors = []
    for job_id, where, slot in sources:
        parent = parents.get(job_id)
        if parent is None:
            errors.append(
                build_error("job_not_found", Message("This project has no job {job_id}.", job_id=job_id), where)
            )
        elif parent.state in (JobState.FAILED, JobState.CANCELLED):
            errors.append(
                build_error(
                    "parent_ended",
                    Message("Job {job_id} has {parent_state}.", job_id=job_id, parent_state=parent.state),
                    where,
                    hint=Message("Retry it first."),
                )
            )
        elif slot and slot not in KINDS[parent.kind].outputs and not KINDS[parent.kind].any_outputs:
            limit = ", ".join(KINDS[parent.kind].outputs)
            errors.append(
                build_error(
                    "unknown_slot",
                    Message("A {parent_kind} job has no output {slot!r}.", parent_kind=parent.kind, slot=slot[:60]),
                    where,
                    limit,
                )
            )
        elif not slot and where.startswith("/inputs"):
            errors.append(build_error("slot_missing", Message("Name the slot of the job's output."), where))
    return parents, errors


def resolve_needs(kind: JobKind, submission: Submission, spec: BaseModel | None) -> Needs:
    """What was asked for, else the kind's own; a spec of several threads or processes takes as many CPUs of each node,
    if none were asked.
    """
    extra = str(getattr(spec, "extra", "") or kind.needs.extra)
    needs = replace(submission.needs or kind.needs, extra=extra)
    if needs.cpus != kind.needs.cpus:
        return needs
    processes = int(getattr(spec, "processes", 1))
    threads = int(getattr(spec, "threads", 1 if processes > 1 else 0))
    return replace(needs, cpus=max(needs.cpus, float(threads * processes)))


def resolve_memory(
    project: Project, kind: JobKind, name: str, spec: BaseModel | None, needs: Needs, inputs: Mapping[str, Artifact]
) -> tuple[Needs, MemoryFit | None]:
    """The needs of a job whose memory can be estimated, its default raised to that, and how it fits the nodes; of any
    other the needs as they are, and None.
    """
    if spec is None or name not in FAMILIES:
        return needs, None
    facts = find_input_facts(project, name, inputs)
    estimate = estimate_job(name, spec, needs, facts)
    if estimate is None:
        return needs, None
    needs = raise_memory(kind, needs, estimate)
    queue = choose_queue(kind, needs)
    return needs, build_memory_fit(name, spec, needs, facts, estimate, queue=queue, nodes=Node.objects.order_by("name"))


def estimate_submission(
    actor: Actor, project: Project, submission: Submission
) -> tuple[JobKind, Needs, MemoryFit | None]:
    """The kind and the needs of a submission, and how its memory fits the nodes, whether it could be queued or not.

    Inputs may be left out: then nothing is known of the data. Raises Invalid for a spec that does not hold, or that
    names a version that is not there.
    """
    kind = get_job_kind(submission.kind)
    spec = parse_spec(submission.kind, submission.spec, strict=submission.strict)
    if submission.kind in FAMILIES:
        submission = add_spec_inputs(actor, project, submission, spec)
    artifacts, missing = resolve_artifacts(actor, project, submission)
    if missing:
        raise combine_errors(missing)
    needs = resolve_needs(kind, submission, spec)
    filled = {i.slot: artifacts[i.digest] for i in submission.inputs if i.digest in artifacts}
    return kind, *resolve_memory(project, kind, submission.kind, spec, needs, filled)


def choose_queue(kind: JobKind, needs: Needs) -> str:
    """Return the GPU queue if the job needs a GPU, otherwise the queue of its kind."""
    return GPU_QUEUE if needs.gpus else kind.queue


def get_lease_seconds() -> float:
    return float(settings.ENV.lease_seconds)
