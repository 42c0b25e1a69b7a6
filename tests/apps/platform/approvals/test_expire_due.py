from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import expire_due
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services

DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER)


def test_what_is_past_its_deadline_expires_and_the_rest_waits(ask, decide, approver):
    late, decided, waiting = ask(subject_id=1), ask(subject_id=2), ask(subject_id=3)
    decide(approver, decided)
    Approval.objects.exclude(pk=waiting.pk).update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert expire_due(actor=DISPATCHER) == 1
    states = dict(Approval.objects.values_list("pk", "state"))
    assert states == {late.pk: "expired", decided.pk: "approved", waiting.pk: "pending"}
    assert AuditRecord.objects.get(action="approval.expired").actor == "dispatcher"
    assert expire_due(actor=DISPATCHER) == 0


def test_a_round_with_nothing_to_do_is_one_query(ask, django_assert_num_queries):
    ask()
    with django_assert_num_queries(1):
        expire_due(actor=DISPATCHER)


def test_it_reads_the_pending_ones_alone(db):
    due = Approval.objects.filter(state="pending", deadline_at__lte=timezone.now()).order_by("deadline_at")
    if connection.vendor == "sqlite":  # PostgreSQL reads an empty table whole
        assert "approval_deadlines" in due.explain()


def test_only_the_dispatcher_does(engineer, actor_for):
    with pytest.raises(Refused):
        expire_due(actor=actor_for(engineer))
