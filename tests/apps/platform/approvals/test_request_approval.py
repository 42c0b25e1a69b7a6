from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts.models import User
from apps.platform.approvals.fact_names import query_fact_names
from apps.platform.approvals.models import Approval, FactName
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.stand_in import FACTS
from tests.conftest import member


def test_it_holds_the_facts_and_who_asked(ask, engineer, project):
    approval = ask(comment=" Better on every day. ")
    assert (approval.state, approval.requester, approval.requester_user_id) == ("pending", "engineer", engineer.pk)
    assert (approval.needed, approval.eligible, approval.comment) == (1, 1, "Better on every day.")
    assert approval.facts_digest == compute_digest(FACTS)
    assert abs(approval.deadline_at - timezone.now() - timedelta(hours=72)) < timedelta(minutes=1)


@pytest.mark.django_db(transaction=True)
def test_it_is_recorded_with_the_digest_and_sealed_at_once(ask):
    approval = ask()
    row = AuditRecord.objects.get(action="approval.request")
    assert row.seq is not None
    assert (row.object_type, row.object_id) == ("approval", str(approval.pk))
    assert approval.facts_digest in row.body


def test_a_second_one_for_the_subject_is_refused_and_the_first_is_named(ask):
    first = ask()
    with pytest.raises(Conflict) as refusal:
        ask()
    assert (refusal.value.code, refusal.value.limit) == ("approval_pending", first.pk)
    assert ask(subject_id=8).pk != first.pk


def test_one_past_its_deadline_makes_room(ask):
    first = ask()
    Approval.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert ask().state == "pending"
    first.refresh_from_db()
    assert first.state == "expired"


def test_too_few_approvers_are_named_by_both_numbers(ask, two_needed):
    with pytest.raises(Conflict) as refusal:
        ask()
    assert refusal.value.code == "too_few_approvers"
    assert "2 approvals" in refusal.value.message
    assert "1 people" in refusal.value.message
    assert not Approval.objects.exists()


def test_neither_who_asks_nor_who_is_disabled_nor_a_stranger_counts(
    ask, project, second, approver, stranger, actor_for
):
    both = member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER)
    User.objects.filter(pk=second.pk).update(is_active=False)
    assert ask(by=actor_for(both)).eligible == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": "  "}, "/title"),
        ({"title": "x" * 201}, "/title"),
        ({"comment": "x" * 2001}, "/comment"),
        ({"facts": {"text": "x" * 70_000}}, "/facts"),
        ({"facts": {"mae": float("nan")}}, "/facts"),
        ({"facts": ["a list"]}, "/facts"),
        ({"subject_type": "nothing"}, "/subject_type"),
        ({"deadline_hours": 0}, "/deadline_hours"),
        ({"deadline_hours": 73}, "/deadline_hours"),
    ],
)
def test_what_is_outside_its_limits_is_named(ask, changes, field):
    with pytest.raises(Invalid) as refusal:
        ask(**changes)
    assert refusal.value.field == field
    assert refusal.value.limit


def test_a_shorter_deadline_may_be_asked_for(ask):
    assert ask(deadline_hours=2).deadline_at < timezone.now() + timedelta(hours=3)


def test_only_an_engineer_of_the_project_asks(ask, viewer, approver, stranger, actor_for):
    for user in (viewer, approver):
        with pytest.raises(Refused):
            ask(by=actor_for(user))
    with pytest.raises(NotFound):
        ask(by=actor_for(stranger))


def test_the_ids_and_digests_that_the_facts_name_are_written_down(ask, project):
    run, digest = "0a" * 16, "b1" * 32
    facts = {"run": run, "again": run, "data": f"sha256:{digest}", "no id": "c" * 33, "model": f"m-{'d' * 32}"}
    approval = ask(facts=facts)
    assert set(approval.names.values_list("key", flat=True)) == {run, digest, "d" * 32}
    assert {row.approval_id for row in query_fact_names(project.pk, [run, "f" * 32])} == {approval.pk}


def test_those_of_approvals_from_before_are_read_once(ask):
    approval = ask(facts={"run": "0a" * 16})
    FactName.objects.all().delete()
    import_module("apps.platform.approvals.migrations.0005_names_of_facts").fill(apps, None)
    assert list(approval.names.values_list("key", flat=True)) == ["0a" * 16]
