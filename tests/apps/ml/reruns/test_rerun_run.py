"""Asking for a run to be made again: what is queued, and what is refused."""

from __future__ import annotations

import json

import pytest
from django.db.models.functions import Now

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.experiments.models import Experiment, Run
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.services import rerun_run
from apps.ml.reruns.states import RerunState
from apps.ml.reruns.tolerance import Tolerance
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_the_job_is_the_recorded_one(ask, original, add_job, held):
    Job.objects.filter(pk=original.job_id).update(need_cpus=3, max_attempts=2, register={"experiment": "oil"})
    original.job.refresh_from_db()
    held(b"newer rows")  # what is newest now does not matter
    rerun = ask(original)
    job = rerun.job
    assert (job.kind, job.spec, job.spec_digest) == ("train", original.job.spec, original.spec_digest)
    assert dict(job.inputs.values_list("slot", "artifact_id")) == original.inputs
    assert (job.need_cpus, job.max_attempts, job.register) == (3, 2, {"experiment": "oil"})
    assert (rerun.original, rerun.state, rerun.verdict, rerun.foreseen) == (original, RerunState.RUNNING, "", [])


def test_an_input_that_came_from_a_job_is_taken_by_its_digest(ask, original):
    original.job.inputs.update(source_job=original.job, source_slot="model")
    wanted = ask(original).job.inputs.get()
    assert (wanted.artifact_id, wanted.source_job) == (original.inputs["table"], None)


def test_it_is_recorded(ask, original):
    rerun = ask(original)
    body = json.loads(AuditRecord.objects.get(action="run.rerun").body)
    assert body["object"] == {"type": "run", "id": original.pk}
    assert (body["after"]["rerun"], body["digests"]["table"]) == (rerun.pk, original.inputs["table"])


@pytest.mark.parametrize("who", ["viewer", "approver"])
def test_who_may_not(original, request, actor_for, who):
    actor = actor_for(request.getfixturevalue(who))
    with pytest.raises(Refused):
        rerun_run(actor=actor, run=original, tolerance=Tolerance())
    assert not Rerun.objects.exists()


def test_another_project_sees_nothing(original, stranger, actor_for):
    with pytest.raises(NotFound):
        rerun_run(actor=actor_for(stranger), run=original, tolerance=Tolerance())


def refused(ask, run, kind=Invalid):
    jobs = Job.objects.count()
    with pytest.raises(kind) as caught:
        ask(run)
    assert (Rerun.objects.count(), Job.objects.count()) == (0, jobs)
    return caught.value


def test_bytes_that_are_gone_are_named(ask, original):
    Holding.objects.all().delete()
    error = refused(ask, original)
    assert (error.code, error.field) == ("artifact_not_found", "/inputs/table/digest")
    assert original.inputs["table"] in error.message


@pytest.mark.parametrize("how", ["told by a scrub", "not in the store", "cut off"])
def test_damaged_bytes_are_named(ask, original, how):
    digest = original.inputs["table"]
    path = get_store().path_of(digest)
    if how == "told by a scrub":
        Artifact.objects.filter(pk=digest).update(damaged_at="2026-01-01T00:00:00Z")
    else:
        path.unlink()
    if how == "cut off":
        path.write_bytes(b"day")
    error = refused(ask, original)
    assert (error.code, error.field) == ("artifact_damaged", "/inputs/table/digest")


def test_every_input_that_is_not_there_is_named(ask, original):
    Run.objects.filter(pk=original.pk).update(inputs={"a": "a" * 64, "b": "b" * 64})
    original.refresh_from_db()
    assert [one["field"] for one in refused(ask, original).errors] == ["/inputs/a/digest", "/inputs/b/digest"]


def test_a_run_recorded_from_outside(ask, project):
    experiment = Experiment.objects.create(project=project, number=1, name="mlflow", created_by="x")
    run = Run.objects.create(project=project, experiment=experiment, name="r", state="finished", created_by="x")
    error = refused(ask, run, Conflict)
    assert (error.code, "verdict?against=" in error.hint) == ("recorded_outside", True)


def test_a_run_that_has_not_ended(ask, original):
    Run.objects.filter(pk=original.pk).update(state="running")
    original.refresh_from_db()
    assert refused(ask, original, Conflict).code == "run_not_ended"


def test_a_deleted_run(ask, original):
    stale = Run.objects.select_related("job", "project").get(pk=original.pk)
    Run.objects.filter(pk=original.pk).update(deleted_at=Now())
    original.refresh_from_db()
    assert refused(ask, original, Conflict).code == "run_deleted"
    assert refused(ask, stale, Conflict).code == "run_deleted"  # deleted between the look and the lock


def test_a_kind_that_is_not_tracked_any_more(ask, original):
    original.job.kind = "fly"
    assert refused(ask, original, Conflict).code == "kind_gone"


def test_a_spec_that_this_plane_does_not_take_any_more(ask, original):
    original.job.spec = json.dumps({**json.loads(original.job.spec), "epochs": 0})
    assert refused(ask, original).field == "/spec/epochs"


def test_what_is_known_to_differ_is_told_and_kept(ask, original, node):
    environment = {
        **original.environment,
        "packages": {"torch": "2.4", "numpy": "2.2"},
        "processor": "Older 0",
        "python": "3.9.1",
    }
    Run.objects.filter(pk=original.pk).update(environment=environment, code_digest="d" * 64)
    original.refresh_from_db()
    told = [(one["kind"], one["name"], one["was"], one["now"]) for one in ask(original).foreseen]
    assert told == [
        ("code", "", "d" * 64, "c" * 64),
        ("python", "", "3.9.1", "3.11.2"),
        ("package", "torch", "2.4", "2.9"),
        ("processor", "", "Older 0", "Old 1"),
    ]


def test_a_key_makes_one(ask, original):
    first = ask(original, idempotency_key="k")
    assert ask(original, idempotency_key="k") == first
    assert Rerun.objects.count() == 1


def test_a_key_of_another_request_is_a_conflict(ask, original, add_job, end):
    ask(original, idempotency_key="k")
    for run, tolerance in ((original, Tolerance(relative=0.5)), (end(add_job(seed=1)), None)):
        with pytest.raises(Conflict, match="was used for another request"):
            ask(run, tolerance, idempotency_key="k")
