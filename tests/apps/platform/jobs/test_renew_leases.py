from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def expiring(submit, claim):
    """Two running jobs of w1 whose leases are over."""
    jobs = [submit() and claim() for _ in range(2)]
    Job.objects.update(lease_until=Now() - timedelta(seconds=1))
    return jobs


def test_renews_all_in_one_write_without_a_record(expiring, worker_actor, django_assert_num_queries):
    records = AuditRecord.objects.count()
    with django_assert_num_queries(1):
        held = services.renew_leases(actor=worker_actor, owner="w1", jobs=[(j.pk, j.attempt) for j in expiring])
    assert held == 2
    assert Job.objects.filter(lease_until__gt=Now()).count() == 2
    assert AuditRecord.objects.count() == records


@pytest.mark.parametrize(("owner", "attempt", "held"), [("w1", 1, 1), ("w1", 2, 0), ("w1", 0, 0), ("w2", 1, 0)])
def test_only_what_this_attempt_holds(expiring, worker_actor, owner, attempt, held):
    assert services.renew_leases(actor=worker_actor, owner=owner, jobs=[(expiring[0].pk, attempt)]) == held
    assert Job.objects.filter(lease_until__gt=Now()).count() == held


def test_nothing_held_is_no_query(worker_actor, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert services.renew_leases(actor=worker_actor, owner="w1", jobs=[]) == 0


def test_takes_a_worker(actor_for, engineer, expiring):
    with pytest.raises(Refused):
        services.renew_leases(actor=actor_for(engineer), owner="w1", jobs=[(expiring[0].pk, 1)])
