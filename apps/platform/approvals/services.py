"""Every write on approvals: ask, vote, withdraw, expire, set what a project asks. All are recorded and sealed.

Every change of a pending approval first locks its row, so votes come one after the other. What ends an approval
although the call fails (a deadline that has passed, facts that have changed) is committed before the call raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.accounts.reauthentication import Proof
from apps.platform.accounts.token_holders import require_known_holder
from apps.platform.approvals import notices, validation
from apps.platform.approvals.differences import Change, find_changes, serialize_facts
from apps.platform.approvals.fact_names import extract_names
from apps.platform.approvals.models import Approval, ApprovalPolicy, FactName, Look, Remark, Vote
from apps.platform.approvals.states import ApprovalState, Decision
from apps.platform.approvals.subjects import get_approval_subject
from apps.platform.approvals.terms import DEFAULT_TERMS, get_terms, query_eligible_voters
from apps.platform.audit.services import change_state, record, seal_now

MAX_EXPIRED_PER_ROUND = 100  # of one round of the dispatcher
LOOK_REFRESH_INTERVAL = timedelta(minutes=1)  # a page that is reloaded within it writes nothing


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
    follows: Approval | None = None,
) -> Approval:
    """Ask the approvers of the project. May be called inside the caller's transaction.

    `follows`: an earlier request of the same undertaking, such as the start of a rollout before its next wave; who
    asked for that does not decide this either.
    `deadline_hours`: fewer than the project's policy gives, or None for that.
    Raises Conflict `approval_pending` (the subject has a pending one, which is named), `too_few_approvers` (fewer
    people could approve than must); Invalid for texts, facts or a deadline outside their limits.
    """
    require(actor, "approval.request", project)
    validation.check_subject_type(subject_type)
    title = validation.validate_text(title, "title", validation.MAX_TITLE_LENGTH)
    comment = validation.validate_text(comment, "comment", validation.MAX_COMMENT_LENGTH, least=0)
    text = serialize_facts(facts)
    terms = get_terms(project, subject_type)
    hours = terms.deadline_hours if deadline_hours is None else deadline_hours
    validation.validate_number(hours, "deadline_hours", (1, terms.deadline_hours))
    require_known_holder(actor)
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
        follows=follows,
        needed=terms.needed,
        deadline_at=Now() + timedelta(hours=hours),
    )
    approval.eligible = query_eligible_voters(approval).count()
    if approval.eligible < terms.needed:
        raise validation.build_too_few_error(terms.needed, approval.eligible)
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
        raise validation.build_pending_error(first)
    _expire(actor, first)


def _insert(actor: Actor, approval: Approval) -> None:
    try:
        with transaction.atomic():
            approval.save(force_insert=True)
            record_names(approval)
    except IntegrityError:  # asked for twice at the same instant
        same = Approval.objects.filter(subject_type=approval.subject_type, subject_id=approval.subject_id)
        first = same.filter(project_id=approval.project_id, state=ApprovalState.PENDING).first()
        if first is None:
            raise
        raise validation.build_pending_error(first) from None
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
    notices.notify_deciders(approval)


def record_names(approval: Approval) -> None:
    """Write down which ids and digests the facts name; in the transaction that saves the approval."""
    names = extract_names(approval.facts)
    FactName.objects.bulk_create(FactName(approval=approval, project=approval.project, key=key) for key in names)


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
    require_confirmed(actor, "approval.decide", project_id=approval.project_id)
    validation.check_proof(actor, proof)
    validation.check_not_own(actor, approval)
    reason = validation.validate_text(reason, "reason", validation.MAX_REASON_LENGTH)
    asks_facts = decision == Decision.APPROVE
    # Bytes are read before the lock, which must be short; rows are read again behind it.
    changed = find_changes(approval, deep=True) if asks_facts and approval.state == ApprovalState.PENDING else []
    ended: Conflict | None = None
    with transaction.atomic(durable=True):  # durable: inside another transaction, its rollback would undo a void
        row = _lock_approval(approval)
        validation.check_pending(row)
        validation.check_seen(row, facts_digest)
        own = row.votes.filter(user_id=proof.user_id).first()
        resumes = asks_facts and _has_enough_again(row, own)
        if not resumes:
            validation.check_not_voted(own)
        if row.due:  # type: ignore[attr-defined]  # annotated
            ended = _expire(actor, row)
        elif asks_facts and (changed := changed or find_changes(row)):
            ended = _void(actor, row, changed)
        elif resumes:
            _carry_out(actor, row, reason, _record_decision(actor, row, "approval.resume", reason, proof))
        else:
            _vote(actor, row, decision, reason, proof)
        seal_now()
    if ended is not None:
        raise ended
    return row


def _lock_approval(approval: Approval) -> Approval:
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
    digests = _record_decision(actor, approval, f"approval.{decision}", reason, proof)
    notices.settle_own_notice(approval, actor)
    if decision == Decision.REJECT:
        change_state(approval, ApprovalState.REJECTED, actor=actor, reason=reason, digests=digests, decided_at=Now())
        notices.notify_requester(approval, actor)
    elif _count_given(approval) >= approval.needed:
        _carry_out(actor, approval, reason, digests)


def _count_given(approval: Approval) -> int:
    return approval.votes.counting(approval.project_id).count()


def _has_enough_again(approval: Approval, own: Vote | None) -> bool:
    """Enough votes count, but none of them was the last: somebody lost the role and was given it again. Whoever voted
    for it may then carry it out, with a reason and the proof again; nobody might be left who has not voted."""
    return own is not None and own.decision == Decision.APPROVE and _count_given(approval) >= approval.needed


def _record_decision(actor: Actor, approval: Approval, action: str, reason: str, proof: Proof) -> dict[str, str]:
    """The record of a decision. Returns the digests that it is about."""
    details = {"given": _count_given(approval), "needed": approval.needed, "proof": proof.method}
    digests = {"facts": approval.facts_digest}
    record(actor=actor, action=action, obj=approval, reason=reason, after=details, digests=digests)
    return digests


def _carry_out(actor: Actor, approval: Approval, reason: str, digests: dict[str, str]) -> None:
    change_state(approval, ApprovalState.APPROVED, actor=actor, reason=reason, digests=digests, decided_at=Now())
    get_approval_subject(approval).carry_out(actor, approval)
    notices.notify_requester(approval, actor)


def _void(actor: Actor, approval: Approval, changes: list[Change]) -> Conflict:
    """End it, because it speaks of what is no more. Returns what to raise once this is committed."""
    fault = validation.build_void_error(changes)
    change_state(
        approval,
        ApprovalState.VOID,
        actor=actor,
        reason=fault.message,
        digests={"facts": approval.facts_digest},
        decided_at=Now(),
        void_changes=changes,
    )
    notices.notify_requester(approval, actor)
    return fault


def _expire(actor: Actor, approval: Approval) -> Conflict:
    """End it after its deadline, whoever comes by first. Returns what to raise once this is committed."""
    fault = validation.build_deadline_error(approval)
    change_state(
        approval,
        ApprovalState.EXPIRED,
        actor=actor,
        reason=fault.message,
        digests={"facts": approval.facts_digest},
        decided_at=Now(),
    )
    notices.notify_requester(approval, actor)
    return fault


# -- asking back ----------------------------------------------------------------------------------------------------
def ask_for_more(*, actor: Actor, approval: Approval, facts_digest: str, reason: str) -> Remark:
    """A question to whoever asked, instead of a decision: the request stays as it is, and its deadline runs on.

    Raises as a vote does, but takes no proof: nothing is decided.
    """
    require(actor, "approval.ask", approval)
    validation.check_not_own(actor, approval)
    return _add_remark(actor, approval, asks=True, text=reason, facts_digest=facts_digest)


def answer(*, actor: Actor, approval: Approval, text: str) -> Remark:
    """The requester's answer to what was asked, or more that the approvers should know."""
    require(actor, "approval.answer", approval)
    validation.check_own(actor, approval, "approval.answer")
    return _add_remark(actor, approval, asks=False, text=text, facts_digest=approval.facts_digest)


def _add_remark(actor: Actor, approval: Approval, *, asks: bool, text: str, facts_digest: str) -> Remark:
    text = validation.validate_text(text, "reason" if asks else "text", validation.MAX_REASON_LENGTH)
    with transaction.atomic():
        row = _lock_approval(approval)
        validation.check_pending(row)
        validation.check_seen(row, facts_digest)
        if row.due:  # type: ignore[attr-defined]  # annotated
            raise validation.build_deadline_error(row)
        validation.check_room(row)
        remark = Remark.objects.create(approval=row, user_id=actor.user_id, label=actor.label, asks=asks, text=text)
        action, digests = "approval.ask" if asks else "approval.answer", {"facts": row.facts_digest}
        record(actor=actor, action=action, obj=row, reason=text, after={"remark": remark.pk}, digests=digests)
        notices.notify_of_remark(row, actor, asks=asks)
        seal_now()
    return remark


# -- looking --------------------------------------------------------------------------------------------------------
def record_look(*, actor: Actor, approval: Approval, seen_state: Mapping[str, Any]) -> Look | None:
    """Keep what this person is shown now, so that the next page tells them what has changed since; recorded whenever
    it is something new, which is evidence of what a decider had before them. None for who is no person at a browser.

    What they saw before stays in `before` until `let_go`. On the first look at a request it is what they saw of an
    earlier one for the same subject.
    """
    require(actor, "approval.view", approval)
    if actor.user_id is None or actor.token_id is not None:
        return None
    text = encode_canonical_json(seen_state)
    digest, mine = sha256_hex(text), Look.objects.filter(approval=approval, user_id=actor.user_id)
    look = mine.first()
    if look is not None and look.digest == digest:
        if timezone.now() - look.at > LOOK_REFRESH_INTERVAL:
            mine.update(at=timezone.now())
        return look
    with transaction.atomic():
        if look is None:
            look = _create_first_look(actor.user_id, approval, text, digest)
        else:
            look.before, look.before_at = look.before or look.shown, look.before_at or look.at
            look.digest, look.shown, look.at = digest, text, timezone.now()
            look.save()
        digests = {"facts": approval.facts_digest, "shown": digest}
        record(actor=actor, action="approval.look", obj=approval, digests=digests)
    return look


def _create_first_look(person: int, approval: Approval, text: str, digest: str) -> Look:
    same = {"approval__subject_type": approval.subject_type, "approval__subject_id": approval.subject_id}
    looks = Look.objects.filter(user_id=person, approval__project=approval.project_id, **same)
    earlier = looks.filter(approval__lt=approval.pk).order_by("-pk").first()
    previous = {"before": earlier.shown, "before_at": earlier.at} if earlier else {}
    defaults = {"digest": digest, "shown": text, "at": timezone.now(), **previous}
    return Look.objects.get_or_create(approval=approval, user_id=person, defaults=defaults)[0]


def dismiss_changes(*, actor: Actor, approval: Approval) -> None:
    """This person has seen what changed: the next page tells of what comes after. Nothing is left of it but that."""
    require(actor, "approval.view", approval)
    with transaction.atomic():
        looks = Look.objects.filter(approval=approval, user_id=actor.user_id or 0).exclude(before="")
        if looks.update(before="", before_at=None):
            record(actor=actor, action="approval.seen", obj=approval, digests={"facts": approval.facts_digest})


# -- ending without a decision --------------------------------------------------------------------------------------
def withdraw(*, actor: Actor, approval: Approval, reason: str) -> Approval:
    """Take the request back: its requester alone, for a reason. Raises Conflict when it has ended already."""
    require(actor, "approval.withdraw", approval)
    validation.check_own(actor, approval)
    reason = validation.validate_text(reason, "reason", validation.MAX_REASON_LENGTH)
    with transaction.atomic():
        row = _lock_approval(approval)
        validation.check_pending(row)
        digests = {"facts": row.facts_digest}
        change_state(row, ApprovalState.WITHDRAWN, actor=actor, reason=reason, digests=digests, decided_at=Now())
        notices.notify_requester(row, actor)
        seal_now()
    return row


def expire_due(*, actor: Actor) -> int:
    """The dispatcher's round: end what is pending past its deadline. Returns how many."""
    require(actor, "approval.expire")
    due = Approval.objects.filter(state=ApprovalState.PENDING, deadline_at__lte=Now()).order_by("deadline_at")
    expired = 0
    for approval in due[:MAX_EXPIRED_PER_ROUND]:
        with transaction.atomic():
            row = _lock_approval(approval)
            if row.state == ApprovalState.PENDING:  # else decided, or expired by somebody else, since it was listed
                _expire(actor, row)
                seal_now()
                expired += 1
    return expired


def void_requests(*, actor: Actor, project: Project, subject_type: str, subject_id: int | str, reason: str) -> int:
    """End every pending request about a subject that has come to its own end: nothing is left to decide. How many.

    One that is being voted on is left out: its vote finds the subject ended.
    """
    require(actor, "approval.void", project)
    pending = Approval.objects.filter(project=project, subject_type=subject_type, subject_id=str(subject_id))
    skips_locked = connection.features.has_select_for_update_skip_locked
    with transaction.atomic():
        rows = list(pending.filter(state=ApprovalState.PENDING).select_for_update(skip_locked=skips_locked))
        for row in rows:
            digests = {"facts": row.facts_digest}
            change_state(row, ApprovalState.VOID, actor=actor, reason=reason, digests=digests, decided_at=Now())
            notices.notify_requester(row, actor)
    return len(rows)


# -- what a project asks --------------------------------------------------------------------------------------------
def set_approval_policy(
    *, actor: Actor, project: Project, subject_type: str, needed: int, deadline_hours: int, reason: str = ""
) -> ApprovalPolicy:
    """How many approvals a subject type takes in this project, and within how many hours, for requests from now on.

    Conflict when nothing would change, Invalid outside the limits. More may be asked for than there are approvers:
    then requests are refused until there are.
    """
    require(actor, "approval.set_policy", project)
    require_confirmed(actor, "approval.set_policy", project_id=project.pk)
    validation.check_subject_type(subject_type)
    validation.check_policy(needed, deadline_hours)
    reason = validation.validate_text(reason, "reason", validation.MAX_REASON_LENGTH, least=0)
    requested = {"needed": needed, "deadline_hours": deadline_hours}
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # the row of the policy may not be there to be locked
        row = ApprovalPolicy.objects.filter(project=project, subject_type=subject_type).first()
        policy = row or ApprovalPolicy(project=project, subject_type=subject_type)
        now = row or DEFAULT_TERMS
        before = {"needed": now.needed, "deadline_hours": now.deadline_hours}
        if before == requested:
            raise Conflict("This is what it takes already.", code="nothing_to_change")
        policy.needed, policy.deadline_hours = needed, deadline_hours
        policy.save()
        record(
            actor=actor,
            action="approval.set_policy",
            obj=policy,
            reason=reason,
            before=before,
            after={"subject_type": subject_type, **requested},
        )
        seal_now()
    return policy
