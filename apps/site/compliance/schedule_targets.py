"""Evidence runs as what a schedule of the plane submits, once a week for instance."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.platform.calendars.targets import Body, ScheduleTarget, TargetScope
from apps.site.compliance.models import EvidenceRun
from apps.site.compliance.services import request_run
from apps.site.compliance.states import OPEN_STATES

EVIDENCE = "evidence"


def validate_body(actor: Actor, project: None, body: Body) -> None:
    if body:
        raise Invalid(
            "An evidence run has no field {name!r}.", name=next(iter(body))[:60], field="/", limit="an empty request"
        )


def submit_run(actor: Actor, project: None, body: Body, key: str) -> int:
    return request_run(actor=actor).pk


def is_run_active(pk: int) -> bool:
    return EvidenceRun.objects.filter(pk=pk, state__in=OPEN_STATES).exists()


def leave_run(actor: Actor, pk: int, reason: str) -> None:
    """Cancel nothing: a run takes seconds."""


def copy_request(actor: Actor, project: None, pk: int) -> dict[str, Any]:
    return {}


EVIDENCE_TARGET = ScheduleTarget(
    label=_("Evidence of compliance"),
    action="compliance.request_run",
    validate=validate_body,
    submit=submit_run,
    is_active=is_run_active,
    cancel=leave_run,
    copy_request=copy_request,
    url_name="compliance:run",
    scope=TargetScope.PLANE,
)
