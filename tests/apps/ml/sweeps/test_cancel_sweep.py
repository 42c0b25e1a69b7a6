import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.ml.sweeps.models import SweepTrial
from apps.ml.sweeps.services import cancel_sweep
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def cancel(actor_for, engineer):
    return lambda sweep, who=None: cancel_sweep(actor=who or actor_for(engineer), sweep=sweep, reason="enough")


def test_everything_open_ends_with_it(start, advance, cancel):
    sweep = advance(start())
    SweepTrial.objects.create(sweep=sweep, number=0, values=[0.5])
    SweepTrial.objects.create(sweep=sweep, number=1, values=[0.5], state="succeeded", objective=0.5)
    cancel(sweep)
    sweep.refresh_from_db()
    assert (sweep.state, sweep.run.state, sweep.ask_job) == ("cancelled", "killed", None)
    assert [trial.state for trial in sweep.trials.order_by("number")] == ["cancelled", "succeeded"]
    assert [job.state for job in Job.objects.all()] == ["cancelled"]
    assert "enough" in AuditRecord.objects.get(action="sweep.cancel").body
    assert advance(sweep).state == "cancelled"


def test_what_has_ended_already_is_a_conflict(start, cancel):
    sweep = start()
    cancel(sweep)
    with pytest.raises(Conflict) as caught:
        cancel(sweep)
    assert caught.value.code == "already_ended"


def test_cancelling_requires_an_engineer_of_the_project(start, cancel, actor_for, viewer, approver, stranger):
    sweep = start()
    for user, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            cancel(sweep, actor_for(user))
    assert sweep.state == "running"
