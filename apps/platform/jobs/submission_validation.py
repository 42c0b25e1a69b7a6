"""Check a submission whole before a row is written: its inputs, its parents, and what it will take of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeGuard

from django.db.models import Max, Min, Q
from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.policy import require
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.input_sources import find_automatic_inputs
from apps.platform.jobs.kinds import KINDS, JobKind, Needs
from apps.platform.jobs.machine_code import find_foreign_code
from apps.platform.jobs.model_origins import MODEL, add_model_needs, find_base_inputs, find_model_job
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
from apps.platform.jobs.submission import (
    FOLDER_INPUTS,
    INPUT_CHECKS,
    SPEC_COMPLETIONS,
    SPEC_INPUTS,
    InputSpec,
    Submission,
    build_error,
    can_make,
    check_device,
    check_extra,
    check_limits,
    check_nodes,
    check_register,
    check_slots,
    choose_queue,
    list_outputs,
    takes_files,
)
from apps.platform.jobs.table_columns import check_columns
from apps.platform.nodes.extras import SCALE
from apps.platform.nodes.models import Node
from deepseek.fit.families import FAMILIES
from deepseek.messages import Message
from deepseek.profile.spec import ProfileSpec

PROCESS_BYTES = 2**30
"""What each process over the partitions of a table may take by default, and the one that gives them out."""


class PartitionedSpec(Protocol):
    """The spec of a job over the partitions of a table (deepseek/partitions/spec.py)."""

    processes: int


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
    of_interest = kind.optional_folders or kind.refused_families
    model_job = find_model_job(project, submission.inputs) if of_interest else None
    submission = add_automatic_inputs(project, add_base_inputs(kind, model_job, submission))
    explained = {error["field"] for error in errors}  # a version that is not there fills no slot either
    slot_errors = check_slots(kind, submission, promised)
    if spec is None:  # what it would have filled is not known
        slot_errors = [error for error in slot_errors if not error["field"].startswith("/spec/")]
    errors += [error for error in slot_errors if error["field"] not in explained]
    errors += check_family(kind, submission, model_job)
    errors += check_limits(submission) + check_register(kind, submission)
    needs = add_model_needs(resolve_needs(kind, submission, spec), kind, model_job)
    errors += (
        check_device(spec, needs) + check_extra(kind, needs, spec) + check_nodes(kind, submission.kind, spec, needs)
    )
    errors += check_processes(spec, needs)
    if kind.check is not None and spec is not None:
        errors += kind.check(spec)
    artifacts, missing = resolve_artifacts(actor, project, submission)
    if missing and (expanded := expand_folder_inputs(actor, project, kind, submission, artifacts)) != submission:
        submission = expanded
        artifacts, missing = resolve_artifacts(actor, project, submission)
    parents, unknown = resolve_parents(actor, project, submission)
    errors += missing + unknown
    filled = {i.slot: artifacts[i.digest] for i in submission.inputs if i.digest in artifacts}
    errors += find_foreign_code(kind.loads, project.pk, filled)
    if spec is not None:
        digests = {slot: artifact.pk for slot, artifact in filled.items()}
        errors += check_columns(actor, project, spec, digests)
        if submission.kind in INPUT_CHECKS:
            errors += INPUT_CHECKS[submission.kind](actor, project, spec, digests)
    needs, fit = resolve_memory(project, kind, submission.kind, spec, needs, filled)
    queue = choose_queue(kind, needs)
    errors += check_memory(fit, queue)
    if needs.nodes > 1 and not errors:
        errors += check_node_count(needs, queue, Node.objects.all())
    if spec is not None and not errors:
        try:
            for key, name in submission.register.items():
                spec = SPEC_COMPLETIONS[key](actor, project, str(name), spec) if key in SPEC_COMPLETIONS else spec
        except PlaneError as failure:
            errors += failure.errors
    if errors or spec is None:
        raise combine_errors(errors)
    return ValidatedSubmission(
        kind=kind, spec=spec, needs=needs, artifacts=artifacts, parents=parents, inputs=list(submission.inputs)
    )


def check_family(kind: JobKind, submission: Submission, model_job: Job | None) -> list[dict[str, Any]]:
    """A model of a family that the kind does not take, by the job that made or will make it; the engine looks again."""
    family = KINDS[model_job.kind].model_family if model_job is not None and model_job.kind in KINDS else ""
    if not family or family not in kind.refused_families:
        return []
    value = next(filled for filled in submission.inputs if filled.slot == MODEL)
    return [
        build_error(
            "family_unsupported",
            Message(
                "A {asked_kind} job takes no model of the family {family}.", asked_kind=submission.kind, family=family
            ),
            f"/inputs/{MODEL}/{'digest' if value.digest else 'job'}",
            Message("a model of another family"),
            Message("Use the trained model as it is; its page says what can be done with it."),
        )
    ]


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


def add_automatic_inputs(project: Project, submission: Submission) -> Submission:
    """The submission with what its kind takes from earlier jobs by itself."""
    matches = find_automatic_inputs(project, submission.kind, [filled.slot for filled in submission.inputs])
    value = [InputSpec(slot=slot, digest=digest) for slot, digest in matches.items()]
    return replace(submission, inputs=[*submission.inputs, *value])


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


def expand_folder_inputs(
    actor: Actor, project: Project, kind: JobKind, submission: Submission, artifacts: Mapping[str, Artifact]
) -> Submission:
    """The submission with the files in the place of an input whose digest is no artifact, but names several files."""
    inputs: list[InputSpec] = []
    for value in submission.inputs:
        files: list[InputSpec] = []
        if value.digest and value.digest not in artifacts and takes_files(kind, value.slot):
            for find_files in FOLDER_INPUTS.values():
                files = files or find_files(actor, project, value.digest, value.slot)
        inputs += files or [value]
    return replace(submission, inputs=inputs)


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
        elif slot and not can_make(KINDS[parent.kind], slot) and not KINDS[parent.kind].any_outputs:
            errors.append(
                build_error(
                    "unknown_slot",
                    Message("A {parent_kind} job has no output {slot!r}.", parent_kind=parent.kind, slot=slot[:60]),
                    where,
                    list_outputs(KINDS[parent.kind]),
                )
            )
        elif "/" in slot and parent.state == JobState.SUCCEEDED and not has_made(parent, slot):
            errors.append(build_unmade_error(parent, slot, where))
        elif not slot and where.startswith("/inputs"):
            errors.append(build_error("slot_missing", Message("Name the slot of the job's output."), where))
    return parents, errors


def has_made(parent: Job, slot: str) -> bool:
    """Whether the job has this output, or files below the name."""
    return parent.outputs.filter(Q(slot=slot) | Q(slot__startswith=f"{slot}/")).exists()


def build_unmade_error(parent: Job, slot: str, where: str) -> dict[str, Any]:
    folder = slot.partition("/")[0]
    made = parent.outputs.filter(slot__startswith=f"{folder}/").aggregate(first=Min("slot"), last=Max("slot"))
    return build_error(
        "unknown_slot",
        Message("Job {job_id} has made no {slot!r}.", job_id=parent.pk, slot=slot[:60]),
        where,
        f"{made['first']}..{made['last']}" if made["first"] else folder,
        Message("Name an output that its page lists, or {folder} for all of them.", folder=folder),
    )


def has_partitions(spec: BaseModel | None) -> TypeGuard[PartitionedSpec]:
    """Whether the job runs over the partitions of a table, by as many processes as its spec says."""
    fields = type(spec).model_fields if spec is not None else {}
    return "processes" in fields and ("partitions" in fields or isinstance(spec, ProfileSpec))


def check_processes(spec: BaseModel | None, needs: Needs) -> list[dict[str, Any]]:
    """More processes than the CPUs that were asked for."""
    if not has_partitions(spec) or spec.processes <= max(1, needs.cpus):
        return []
    return [
        build_error(
            "out_of_range",
            Message(
                "The spec asks for {processes} processes, and the job for {cpus:g} CPUs.",
                processes=spec.processes,
                cpus=needs.cpus,
            ),
            "/spec/processes",
            int(max(1, needs.cpus)),
            Message("Ask for as many CPUs, or for fewer processes."),
        )
    ]


def resolve_needs(kind: JobKind, submission: Submission, spec: BaseModel | None) -> Needs:
    """What was asked for, else the kind's own; a spec of several threads or processes takes as many CPUs of each node,
    if none were asked, and over the partitions of a table as much more memory.
    """
    needs = submission.needs or kind.needs
    if has_partitions(spec) and spec.processes > 1 and needs.memory_bytes == kind.needs.memory_bytes:
        needs = replace(needs, memory_bytes=(1 + spec.processes) * PROCESS_BYTES)
    scale = SCALE if kind.partitioned and needs.nodes > 1 else ""
    needs = replace(needs, extra=str(getattr(spec, "extra", "") or kind.needs.extra or scale))
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
    if missing and (expanded := expand_folder_inputs(actor, project, kind, submission, artifacts)) != submission:
        submission = expanded
        artifacts, missing = resolve_artifacts(actor, project, submission)
    if missing:
        raise combine_errors(missing)
    needs = resolve_needs(kind, submission, spec)
    filled = {i.slot: artifacts[i.digest] for i in submission.inputs if i.digest in artifacts}
    return kind, *resolve_memory(project, kind, submission.kind, spec, needs, filled)
