import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def prioritise(actor_for, engineer):
    return lambda job, value, who=None: services.prioritise_job(
        actor=actor_for(who or engineer), job=job, priority=value
    )


@pytest.mark.parametrize("value", [-100, 0, 100])
def test_sets_and_records_it(submit, prioritise, value):
    assert prioritise(submit(priority=7), value).priority == value
    body = AuditRecord.objects.get(action="job.prioritise").body
    assert '"before":{"priority":7}' in body
    assert f'"after":{{"priority":{value}}}' in body


def test_a_waiting_job_has_one_too(submit, child_of, prioritise):
    assert prioritise(child_of(submit()), 3).priority == 3


@pytest.mark.parametrize("value", [-101, 101, 10**9])
def test_out_of_range(submit, prioritise, value):
    with pytest.raises(Conflict) as caught:
        prioritise(submit(), value)
    assert caught.value.limit == "-100..100"


def test_a_started_job_is_past_it(running, prioritise):
    with pytest.raises(Conflict) as caught:
        prioritise(running, 1)
    assert caught.value.code == "already_started"
    assert not AuditRecord.objects.filter(action="job.prioritise").exists()


def test_prioritise_requires_an_engineer_of_the_project(submit, prioritise, viewer, stranger):
    job = submit()
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            prioritise(job, 1, who=user)
    job.refresh_from_db()
    assert job.priority == 0
