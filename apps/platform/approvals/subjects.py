"""What an approval is about. The apps that need approvals stand above this one, so they register their Subjects
in APPROVAL_SUBJECTS (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.registry import Registry
from apps.platform.approvals.models import Approval


class Subject(Protocol):
    """What the app behind a subject type supplies; one stateless object per type, and `approval.subject_id` names
    the row."""

    label: Any  # shown, perhaps lazily translated: "Promotion"
    acts_at_once: bool  # whether `carry_out` does all that was approved; else it only lets it begin later

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
        """What changes and how sure it is, in one sentence, from `approval.facts` alone: lists ask, so no query.

        A SafeString where it has markup: pages escape any other, for people and clients choose the names in it.
        """
        ...

    def page(self, actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
        """(template, context) of "what changes" on the approval's page: cards, their headings numbered from 1.

        For everybody who sees the approval, the auditor too, so it asks for no right of its own. Of a decided
        approval it shows what was decided: draw from `approval.facts`. The context may hold `answer` (the sentence
        under the title, with its full stop: `end_sentence`) and `approve_label`, `reject_label` (what the buttons do:
        "Approve, move production to v3").
        """
        ...


APPROVAL_SUBJECTS: Registry[Subject] = Registry("APPROVAL_SUBJECTS")
"""By subject type."""


def get_approval_subject(approval: Approval) -> Subject:
    return APPROVAL_SUBJECTS[approval.subject_type]


def is_carried_out_at_once(approval: Approval) -> bool:
    """Whether the last vote does all that was approved; a type that this plane no longer has did."""
    return approval.subject_type not in APPROVAL_SUBJECTS or get_approval_subject(approval).acts_at_once


def end_sentence(summary: str) -> str:
    """A summary as the sentence under the title of a page."""
    return f"{summary}{_('.')}"


def get_subject_summary(approval: Approval) -> str:
    """What changes, in one sentence; "" for a type that this plane no longer has."""
    return get_approval_subject(approval).summary(approval) if approval.subject_type in APPROVAL_SUBJECTS else ""


def get_subject_url(approval: Approval) -> str:
    """The page of the subject; "" where there is none, also of a type that this plane no longer has."""
    if approval.subject_type not in APPROVAL_SUBJECTS:
        return ""
    try:
        return get_approval_subject(approval).address(approval)
    except NotFound:
        return ""
