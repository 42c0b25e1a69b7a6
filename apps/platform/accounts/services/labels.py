"""Security labels of projects, clearances of accounts; the security administrator alone sets them."""

from __future__ import annotations

from typing import TypeVar

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project, ServiceAccount, User
from apps.platform.accounts.row_operations import lock_row
from apps.platform.accounts.security_labels import check_label_reason, get_label_name, parse_label
from apps.platform.accounts.services.people import refuse_oneself
from apps.platform.audit.services import record, seal_now
from deepseek.messages import Message

Subject = TypeVar("Subject", User, ServiceAccount)


def set_project_label(*, actor: Actor, project: Project, label: str, reason: str = "") -> Project:
    """Who is cleared for less sees the project no longer, at once. Invalid for an unknown label, or without a reason
    where it is lowered; Conflict when nothing would change."""
    policy.require(actor, "project.set_label", project)
    require_confirmed(actor, "project.set_label", project_id=project.pk)
    level = parse_label(label, field="/label")
    with transaction.atomic():
        project = lock_row(project)
        before = project.security_label
        refuse_no_change(before, level, str(project))
        reason = check_label_reason(reason, required=level < before)
        project.security_label = level
        project.save(update_fields=["security_label"])
        record(
            actor=actor,
            action="project.set_label",
            obj=project,
            project_id=project.pk,
            reason=reason,
            before={"label": get_label_name(before)},
            after={"label": get_label_name(level)},
        )
        seal_now()
    return project


def set_clearance(*, actor: Actor, user: User, clearance: str, reason: str = "") -> User:
    """The highest label that the person may see, in the projects that they belong to. Never one's own."""
    policy.require(actor, "user.set_clearance", user)
    require_confirmed(actor, "user.set_clearance")
    refuse_oneself(actor, user, "user.set_clearance", Message("You cannot set your own clearance."))
    return save_clearance(actor, user, "user.set_clearance", clearance, reason)


def set_service_account_clearance(
    *, actor: Actor, account: ServiceAccount, clearance: str, reason: str = ""
) -> ServiceAccount:
    """The same for a service account, whose tokens have it."""
    policy.require(actor, "service_account.set_clearance", account)
    require_confirmed(actor, "service_account.set_clearance", project_id=account.project_id)
    return save_clearance(actor, account, "service_account.set_clearance", clearance, reason)


def save_clearance(actor: Actor, subject: Subject, action: str, clearance: str, reason: str) -> Subject:
    level = parse_label(clearance, field="/clearance")
    with transaction.atomic():
        subject = lock_row(subject)
        before = subject.clearance
        refuse_no_change(before, level, str(subject))
        reason = check_label_reason(reason, required=level > before)
        subject.clearance = level
        subject.save(update_fields=["clearance"])
        record(
            actor=actor,
            action=action,
            obj=subject,
            reason=reason,
            before={"clearance": get_label_name(before)},
            after={"clearance": get_label_name(level)},
        )
        seal_now()
    return subject


def refuse_no_change(before: int, after: int, name: str) -> None:
    if before == after:
        raise Conflict(
            "{name} has the label {label} already.",
            name=name,
            label=get_label_name(after),
            code="nothing_to_change",
            field="/label",
        )
