import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.ml.experiments import services
from apps.ml.experiments.models import Run
from apps.ml.experiments.services import jobs
from apps.ml.experiments.states import RunState
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def close():
    dispatcher = build_plane_actor(PlaneRole.DISPATCHER, host="test")
    return lambda **limit: services.close_ended_runs(actor=dispatcher, **limit)


@pytest.mark.parametrize(("job_state", "run_state"), [("failed", RunState.FAILED), ("cancelled", RunState.KILLED)])
def test_a_job_that_ended_without_a_worker_closes_its_run(run, log, close, job_state, run_state):
    log(run, loss=[1])
    Job.objects.filter(pk=run.job_id).update(state=job_state, error={"message": "Lost."}, cancel_reason="Lost.")
    assert (close(), close()) == (1, 0)
    run.refresh_from_db()
    assert (run.state, run.metrics_count, len(run.metrics_digest)) == (run_state, 1, 64)
    assert '"reason":"Lost."' in AuditRecord.objects.order_by("-pk").first().body


@pytest.mark.parametrize("job_state", ["running", "queued", "waiting"])
def test_a_job_that_goes_on_keeps_its_run_open(run, close, job_state):
    Job.objects.filter(pk=run.job_id).update(state=job_state)
    assert close() == 0


def test_a_job_tried_again_meanwhile_keeps_its_run(run, close, monkeypatch):
    Job.objects.filter(pk=run.job_id).update(state="failed")
    compute_run_digest = jobs.series.compute_run_digest

    def retried(metrics):
        Job.objects.filter(pk=run.job_id).update(state="queued")
        return compute_run_digest(metrics)

    monkeypatch.setattr(jobs.series, "compute_run_digest", retried)
    assert close() == 0
    assert Run.objects.get().state == RunState.RUNNING


def test_a_round_is_bounded(start, close):
    Job.objects.filter(pk__in=[start().job_id for _ in range(3)]).update(state="failed")
    assert (close(limit=2), close(limit=2)) == (2, 1)


def test_only_the_dispatcher(worker_actor):
    with pytest.raises(Refused):
        services.close_ended_runs(actor=worker_actor)
