"""Jobs as what a schedule submits."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.accounts.models import Project
from apps.platform.calendars.targets import Body, ScheduleTarget
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.queries import get_job
from apps.platform.jobs.serializers import read_submission
from apps.platform.jobs.services import cancel_job, submit_job
from apps.platform.jobs.spec_validation import parse_spec
from apps.platform.jobs.states import ENDED
from apps.platform.jobs.submission import SPEC_INPUTS
from apps.platform.jobs.submission_validation import validate_submission


def validate_job(actor: Actor, project: Project, body: Body) -> None:
    validate_submission(actor, project, read_submission(dict(body), idempotency_key=None))


def submit_scheduled_job(actor: Actor, project: Project, body: Body, key: str) -> int:
    submission = read_submission(dict(body), idempotency_key=key)
    return submit_job(actor=actor, project=project, submission=submission)[0].pk


def is_job_active(pk: int) -> bool:
    return Job.objects.filter(pk=pk).exclude(state__in=ENDED).exists()


def cancel_scheduled_job(actor: Actor, pk: int, reason: str) -> None:
    job = Job.objects.filter(pk=pk).exclude(state__in=ENDED).first()
    if job is not None:
        try:
            cancel_job(actor=actor, job=job, reason=reason)
        except Conflict:  # it has ended meanwhile
            return


def copy_job_request(actor: Actor, project: Project, pk: int) -> dict[str, Any]:
    """The body of the job: inputs by digest where they have one, without those that its spec names."""
    job = get_job(actor, project, pk)
    spec: dict[str, Any] = json.loads(job.spec)
    spec_slots = list_spec_slots(actor, project, job.kind, spec)
    inputs = {
        row.slot: {"digest": row.artifact_id}
        if row.artifact_id
        else {"job": row.source_job_id, "slot": row.source_slot}
        for row in job.inputs.order_by("slot")
        if row.slot not in spec_slots
    }
    kind = KINDS.get(job.kind)
    needs = {
        name: getattr(job, f"need_{name}") for name in ("cpus", "memory_bytes", "gpus", "gpu_memory_bytes", "nodes")
    }
    usual = asdict(kind.needs) if kind else {}
    body: dict[str, Any] = {"kind": job.kind, "spec": spec, "inputs": inputs, "register": dict(job.register)}
    body |= {"name": job.name, "priority": job.priority}
    body["needs"] = {name: value for name, value in needs.items() if value != usual.get(name)}
    return {name: value for name, value in body.items() if value or name in ("kind", "spec")}


def list_spec_slots(actor: Actor, project: Project, kind: str, spec: dict[str, Any]) -> set[str]:
    if kind not in SPEC_INPUTS:
        return set()
    return {spec_slot.slot for spec_slot in SPEC_INPUTS[kind](actor, project, parse_spec(kind, spec))}


JOB_TARGET = ScheduleTarget(
    label=_("Job"),
    action="job.submit",
    validate=validate_job,
    submit=submit_scheduled_job,
    is_active=is_job_active,
    cancel=cancel_scheduled_job,
    copy_request=copy_job_request,
    url_name="jobs:detail",
)
