"""The job that made a model which another job takes: what the model needs of a node, and the base of an adapter."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

from django.db.models import Q

from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS, JobKind, Needs
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.platform.jobs.states import JobState
from deepseek.language.spec import BASE

MODEL = "model"  # the slot, of the job that makes it as of the one that takes it


class FilledSlot(Protocol):
    """An input of a submission."""

    @property
    def slot(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def job_id(self) -> int | None: ...


def find_model_job(project: Project, inputs: Collection[FilledSlot]) -> Job | None:
    """The job of the project that made, or will make, what fills the slot `model`; None if none did."""
    model_input = next((filled for filled in inputs if filled.slot == MODEL), None)
    if model_input is None:
        return None
    if model_input.job_id is not None:
        return Job.objects.filter(project=project, pk=model_input.job_id).first()
    outputs = JobOutput.objects.filter(artifact=model_input.digest, slot=MODEL, job__project=project)
    output = outputs.filter(job__state=JobState.SUCCEEDED).select_related("job").order_by("-job_id").first()
    return output.job if output is not None else None


def find_base_inputs(kind: JobKind, model_job: Job | None, inputs: Collection[FilledSlot]) -> list[JobInput]:
    """The inputs that held the base of an adapter while it was trained, where the kind takes one and none is given."""
    is_given = any(filled.slot.partition("/")[0] == BASE for filled in inputs)
    if model_job is None or is_given or BASE not in kind.optional_folders:
        return []
    maker = KINDS.get(model_job.kind)
    if maker is None or BASE not in maker.spec_inputs or json.loads(model_job.spec).get("method") != "lora":
        return []
    return list(model_job.inputs.filter(Q(slot=BASE) | Q(slot__startswith=f"{BASE}/")).order_by("slot"))


def add_model_needs(needs: Needs, kind: JobKind, model_job: Job | None) -> Needs:
    """The needs of a job that runs a model of any family: with the extra of the kind that made the model, and at least
    the memory that this took, unless memory was asked for.
    """
    maker = KINDS.get(model_job.kind) if model_job is not None and kind.optional_folders else None
    if model_job is None or maker is None or maker.user_code or not maker.needs.extra:
        return needs
    is_default = needs.memory_bytes == kind.needs.memory_bytes
    memory = max(needs.memory_bytes, model_job.need_memory_bytes if is_default else 0)
    return replace(needs, extra=needs.extra or maker.needs.extra, memory_bytes=memory)
