import pytest
from django.utils import timezone

from apps.core.errors import Conflict, NotFound, Refused
from apps.ml.experiments import services
from apps.ml.experiments.models import Experiment, Run
from apps.ml.experiments.services import jobs
from apps.ml.experiments.states import RunState
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_one_run_with_its_params_in_the_default_experiment(start, job):
    run = start(job, params={"schedule.max_lr": "0.001", "seed": "0"}, inputs={"table": "b" * 64})
    assert (len(run.pk), run.state, run.attempt) == (32, RunState.RUNNING, 1)
    assert (run.experiment.number, run.experiment.name) == (0, "Default")
    assert dict(run.params.values_list("key", "value")) == {"schedule.max_lr": "0.001", "seed": "0"}
    record = AuditRecord.objects.get(action="run.start")
    assert (record.object_id, '"table":"' + "b" * 64 in record.body) == (run.pk, True)


def test_another_attempt_goes_on_with_the_same_run(start, job, next_attempt):
    first = start(job)
    again = start(next_attempt(job), params={"seed": "1"})
    assert (again.pk, again.attempt, again.params.count()) == (first.pk, 2, 0)
    assert AuditRecord.objects.filter(action="run.go_on", object_id=first.pk).count() == 1


@pytest.mark.parametrize("state", ["failed", "killed"])
def test_a_job_that_is_tried_again_opens_its_run_again(start, job, finish, next_attempt, state):
    finish(start(job), state)
    run = start(next_attempt(job))
    assert (run.state, run.attempt, run.ended_at, run.metrics_digest) == (RunState.RUNNING, 2, None, "")
    assert Run.objects.count() == 1


def test_a_deleted_run_that_goes_on_is_there_again(start, job, finish, next_attempt):
    run = start(job)
    finish(run, "failed")
    Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now())
    start(next_attempt(job))
    assert Run.objects.get().deleted_at is None
    assert AuditRecord.objects.get(action="run.restore").object_id == run.pk


def test_a_run_that_is_going_for_good_does_not_go_on(start, job, finish, next_attempt):
    run = start(job)
    finish(run, "failed")
    Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now(), purging_at=timezone.now())
    with pytest.raises(Conflict) as refused:
        start(next_attempt(job))
    assert refused.value.code == "run_is_going"
    assert Run.objects.get().state == "failed"


def test_experiments_are_numbered_and_found_again(start, worker_actor, project, other_project):
    assert [start(experiment=name).experiment.number for name in ("oil", "", "oil", "cancer")] == [1, 0, 1, 2]
    elsewhere = services.ensure_experiment(actor=worker_actor, project=other_project, name="oil")
    assert (elsewhere.number, Experiment.objects.count()) == (1, 4)


def test_default_is_number_0_by_name_too(start):
    assert [start(experiment=name).experiment.number for name in ("Default", "", "Default")] == [0, 0, 0]


def test_a_long_param_is_cut(start):
    assert len(start(params={"features": "x" * 9000}).params.get().value) == jobs.PARAM_LIMIT


@pytest.mark.parametrize("who", ["engineer", "viewer", "approver"])
def test_only_a_worker_records(request, actor_for, job, who):
    with pytest.raises(Refused):
        services.start_run(actor=actor_for(request.getfixturevalue(who)), job=job, facts=services.Facts())


def test_a_stranger_learns_nothing(actor_for, stranger, job):
    with pytest.raises(NotFound):
        services.start_run(actor=actor_for(stranger), job=job, facts=services.Facts())


def test_an_experiment_in_which_a_job_records_is_not_deleted(start, finish, actor_for, engineer):
    run = start(experiment="oil")
    actor = actor_for(engineer)
    with pytest.raises(Conflict):
        services.delete_experiment(actor=actor, experiment=run.experiment)
    assert not Experiment.objects.exclude(deleted_at=None).exists()
    finish(run, "failed")
    services.delete_experiment(actor=actor, experiment=run.experiment)
    assert Experiment.objects.get().deleted_at is not None


def test_a_job_brings_a_deleted_experiment_back(start, finish, actor_for, engineer):
    first = start(experiment="oil")
    finish(first, "failed")
    services.delete_experiment(actor=actor_for(engineer), experiment=first.experiment)
    again = start(experiment="oil")
    assert (again.experiment, again.experiment.deleted_at) == (first.experiment, None)
    assert AuditRecord.objects.filter(action="experiment.restore").count() == 1
