import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.ml.pipelines.services import cancel_pipeline
from apps.platform.audit.models import AuditRecord
from tests.apps.ml.pipelines.conftest import DIAMOND

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def cancel(actor_for, engineer):
    actor = actor_for(engineer)
    return lambda pipeline, who=None: cancel_pipeline(actor=who or actor, pipeline=pipeline, reason="a typo")


def test_what_has_not_started_is_cancelled_and_none_fails_of_it(start, cancel, states, claim):
    pipeline = start(DIAMOND)
    cancel(pipeline)
    assert set(states(pipeline).values()) == {"cancelled"}
    assert claim() is None


def test_what_runs_is_asked_to_stop_and_what_has_ended_stays(start, cancel, states, work, claim, job):
    pipeline = start(DIAMOND)
    work(1)
    claim()
    cancel(pipeline)
    assert states(pipeline) == {"a": "succeeded", "b": "running", "c": "cancelled", "d": "cancelled"}
    assert job(pipeline, "b").cancel_requested_at
    assert job(pipeline, "b").cancel_reason == "a typo"


def test_is_recorded_with_its_reason(start, cancel):
    cancel(start())
    record = AuditRecord.objects.get(action="pipeline.cancel")
    assert "a typo" in record.body


def test_what_has_ended_already_is_a_conflict(start, cancel, work):
    pipeline = start()
    work(3)
    with pytest.raises(Conflict) as caught:
        cancel(pipeline)
    assert caught.value.code == "already_ended"
    assert not AuditRecord.objects.filter(action="pipeline.cancel").exists()


def test_leaves_other_pipelines_alone(start, cancel, states):
    other = start()
    cancel(start())
    assert states(other) == {"a": "queued", "b": "waiting", "c": "waiting"}


def test_cancelling_requires_an_engineer_of_the_project(actor_for, start, cancel, states, viewer, approver, stranger):
    pipeline = start()
    for user, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            cancel(pipeline, actor_for(user))
    assert states(pipeline)["a"] == "queued"
