"""Every write on approvals: ask, vote, withdraw, expire, set what a project asks. All are recorded and sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.accounts.models import Project
from apps.accounts.proofs import Proof
from apps.actors import Actor
from apps.approvals.models import Approval, ApprovalPolicy


def request_approval(
    *,
    actor: Actor,
    project: Project,
    subject_type: str,
    subject_id: str | int,
    title: str,
    facts: Mapping[str, Any],
    comment: str = "",
    deadline_hours: int | None = None,
) -> Approval:
    """Ask the approvers of the project. May be called inside the caller's transaction.

    Raises Conflict `approval_pending` (the subject has a pending one, which is named), `too_few_approvers` (fewer
    people could approve than must); Invalid for texts, facts or a deadline outside their limits.
    """
    raise NotImplementedError


def approve(*, actor: Actor, approval: Approval, facts_digest: str, reason: str, proof: Proof) -> Approval:
    raise NotImplementedError


def reject(*, actor: Actor, approval: Approval, facts_digest: str, reason: str, proof: Proof) -> Approval:
    raise NotImplementedError


def withdraw(*, actor: Actor, approval: Approval, reason: str) -> Approval:
    raise NotImplementedError


def expire_due(*, actor: Actor) -> int:
    raise NotImplementedError


def set_approval_policy(
    *, actor: Actor, project: Project, subject_type: str, needed: int, deadline_hours: int, reason: str = ""
) -> ApprovalPolicy:
    raise NotImplementedError
