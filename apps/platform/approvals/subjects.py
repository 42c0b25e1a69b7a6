"""What an approval is about. The apps that need approvals stand above this one, so they are known by name alone:
settings.APPROVAL_SUBJECTS maps a subject type to the dotted name of its Subject (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.approvals.models import Approval


class Subject(Protocol):
    """What the app behind a subject type supplies; one stateless object per type, and `approval.subject_id` names
    the row."""

    label: Any  # shown, perhaps lazily translated: "Promotion"

    def current_facts(self, approval: Approval, *, deep: bool) -> Mapping[str, Any]:
        """The facts as they stand now, in the same shape as they were asked for; equal to them while nothing changed.

        JSON values only. Called outside any transaction with `deep`, which also reads bytes and tells what is really
        there (the digest of the bytes, not the recorded one); and without `deep` inside the transaction of a vote, and
        by pages: then only rows are read. Raises NotFound if the subject is gone. Two calls give the same facts
        unless `deep` finds bytes that are not what the rows say.
        """
        ...

    def carry_out(self, actor: Actor, approval: Approval) -> None:
        """Do what was approved, inside the transaction of the deciding vote, whose row of Approval is locked.

        `actor` is the last approver, who may lack the role that the act takes otherwise: the approval is the
        authority. A PlaneError raised here undoes the vote too: nothing is written.
        """
        ...

    def address(self, approval: Approval) -> str:
        """The page of the subject; "" if there is none."""
        ...

    def summary(self, approval: Approval) -> str:
        """What changes and how sure it is, in one sentence, from `approval.facts` alone: lists ask, so no query."""
        ...

    def page(self, actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
        """(template, context) of "what changes" on the approval's page: cards, their headings numbered from 1.

        For everybody who sees the approval, the auditor too, so it asks for no right of its own. Of a decided
        approval it shows what was decided: draw from `approval.facts`. The context may hold `answer` (the sentence
        under the title) and `approve_label`, `reject_label` (what the buttons do: "Approve, move production to v3").
        """
        ...


def get_subject_types() -> Mapping[str, str]:
    """{subject type: dotted name}, from the settings."""
    types: Mapping[str, str] = settings.APPROVAL_SUBJECTS
    return types


def get_subject(subject_type: str) -> Subject:
    """The Subject of a type; LookupError for a type that the settings do not have, ImportError for a wrong name."""
    types = get_subject_types()
    if subject_type not in types:
        raise LookupError(f"settings.APPROVAL_SUBJECTS has no {subject_type!r}")
    subject: Subject = import_string(types[subject_type])
    return subject


def get_approval_subject(approval: Approval) -> Subject:
    return get_subject(approval.subject_type)


def get_subject_summary(approval: Approval) -> str:
    """What changes, in one sentence; "" for a type that this plane no longer has."""
    return get_approval_subject(approval).summary(approval) if approval.subject_type in get_subject_types() else ""


def get_subject_url(approval: Approval) -> str:
    """The page of the subject; "" where there is none, also of a type that this plane no longer has."""
    if approval.subject_type not in get_subject_types():
        return ""
    try:
        return get_approval_subject(approval).address(approval)
    except NotFound:
        return ""
