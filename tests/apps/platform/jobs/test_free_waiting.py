import pytest

from apps.core.errors import Refused
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.mark.parametrize(
    ("parent", "child"),
    [("succeeded", "queued"), ("failed", "failed"), ("cancelled", "failed"), ("running", "waiting")],
)
def test_moves_on_what_was_missed(submit, dispatcher, parent, child):
    first = submit()
    waiting = submit(after=[first.pk])
    Job.objects.filter(pk=first.pk).update(state=parent)  # by a process that died before it looked at the children
    assert services.free_waiting(actor=dispatcher) == (child != "waiting")
    waiting.refresh_from_db()
    assert waiting.state == child


def test_waits_for_every_parent(submit, dispatcher):
    first, second = submit(), submit()
    waiting = submit(after=[first.pk, second.pk])
    Job.objects.filter(pk=first.pk).update(state=JobState.SUCCEEDED)
    assert services.free_waiting(actor=dispatcher) == 0
    waiting.refresh_from_db()
    assert waiting.state == JobState.WAITING


def test_takes_the_dispatcher(worker_actor):
    with pytest.raises(Refused):
        services.free_waiting(actor=worker_actor)


def test_rings_only_where_somebody_hears(submit, dispatcher, node, add_node):
    submit()
    assert services.list_queues_to_ring(actor=dispatcher) == ["cpu"]
    Job.objects.update(queue="gpu")
    assert services.list_queues_to_ring(actor=dispatcher) == []
    add_node("g", queues=["gpu"])
    assert services.list_queues_to_ring(actor=dispatcher) == ["gpu"]


def test_a_table_in_parts_fills_a_slot_each(submit, dispatcher, project):
    first = submit(kind="predict", inputs=[InputSpec(slot=slot, job_id=submit(kind="noop").pk, job_slot="note")
                                           for slot in ("table", "model", "manifest")])  # fmt: skip
    child = submit(kind="profile", inputs=[InputSpec(slot="table", job_id=first.pk, job_slot="table")])
    single = submit(kind="clean", inputs=[InputSpec(slot=slot, job_id=first.pk, job_slot="table")
                                          for slot in ("table", "join")])  # fmt: skip
    for number in range(2):
        artifact = Artifact.objects.create(digest=f"{number}" * 64, size=1)
        first.outputs.create(slot=f"table/part-{number}.parquet", artifact=artifact, name="x", media_type="x/y")
    Job.objects.filter(pk=first.pk).update(state=JobState.SUCCEEDED)
    services.free_waiting(actor=dispatcher)
    child.refresh_from_db()
    assert child.state == JobState.QUEUED
    inputs = {row.slot: (row.artifact_id, row.source_job_id) for row in child.inputs.all()}
    assert inputs == {f"table/part-{number}.parquet": (f"{number}" * 64, first.pk) for number in range(2)}
    single.refresh_from_db()  # a second table is one file
    assert (single.state, single.error["code"]) == (JobState.FAILED, "output_missing")
