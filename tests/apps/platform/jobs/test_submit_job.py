from __future__ import annotations

import threading

import pytest
from django.db import connection

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, JobEvent, JobOutput
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec, Submission

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_queues_rings_records_and_tells(submit, rung, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = submit(name="try", priority=5)
    assert (job.state, job.priority, job.requester) == (JobState.QUEUED, 5, "engineer")
    assert rung == ["cpu"]
    assert AuditRecord.objects.get(action="job.submit").object_id == str(job.pk)
    assert JobEvent.objects.get(job=job).payload["state"] == "queued"


def test_writes_the_defaults_into_the_spec(submit):
    assert '"steps":1' in submit(spec={"seconds": 0.5}).spec


def test_submit_requires_an_engineer_of_the_project(actor_for, submit, viewer, approver, stranger):
    for user, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            submit(who=actor_for(user))
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"kind": "nop"}, "/kind"),
        ({"spec": {"seconds": -1}}, "/spec/seconds"),
        ({"spec": {"seconds": "1"}}, "/spec/seconds"),
        ({"kind": "clean"}, "/inputs/table"),
        ({"inputs": [InputSpec(slot="x", digest="c" * 64)]}, "/inputs/x/digest"),
        ({"inputs": [InputSpec(slot="x", job_id=999, job_slot="note")]}, "/inputs/x/job"),
        ({"inputs": [InputSpec(slot="x")]}, "/inputs/x"),
        ({"after": [999]}, "/after/0"),
        ({"priority": 101}, "/priority"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"time_limit_seconds": 0}, "/time_limit_seconds"),
        ({"name": "x" * 121}, "/name"),
        ({"register": {"dataset": "d"}}, "/register/dataset"),
        ({"needs": Needs(cpus=0)}, "/needs/cpus"),
        ({"needs": Needs(cpus=float("nan"))}, "/needs/cpus"),
        ({"needs": Needs(gpus=65)}, "/needs/gpus"),
    ],
)
def test_names_the_field_that_is_wrong(submit, asked, field):
    with pytest.raises(Invalid) as caught:
        submit(**asked)
    assert caught.value.errors[0]["field"] == field
    assert not Job.objects.exists()


def test_names_every_error_at_once(submit):
    with pytest.raises(Invalid) as caught:
        submit(kind="clean", spec={"window_size": 0, "wrong": 1}, priority=999)
    fields = {error["field"] for error in caught.value.errors}
    assert fields == {"/spec/window_size", "/spec/wrong", "/inputs/table", "/priority"}


@pytest.mark.parametrize(("needs", "queue"), [(None, "cpu"), (Needs(gpus=0), "cpu"), (Needs(gpus=1), "gpu")])
def test_what_needs_a_gpu_queues_where_gpus_are_whatever_its_kind_says(
    submit, rung, django_capture_on_commit_callbacks, needs, queue
):
    with django_capture_on_commit_callbacks(execute=True):
        assert submit(needs=needs).queue == queue
    assert rung == [queue]


def test_a_spec_that_names_the_gpu_without_asking_for_one_is_refused(submit, artifact):
    table = [InputSpec(slot="table", digest=artifact.pk)]
    asked = {"kind": "train", "spec": {"task": "regression", "target": "y", "device": "cuda"}, "inputs": table}
    with pytest.raises(Invalid) as caught:
        submit(**asked)
    assert caught.value.errors == caught.value.errors[:1]
    assert (caught.value.errors[0]["code"], caught.value.errors[0]["field"]) == ("gpu_not_asked", "/needs/gpus")
    assert submit(**asked, needs=Needs(gpus=1)).queue == "gpu"


@pytest.mark.parametrize(("needs", "cpus"), [(None, 3), (Needs(gpus=1, cpus=1.0), 3), (Needs(cpus=2), 2)])
def test_a_spec_of_several_threads_takes_as_many_cpus_unless_others_were_asked(submit, artifact, needs, cpus):
    table = [InputSpec(slot="table", digest=artifact.pk)]
    spec = {"task": "regression", "target": "y", "threads": 3}
    assert submit(kind="train", spec=spec, inputs=table, needs=needs).need_cpus == cpus


def test_artifact_of_another_project_is_not_there(submit, other_project, artifact, add_artifact):
    add_artifact(other_project, "d" * 64)
    with pytest.raises(Invalid):
        submit(inputs=[InputSpec(slot="x", digest="d" * 64)])
    assert submit(inputs=[InputSpec(slot="x", digest=artifact.pk)]).state == JobState.QUEUED


def test_job_of_another_project_is_no_parent(submit, stranger, other_project, actor_for):
    theirs = submit(who=actor_for(stranger), where=other_project)
    with pytest.raises(Invalid):
        submit(after=[theirs.pk])


def test_same_key_finds_the_first_job(submit):
    first, second = (submit(idempotency_key="k", spec={"seconds": 1.0}) for _ in range(2))
    assert first == second
    assert Job.objects.count() == AuditRecord.objects.filter(action="job.submit").count() == 1


def test_same_key_for_something_else_is_a_conflict(submit):
    job = submit(idempotency_key="k")
    with pytest.raises(Conflict) as caught:
        submit(idempotency_key="k", priority=1)
    assert caught.value.first() == {
        "code": "idempotency_conflict",
        "message": f"Idempotency-Key 'k' was used for another request (job {job.pk}).",
        "field": "Idempotency-Key",
        "limit": None,
        "hint": "Send a new key with a new request.",
    }


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_parent_that_has_failed_is_refused(submit, state):
    parent = submit()
    Job.objects.filter(pk=parent.pk).update(state=state)
    with pytest.raises(Invalid) as caught:
        submit(after=[parent.pk])
    assert caught.value.code == "parent_ended"


def test_parents_that_have_succeeded_fill_the_slots_at_once(child_of, submit, claim, succeed):
    submit()
    parent = succeed(claim())
    child = child_of(parent)
    assert child.state == JobState.QUEUED
    assert child.inputs.get().artifact_id == "b" * 64


def test_a_part_of_a_jobs_table_or_all_of_them_fill_a_slot(api, engineer, url, submit, claim, succeed, project):
    submit()
    parent = succeed(claim(), "1" * 64)
    Job.objects.filter(pk=parent.pk).update(kind="clean")
    for number, digest in enumerate(("2" * 64, "3" * 64)):
        part = Artifact.objects.create(digest=digest, size=5)
        Holding.objects.create(project=project, artifact=part)
        JobOutput.objects.create(job=parent, slot=f"table/part-{number:05}.parquet", artifact=part, name="part")

    def ask(slot: str) -> dict:
        inputs = {"table": {"job": parent.pk, "slot": slot}}
        return api(engineer).post(url(), {"kind": "profile", "spec": {}, "inputs": inputs}, format="json").json()

    made = {slot: ask(slot) for slot in ("table", "table/part-00001.parquet")}
    assert {slot: [(i["slot"], i["digest"]) for i in job["inputs"]] for slot, job in made.items()} == {
        "table": [("table/part-00000.parquet", "2" * 64), ("table/part-00001.parquet", "3" * 64)],
        "table/part-00001.parquet": [("table", "3" * 64)],
    }
    assert {job["state"] for job in made.values()} == {"queued"}
    refused = {slot: ask(slot)["error"] for slot in ("table/part-00002.parquet", "table/note.txt", "origins/a.parquet")}
    assert {error["code"] for error in refused.values()} == {"unknown_slot"}
    assert refused["table/part-00002.parquet"]["limit"] == "table/part-00000.parquet..table/part-00001.parquet"
    assert "table/NAME.parquet" in refused["table/note.txt"]["limit"]


@pytest.mark.django_db(transaction=True)
def test_same_key_at_the_same_instant_queues_one_job(actor_for, engineer, project):
    actor, barrier, got = actor_for(engineer), threading.Barrier(4), []

    def post():
        barrier.wait()
        try:
            asked = Submission(kind="noop", spec={}, idempotency_key="k")
            got.append(services.submit_job(actor=actor, project=project, submission=asked))
        finally:
            connection.close()

    threads = [threading.Thread(target=post) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len({job.pk for job, _ in got}) == Job.objects.count() == 1
    assert sorted(new for _, new in got) == [False, False, False, True]


@pytest.mark.parametrize("name", ["", "Über", "a b", "-a", "a\n", "x" * 51, 7, None])
def test_a_name_to_register_under_is_refused_before_the_work(submit, name):
    with pytest.raises(Invalid) as caught:
        submit(kind="clean", register={"dataset": name})
    assert "/register/dataset" in {error["field"] for error in caught.value.errors}
