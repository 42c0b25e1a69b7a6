"""Facts that change between the request and the decision end the approval, and the end is kept."""

import pytest

from apps.core.errors import Conflict
from apps.platform.approvals.models import Approval, Vote
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.stand_in import carried_out


def refused(decide, approver, approval) -> Conflict:
    with pytest.raises(Conflict) as refusal:
        decide(approver, approval)
    assert refusal.value.code == "approval_void"
    return refusal.value


def test_a_changed_fact_is_named_with_both_values(ask, decide, approver, subject):
    approval = ask()
    subject.facts["figures"]["mae"] = 1.5
    refusal = refused(decide, approver, approval)
    approval.refresh_from_db()
    assert (approval.state, carried_out(), Vote.objects.count()) == ("void", 0, 0)
    assert approval.void_changes == [{"path": "/figures/mae", "was": 1.25, "is": 1.5}]
    assert "/figures/mae was 1.25, is 1.5" in refusal.message
    assert [error["field"] for error in refusal.errors] == ["/facts", "/facts/figures/mae"]


@pytest.mark.django_db(transaction=True)
def test_the_void_is_committed_recorded_and_sealed_although_the_call_fails(ask, decide, approver, subject):
    approval = ask()
    subject.facts["version"] = 4
    refused(decide, approver, approval)
    row = AuditRecord.objects.get(action="approval.void")
    assert row.seq is not None
    assert approval.facts_digest in row.body
    assert "/version" in row.body


def test_bytes_that_were_tampered_with_are_found(ask, decide, approver, subject):
    approval = ask()
    subject.bytes_are = "b" * 64
    assert "/digest" in refused(decide, approver, approval).message


def test_a_row_that_changes_behind_the_look_at_the_bytes_is_found(ask, decide, approver, subject):
    approval = ask()
    subject.meanwhile = lambda: subject.facts.update(version=4)
    assert "/version was 3, is 4" in refused(decide, approver, approval).message


def test_a_subject_that_is_gone_voids(ask, decide, approver, subject):
    approval = ask()
    subject.gone = True
    refused(decide, approver, approval)
    approval.refresh_from_db()
    assert approval.void_changes == [{"path": "", "was": "there"}]


def test_facts_that_were_edited_in_the_database_void(ask, decide, approver):
    approval = ask()
    Approval.objects.update(facts=approval.facts.replace("1.25", "0.25"))
    refused(decide, approver, approval)


def test_a_change_between_two_votes_voids(two_needed, second, ask, decide, approver, subject):
    approval = ask()
    decide(approver, approval)
    subject.facts["version"] = 4
    refused(decide, second, approval)
    assert carried_out() == 0


def test_a_rejection_stands_whatever_changed(ask, decide, approver, subject):
    approval = ask()
    subject.facts["version"] = 4
    assert decide(approver, approval, "reject").state == "rejected"
