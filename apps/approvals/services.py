"""Every write on approvals: ask, vote, withdraw, expire, set what a project asks. All are recorded and sealed.

Every change of a pending approval first locks its row, so votes come one after the other. What ends an approval
although the call fails (a deadline that has passed, facts that have changed) is committed before the call raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.accounts.models import Project
from apps.accounts.proofs import Proof
from apps.actors import Actor
from apps.approvals import checks
from apps.approvals.differences import Change, changes_since, facts_text
from apps.approvals.models import Approval, ApprovalPolicy, Vote
from apps.approvals.states import ApprovalState, Decision
from apps.approvals.subjects import subject_of
from apps.approvals.terms import DEFAULT, eligible_people, terms_of
from apps.audit.services import change_state, record, seal_now
from apps.canonical import sha256_hex
from apps.errors import Conflict
from apps.policy import require

EXPIRED_AT_ONCE = 100  # of one round of the dispatcher


# -- asking ---------------------------------------------------------------------------------------------------------
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

    `deadline_hours`: fewer than the project's policy gives, or None for that.
    Raises Conflict `approval_pending` (the subject has a pending one, which is named), `too_few_approvers` (fewer
    people could approve than must); Invalid for texts, facts or a deadline outside their limits.
    """
    require(actor, "approval.request", project)
    checks.check_subject_type(subject_type)
    title = checks.checked_text(title, "title", checks.TITLE)
    comment = checks.checked_text(comment, "comment", checks.COMMENT, least=0)
    text = facts_text(facts)
    terms = terms_of(project, subject_type)
    hours = terms.deadline_hours if deadline_hours is None else deadline_hours
    checks.checked_number(hours, "deadline_hours", (1, terms.deadline_hours))
    eligible = eligible_people(project.pk, requester_user_id=actor.user_id).count()
    if eligible < terms.needed:
        raise checks.too_few(terms.needed, eligible)
    approval = Approval(
        project=project,
        subject_type=subject_type,
        subject_id=str(subject_id),
        title=title,
        facts=text,
        facts_digest=sha256_hex(text),
        comment=comment,
        requester=actor.label,
        requester_user_id=actor.user_id,
        requester_service_account_id=actor.service_account_id,
        needed=terms.needed,
        eligible=eligible,
        deadline_at=Now() + timedelta(hours=hours),
    )
    with transaction.atomic():
        _make_room(actor, approval)
        _insert(actor, approval)
        seal_now()
    return approval


def _make_room(actor: Actor, new: Approval) -> None:
    """Refuse while another one is pending for the subject; one past its deadline ends here."""
    same = {"project_id": new.project_id, "subject_type": new.subject_type, "subject_id": new.subject_id}
    pending = Approval.objects.filter(**same, state=ApprovalState.PENDING)
    first = pending.with_due().select_for_update().first()
    if first is None:
        return
    if not first.due:  # type: ignore[attr-defined]  # annotated
        raise checks.already_pending(first)
    _expire(actor, first)


def _insert(actor: Actor, approval: Approval) -> None:
    try:
        with transaction.atomic():
            approval.save(force_insert=True)
    except IntegrityError:  # asked for twice at the same instant
        same = Approval.objects.filter(subject_type=approval.subject_type, subject_id=approval.subject_id)
        first = same.filter(project_id=approval.project_id, state=ApprovalState.PENDING).first()
        if first is None:
            raise
        raise checks.already_pending(first) from None
    approval.refresh_from_db()  # the deadline, as the database's clock has it
    record(
        actor=actor,
        action="approval.request",
        obj=approval,
        reason=approval.comment,
        after={
            "title": approval.title,
            "subject": f"{approval.subject_type} {approval.subject_id}",
            "needed": approval.needed,
            "eligible": approval.eligible,
            "deadline_at": approval.deadline_at.isoformat(),
        },
        digests={"facts": approval.facts_digest},
    )


# -- deciding -------------------------------------------------------------------------------------------------------
def approve(*, actor: Actor, approval: Approval, facts_digest: str, reason: str, proof: Proof) -> Approval:
    """Vote for it; with the last vote that is needed, what was asked for is carried out in the same transaction.

    `facts_digest` is that of the facts the person saw. Raises Refused `own_request`, `not_a_person`, `proof_missing`;
    Invalid for the reason; Conflict `already_decided`, `already_voted`, `facts_changed_since_you_looked`,
    `deadline_passed` (it is expired now), `approval_void` (facts have changed: it is void now, and the error names
    them), and whatever the subject raises when it cannot be carried out, which leaves everything as it was.
    """
    return _decide(actor, approval, Decision.APPROVE, facts_digest, reason, proof)


def reject(*, actor: Actor, approval: Approval, facts_digest: str, reason: str, proof: Proof) -> Approval:
    """Vote against it, which ends it at once. Raises as `approve` does, but changed facts do not matter any more."""
    return _decide(actor, approval, Decision.REJECT, facts_digest, reason, proof)


def _decide(
    actor: Actor, approval: Approval, decision: Decision, facts_digest: str, reason: str, proof: Proof
) -> Approval:
    require(actor, "approval.decide", approval)
    checks.check_proof(actor, proof)
    checks.check_not_own(actor, approval)
    reason = checks.checked_text(reason, "reason", checks.REASON)
    asks_facts = decision == Decision.APPROVE
    # Bytes are read before the lock, which must be short; rows are read again behind it.
    changed = changes_since(approval, deep=True) if asks_facts and approval.state == ApprovalState.PENDING else []
    ended: Conflict | None = None
    with transaction.atomic(durable=True):  # durable: inside another transaction, its rollback would undo a void
        row = _locked(approval)
        checks.check_pending(row)
        checks.check_seen(row, facts_digest)
        checks.check_not_voted(proof.user_id, row)
        if row.due:  # type: ignore[attr-defined]  # annotated
            ended = _expire(actor, row)
        elif asks_facts and (changed := changed or changes_since(row)):
            ended = _void(actor, row, changed)
        else:
            _vote(actor, row, decision, reason, proof)
        seal_now()
    if ended is not None:
        raise ended
    return row


def _locked(approval: Approval) -> Approval:
    return Approval.objects.with_due().select_for_update().get(pk=approval.pk)


def _vote(actor: Actor, approval: Approval, decision: Decision, reason: str, proof: Proof) -> None:
    """One more vote, and what follows from it."""
    Vote.objects.create(
        approval=approval,
        user_id=proof.user_id,
        label=actor.label,
        decision=decision,
        reason=reason,
        facts_digest=approval.facts_digest,
        method=proof.method,
    )
    given = approval.votes.counting(approval.project_id).count()
    digests = {"facts": approval.facts_digest}
    record(
        actor=actor,
        action=f"approval.{decision}",
        obj=approval,
        reason=reason,
        after={"given": given, "needed": approval.needed, "proof": proof.method},
        digests=digests,
    )
    if decision == Decision.REJECT:
        change_state(approval, ApprovalState.REJECTED, actor=actor, reason=reason, digests=digests, decided_at=Now())
    elif given >= approval.needed:
        change_state(approval, ApprovalState.APPROVED, actor=actor, reason=reason, digests=digests, decided_at=Now())
        subject_of(approval).carry_out(actor, approval)


def _void(actor: Actor, approval: Approval, changes: list[Change]) -> Conflict:
    """End it, because it speaks of what is no more. Returns what to raise once this is committed."""
    fault = checks.void_of(changes)
    change_state(
        approval,
        ApprovalState.VOID,
        actor=actor,
        reason=fault.message,
        digests={"facts": approval.facts_digest},
        decided_at=Now(),
        void_changes=changes,
    )
    return fault


def _expire(actor: Actor, approval: Approval) -> Conflict:
    """End it after its deadline, whoever comes by first. Returns what to raise once this is committed."""
    fault = checks.deadline_passed(approval)
    change_state(
        approval,
        ApprovalState.EXPIRED,
        actor=actor,
        reason=fault.message,
        digests={"facts": approval.facts_digest},
        decided_at=Now(),
    )
    return fault


# -- ending without a decision --------------------------------------------------------------------------------------
def withdraw(*, actor: Actor, approval: Approval, reason: str) -> Approval:
    """Take the request back: its requester alone, for a reason. Raises Conflict when it has ended already."""
    require(actor, "approval.withdraw", approval)
    checks.check_own(actor, approval)
    reason = checks.checked_text(reason, "reason", checks.REASON)
    with transaction.atomic():
        row = _locked(approval)
        checks.check_pending(row)
        digests = {"facts": row.facts_digest}
        change_state(row, ApprovalState.WITHDRAWN, actor=actor, reason=reason, digests=digests, decided_at=Now())
        seal_now()
    return row


def expire_due(*, actor: Actor) -> int:
    """The dispatcher's round: end what is pending past its deadline. Returns how many."""
    require(actor, "approval.expire")
    due = Approval.objects.filter(state=ApprovalState.PENDING, deadline_at__lte=Now()).order_by("deadline_at")
    expired = 0
    for approval in due[:EXPIRED_AT_ONCE]:
        with transaction.atomic():
            row = _locked(approval)
            if row.state == ApprovalState.PENDING:  # else decided, or expired by somebody else, since it was listed
                _expire(actor, row)
                seal_now()
                expired += 1
    return expired


# -- what a project asks --------------------------------------------------------------------------------------------
def set_approval_policy(
    *, actor: Actor, project: Project, subject_type: str, needed: int, deadline_hours: int, reason: str = ""
) -> ApprovalPolicy:
    """How many approvals a subject type takes in this project, and within how many hours, for requests from now on.

    Conflict when nothing would change, Invalid outside the limits. More may be asked for than there are approvers:
    then requests are refused until there are.
    """
    require(actor, "approval.set_policy", project)
    checks.check_subject_type(subject_type)
    checks.check_policy(needed, deadline_hours)
    reason = checks.checked_text(reason, "reason", checks.REASON, least=0)
    wanted = {"needed": needed, "deadline_hours": deadline_hours}
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # the row of the policy may not be there to be locked
        row = ApprovalPolicy.objects.filter(project=project, subject_type=subject_type).first()
        held = row or ApprovalPolicy(project=project, subject_type=subject_type)
        now = row or DEFAULT
        before = {"needed": now.needed, "deadline_hours": now.deadline_hours}
        if before == wanted:
            raise Conflict("This is what it takes already.", code="nothing_to_change")
        held.needed, held.deadline_hours = needed, deadline_hours
        held.save()
        record(
            actor=actor,
            action="approval.set_policy",
            obj=held,
            reason=reason,
            before=before,
            after={"subject_type": subject_type, **wanted},
        )
        seal_now()
    return held
