"""Who is told of approvals, when, and that nobody is reminded of what is done."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, ProjectRole, build_plane_actor
from apps.core.errors import Conflict
from apps.platform.accounts.models import HolderKind, Membership, ServiceAccount, ServiceAccountHolder
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import answer, ask_for_more, expire_due, withdraw
from apps.platform.notices.models import Notice


def list_notices(**filters):
    rows = Notice.objects.filter(**filters).order_by("pk")
    return [(row.kind, row.recipient.username, row.message["message"]) for row in rows.select_related("recipient")]


def test_everybody_who_may_decide_is_told_but_who_asks(ask, engineer, approver, second, viewer, project):
    Membership.objects.create(project=project, user=engineer, role=ProjectRole.APPROVER)
    approval = ask()
    assert {(kind, name) for kind, name, _ in list_notices()} == {
        ("approval.requested", "approver"),
        ("approval.requested", "second"),
    }
    notice = Notice.objects.first()
    assert (notice.path, notice.message["message"]) == (
        f"/p/demo/approvals/{approval.pk}",
        "engineer asks for approval: Move the thing to 3",
    )


def test_whoever_asked_is_told_the_end_and_nobody_is_reminded(ask, decide, approver, second):
    decide(approver, ask())
    assert list_notices(kind="approval.ended") == [
        ("approval.ended", "engineer", "approver approved; the change is done: Move the thing to 3")
    ]
    assert not Notice.objects.filter(kind="approval.requested", read_at=None).exists()


def test_a_vote_ends_the_reminder_of_its_voter_alone(ask, decide, approver, second, two_needed):
    decide(approver, ask())
    assert [name for _, name, _ in list_notices(read_at=None)] == ["second"]


def test_each_other_end_is_told(ask, decide, approver, engineer, subject, actor_for):
    decide(approver, ask(subject_id=1), "reject")
    void = ask(subject_id=2)
    subject.facts = {**subject.facts, "more": 1}
    with pytest.raises(Conflict):
        decide(approver, void)
    late = ask(subject_id=3)
    Approval.objects.filter(pk=late.pk).update(deadline_at=late.created_at)
    expire_due(actor=build_plane_actor(PlaneRole.DISPATCHER))
    assert [message.split(":")[0] for _, _, message in list_notices(kind="approval.ended")] == [
        "approver rejected",
        "Void, because what was asked for has changed",
        "Expired without a decision",
    ]
    withdraw(actor=actor_for(engineer), approval=ask(subject_id=4), reason="Wrong.")
    assert len(list_notices(kind="approval.ended")) == 3
    assert not Notice.objects.filter(kind="approval.requested", read_at=None).exists()


def test_questions_and_answers_reach_the_other_side(ask, approver, second, engineer, actor_for):
    approval = ask()
    ask_for_more(actor=actor_for(approver), approval=approval, facts_digest=approval.facts_digest, reason="Why?")
    answer(actor=actor_for(engineer), approval=approval, text="Because.")
    assert [(name, message.split(":")[0]) for _, name, message in list_notices(kind="approval.remarked")] == [
        ("engineer", "approver asks for more about"),
        ("approver", "engineer answers about"),
    ]


def test_the_people_behind_a_service_account_are_told(ask, decide, project, approver, viewer):
    account = ServiceAccount.objects.create(project=project, name="tool")
    ServiceAccountHolder.objects.create(service_account=account, user=viewer, kind=HolderKind.USED_TOKEN)
    approval = ask()
    Approval.objects.filter(pk=approval.pk).update(requester_user=None, requester_service_account=account)
    decide(approver, approval, "reject")
    assert [name for _, name, _ in list_notices(kind="approval.ended")] == ["viewer"]
