from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts.actors import build_actor_for_token
from apps.platform.accounts.models import Membership, ServiceAccount, User
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.models import Approval, Vote
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.stand_in import carried_out
from tests.conftest import member

pytestmark = pytest.mark.services

PASSED = timedelta(seconds=1)


def test_the_vote_that_is_needed_decides_and_carries_out(ask, decide, approver):
    approval = decide(approver, ask())
    assert (approval.state, carried_out()) == ("approved", 1)
    assert approval.decided_at is not None
    vote = Vote.objects.get()
    assert (vote.label, vote.decision, vote.method) == ("approver", "approve", "password")
    assert vote.facts_digest == approval.facts_digest


def test_bytes_are_read_before_the_lock_and_rows_behind_it(ask, decide, approver, subject):
    decide(approver, ask())
    assert subject.looks == [True, False]


@pytest.mark.django_db(transaction=True)
def test_the_vote_and_the_decision_are_recorded_with_the_digest_and_sealed(ask, decide, approver):
    approval = decide(approver, ask(), reason="Clean for 18 days.")
    rows = {row.action: row for row in AuditRecord.objects.filter(object_type="approval")}
    assert {"approval.request", "approval.approve", "approval.approved"} == set(rows)
    assert all(row.seq for row in AuditRecord.objects.all())
    for action in ("approval.approve", "approval.approved"):
        assert approval.facts_digest in rows[action].body
        assert "Clean for 18 days." in rows[action].body


def test_two_of_two_carry_out_once(two_needed, second, ask, decide, approver):
    approval = ask()
    assert decide(approver, approval).state == "pending"
    assert carried_out() == 0
    assert decide(second, approval).state == "approved"
    assert carried_out() == 1


def leave(user):
    Membership.objects.filter(user=user).delete()


def become_viewer(user):
    Membership.objects.filter(user=user).update(role=ProjectRole.VIEWER)


def be_disabled(user):
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("lose", [leave, become_viewer, be_disabled])
def test_a_vote_of_who_may_vote_no_more_counts_no_more(two_needed, second, project, ask, decide, approver, lose):
    third = member(project, "third", ProjectRole.APPROVER)
    approval = ask()
    decide(approver, approval)
    lose(approver)
    assert decide(second, approval).state == "pending"
    assert decide(third, approval).state == "approved"


def test_nobody_votes_twice(two_needed, second, ask, decide, approver):
    approval = ask()
    decide(approver, approval)
    with pytest.raises(Conflict) as refusal:
        decide(approver, approval)
    assert refusal.value.code == "already_voted"
    assert Vote.objects.count() == 1


def test_what_is_decided_is_decided(ask, decide, approver, second):
    approval = ask()
    decide(approver, approval)
    with pytest.raises(Conflict) as refusal:
        decide(second, approval)
    assert refusal.value.code == "already_decided"
    assert carried_out() == 1


def test_nobody_approves_their_own_request(project, ask, decide, approver, actor_for):
    both = member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER)
    approval = ask(by=actor_for(both))
    with pytest.raises(Refused) as refusal:
        decide(both, approval)
    assert refusal.value.code == "own_request"
    assert not Vote.objects.exists()


def test_nor_one_made_with_a_token_of_theirs(project, ask, decide, approver, make_token):
    both = member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER)
    approval = ask(by=build_actor_for_token(make_token(both)[1]))
    with pytest.raises(Refused) as refusal:
        decide(both, approval)
    assert refusal.value.code == "own_request"


def test_a_person_decides_on_what_a_service_account_asked(project, engineer, ask, decide, approver, make_token):
    account = ServiceAccount.objects.create(project=project, name="nightly")
    Membership.objects.create(project=project, service_account=account, role=ProjectRole.ENGINEER)
    actor = build_actor_for_token(
        make_token(None, project, ["models:write"], service_account=account, holder=engineer)[1]
    )
    approval = ask(by=actor)
    assert (approval.requester, approval.requester_user_id) == ("nightly", None)
    assert decide(approver, approval).state == "approved"


def test_a_service_account_decides_nothing(project, ask, decide, approver, make_token):
    account = ServiceAccount.objects.create(project=project, name="nightly")
    Membership.objects.create(project=project, service_account=account, role=ProjectRole.APPROVER)
    actor = build_actor_for_token(make_token(None, project, ["approvals:decide"], service_account=account)[1])
    with pytest.raises(Refused) as refusal:
        decide(approver, ask(), actor=actor)
    assert refusal.value.code == "not_a_person"


def test_only_approvers_of_the_project_decide(ask, decide, engineer, viewer, stranger, auditor):
    approval = ask()
    for user in (viewer, engineer, auditor):
        with pytest.raises(Refused):
            decide(user, approval)
    with pytest.raises(NotFound):
        decide(stranger, approval)


def test_the_proof_must_be_of_this_person_and_of_this_way_in(ask, decide, approver, second, actor_for, make_token):
    approval = ask()
    by_token = build_actor_for_token(make_token(approver)[1])
    for changes in (
        {"proof": Proof(user_id=second.pk, method="password")},
        {"proof": Proof(user_id=approver.pk, method="token")},
        {"proof": Proof(user_id=approver.pk, method="password"), "actor": by_token},
    ):
        with pytest.raises(Refused) as refusal:
            decide(approver, approval, **changes)
        assert refusal.value.code == "proof_missing"


def test_a_token_must_have_the_scope(ask, decide, approver, make_token):
    actor = replace(build_actor_for_token(make_token(approver)[1]), scopes=frozenset({"read"}))
    with pytest.raises(Refused) as refusal:
        decide(approver, ask(), actor=actor, proof=Proof(user_id=approver.pk, method="token"))
    assert (refusal.value.code, refusal.value.limit) == ("scope_missing", "approvals:decide")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001])
def test_a_reason_is_needed(ask, decide, approver, reason):
    with pytest.raises(Invalid) as refusal:
        decide(approver, ask(), reason=reason)
    assert refusal.value.field == "/reason"
    assert not Vote.objects.exists()


def test_one_decides_about_what_one_saw(ask, decide, approver):
    with pytest.raises(Conflict) as refusal:
        decide(approver, ask(), facts_digest="0" * 64)
    assert refusal.value.code == "facts_changed_since_you_looked"
    assert not Vote.objects.exists()


def test_past_the_deadline_it_expires_although_no_dispatcher_came(ask, decide, approver):
    approval = ask()
    Approval.objects.update(deadline_at=timezone.now() - PASSED)
    with pytest.raises(Conflict) as refusal:
        decide(approver, approval)
    approval.refresh_from_db()
    assert refusal.value.code == "deadline_passed"
    assert approval.deadline_at.isoformat(timespec="seconds") in refusal.value.message
    assert (approval.state, carried_out(), Vote.objects.count()) == ("expired", 0, 0)


def test_what_cannot_be_carried_out_leaves_everything_as_it_was(ask, decide, approver, subject):
    approval = ask()
    records = AuditRecord.objects.count()
    subject.fails = Conflict("The thing is held.")
    with pytest.raises(Conflict, match="held"):
        decide(approver, approval)
    approval.refresh_from_db()
    assert (approval.state, Vote.objects.count(), AuditRecord.objects.count()) == ("pending", 0, records)


@pytest.mark.django_db(transaction=True)
def test_it_is_never_part_of_a_larger_transaction(ask, decide, approver):
    approval = ask()
    with pytest.raises(RuntimeError), transaction.atomic():
        decide(approver, approval)


def test_a_disabled_approver_is_nobody(ask, decide, approver):
    approval = ask()
    User.objects.filter(pk=approver.pk).update(is_active=False)
    with pytest.raises(Exception) as refusal:
        decide(approver, approval)
    assert refusal.value.code == "unauthenticated"
