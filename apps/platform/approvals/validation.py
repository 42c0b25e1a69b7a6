"""Validation in the approval services: texts, deciders, and the state of the approval."""

from __future__ import annotations

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, Refused
from apps.core.request_values import validate_choice
from apps.platform.accounts.reauthentication import TOKEN, Proof
from apps.platform.approvals.differences import Change, describe_change
from apps.platform.approvals.models import Approval, Vote
from apps.platform.approvals.states import ApprovalState
from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
from apps.platform.approvals.terms import DEADLINE_HOURS_RANGE, NEEDED_RANGE
from deepseek.messages import N_, Message

MAX_REASON_LENGTH, MAX_COMMENT_LENGTH, MAX_TITLE_LENGTH = 2000, 2000, 200  # characters
MAX_REMARKS = 40  # questions and answers of one approval
MAX_SUMMARY_CHANGES = 3  # changes that the first sentence names; the others follow in the list


def validate_text(text: str, field: str, most: int, *, least: int = 1) -> str:
    """The text without outer space; Invalid outside its length."""
    stripped = text.strip()
    if least <= len(stripped) <= most:
        return stripped
    message = (
        Message("{field} has {count} characters.", field=field, count=len(stripped))
        if stripped
        else Message("{field} must not be blank.", field=field)
    )
    raise Invalid(message, code="text_length", field=f"/{field}", limit=f"{least} to {most} characters")


def validate_number(value: int, field: str, limits: tuple[int, int]) -> int:
    low, high = limits
    if low <= value <= high:
        return value
    raise Invalid(
        "{name} is {found}.", name=field, found=value, code="out_of_range", field=f"/{field}", limit=f"{low} to {high}"
    )


def check_subject_type(subject_type: str) -> None:
    validate_choice(
        "/subject_type",
        subject_type,
        APPROVAL_SUBJECTS,
        N_("Nothing called {found!r} needs an approval."),
        required=True,
        code="unknown_subject_type",
    )


def check_policy(needed: int, deadline_hours: int) -> None:
    validate_number(needed, "needed", NEEDED_RANGE)
    validate_number(deadline_hours, "deadline_hours", DEADLINE_HOURS_RANGE)


def check_proof(actor: Actor, proof: Proof) -> None:
    """A person decides, and has just proved to be that person; a token counts for calls made with it alone."""
    if actor.user_id is None:
        raise Refused("No service account decides: a person must.", code="not_a_person", action="approval.decide")
    if proof.user_id != actor.user_id or (proof.method == TOKEN) != (actor.token_id is not None):
        raise Refused("The proof is not this person's.", code="proof_missing", action="approval.decide")


def check_not_own(actor: Actor, approval: Approval) -> None:
    if approval.follows is not None and approval.follows.is_requested_by(actor):
        raise Refused(
            "You count as who asked for approval {number}, which this one follows: somebody else must decide.",
            number=approval.follows_id,
            code="own_request",
            action="approval.decide",
            project_id=approval.project_id,
            object_type="approval",
            object_id=approval.pk,
            hint=N_("An approver who asked for neither decides."),
        )
    if approval.is_requested_by(actor):
        own = approval.is_own_of(actor)
        raise Refused(
            Message("You asked for this yourself: somebody else must decide.")
            if own
            else Message(
                "You created, hold or used a token of {requester}, which asked: somebody else must decide.",
                requester=approval.requester,
            ),
            code="own_request",
            action="approval.decide",
            project_id=approval.project_id,
            object_type="approval",
            object_id=approval.pk,
            hint=Message("You may withdraw it.")
            if own
            else Message("An approver who never had a token of it decides."),
        )


def check_own(actor: Actor, approval: Approval, action: str = "approval.withdraw") -> None:
    if not approval.is_own_of(actor):
        raise Refused(
            "Only who asked for it withdraws it, or answers.",
            code="not_yours",
            action=action,
            project_id=approval.project_id,
            object_type="approval",
            object_id=approval.pk,
            hint=N_("An approver may reject it."),
        )


def check_pending(approval: Approval) -> None:
    if approval.state == ApprovalState.PENDING:
        return
    raise Conflict(
        "The approval {approval_pk} is {approval_state} already: nothing more is decided.",
        approval_pk=approval.pk,
        approval_state=approval.state,
        code="already_decided",
        field="state",
        limit=ApprovalState.PENDING.value,
    )


def check_seen(approval: Approval, facts_digest: str) -> None:
    """Raise Conflict unless the decider saw the current facts."""
    if facts_digest != approval.facts_digest:
        raise Conflict(
            "The facts that you saw are not those of this approval.",
            code="facts_changed_since_you_looked",
            field="/facts_digest",
            limit=approval.facts_digest,
            hint=N_("Read it again, then decide."),
        )


def check_not_voted(vote: Vote | None) -> None:
    if vote is not None:
        raise Conflict(
            "You have voted on this already ({decision}, {at}).",
            decision=vote.decision,
            at=vote.at.isoformat(timespec="seconds"),
            code="already_voted",
            hint=N_("A vote stands. Somebody else must give the next one."),
        )


def check_room(approval: Approval) -> None:
    if approval.remarks.count() >= MAX_REMARKS:
        raise Conflict(
            "The approval {approval_pk} has {remarks} questions and answers already.",
            approval_pk=approval.pk,
            remarks=MAX_REMARKS,
            code="too_many_remarks",
            limit=MAX_REMARKS,
            hint=N_("Decide, or let it be withdrawn and asked for anew."),
        )


def build_too_few_error(needed: int, eligible: int) -> Conflict:
    return Conflict(
        "It takes {needed} approvals, and {eligible} people here could give one.",
        needed=needed,
        eligible=eligible,
        code="too_few_approvers",
        limit=needed,
        hint=N_(
            "The security administrator gives the role approver and confirms credentials; who asks cannot approve."
        ),
    )


def build_pending_error(first: Approval) -> Conflict:
    return Conflict(
        "The approval {first_pk} of {requester} is pending for this already.",
        first_pk=first.pk,
        requester=first.requester,
        code="approval_pending",
        limit=first.pk,
        hint=N_("Wait for it, or withdraw it and ask anew."),
    )


def build_deadline_error(approval: Approval) -> Conflict:
    when = approval.deadline_at.isoformat(timespec="seconds")
    return Conflict(
        "The deadline has passed: {when}. The approval is expired.",
        when=when,
        code="deadline_passed",
        field="deadline_at",
        limit=when,
        hint=N_("Ask anew."),
    )


def build_void_error(changes: list[Change]) -> Conflict:
    """The refusal that names every fact that changed; the first entry names the first few."""
    summary = "; ".join(describe_change(change) for change in changes[:MAX_SUMMARY_CHANGES])
    more = (
        Message(", and {count} more", count=len(changes) - MAX_SUMMARY_CHANGES)
        if len(changes) > MAX_SUMMARY_CHANGES
        else ""
    )
    error = Conflict(
        "What was asked for is not what stands now: {named}{more}. The approval is void.",
        named=summary,
        more=more,
        code="approval_void",
        field="/facts",
        hint=N_("Ask anew, on the facts as they are."),
    )
    each = [{**error.first(), "message": describe_change(c), "field": f"/facts{c['path']}"} for c in changes]
    return Conflict(error.message, code=error.code, field=error.field, hint=error.hint, errors=[error.first(), *each])
