"""What is said of a pipeline follows from its jobs, in a list and as a filter alike."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.ml.pipelines import queries
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.states import PipelineState
from apps.platform.jobs.errors import PARENT_FAILED
from apps.platform.jobs.models import Job
from tests.apps.ml.pipelines.conftest import step

pytestmark = [pytest.mark.django_db, pytest.mark.services]
FOLLOWED = {"code": PARENT_FAILED, "message": "A parent has failed."}
BROKE = {"code": "broke", "message": "It broke."}


@pytest.fixture
def with_jobs(start):
    """with_jobs((state, error), ...) -> a pipeline whose jobs are in these states."""

    def make(*jobs):
        pipeline = start([step(f"s{n}") for n in range(len(jobs))])
        for position, (state, error) in enumerate(jobs):
            found = Job.objects.filter(pipeline_step__pipeline=pipeline, pipeline_step__position=position)
            found.update(state=state, error=error)
        return pipeline

    return make


STATES = [
    ([("succeeded", None), ("waiting", None)], "running"),
    ([("failed", BROKE), ("queued", None)], "running"),
    ([("cancelled", None), ("running", None)], "running"),
    ([("succeeded", None), ("succeeded", None)], "succeeded"),
    ([("succeeded", None), ("failed", BROKE), ("failed", FOLLOWED)], "failed"),
    ([("failed", BROKE), ("cancelled", None)], "failed"),
    ([("cancelled", None), ("failed", FOLLOWED)], "cancelled"),
    ([("succeeded", None), ("cancelled", None)], "cancelled"),
    ([("succeeded", None), ("failed", FOLLOWED)], "failed"),  # of a job of another pipeline
    ([("failed", None)], "failed"),
]


def test_the_state_follows_from_the_jobs_and_filters_the_list(with_jobs, viewer, actor_for, project):
    expected = {with_jobs(*jobs).pk: state for jobs, state in STATES}
    summaries = queries.count_steps_by_state(list(expected))
    assert {pk: summaries[pk].state for pk in expected} == expected
    for pipeline in Pipeline.objects.all():
        assert (
            queries.load_pipeline(pipeline).summary == summaries[pipeline.pk]
        )  # counted here and counted in the database
    actor = actor_for(viewer)
    for state in PipelineState.values:
        listed = {pipeline.pk for pipeline in queries.list_pipelines(actor, project, state=state)}
        assert listed == {pk for pk, each in expected.items() if each == state}, state


def test_it_took_from_the_first_claim_to_the_last_end(start, work):
    pipeline = start()
    work(2)
    assert queries.count_steps_by_state([pipeline.pk])[pipeline.pk].took is None
    work(1)
    first, last = (Job.objects.order_by(order).first() for order in ("pk", "-pk"))
    Job.objects.filter(pk=first.pk).update(claimed_at=last.ended_at - timedelta(minutes=3))
    assert queries.count_steps_by_state([pipeline.pk])[pipeline.pk].took == timedelta(minutes=3)


def test_many_pipelines_and_many_steps_are_one_query_each(start):
    few = start([step("a")])
    many = start([step(f"s{n}", *(f"s{m}" for m in range(n))) for n in range(12)])
    for pipeline in (few, many):
        with CaptureQueriesContext(connection) as seen:
            queries.load_pipeline(pipeline)
        assert len(seen) == 3
    with CaptureQueriesContext(connection) as seen:
        assert len(queries.count_steps_by_state([few.pk, many.pk])) == 2
    assert len(seen) == 1


def test_what_stands_around_it(start, submit, work, artifact):
    made = submit()
    work(1)
    given = {"x": {"job": made.pk, "slot": "note"}, "y": {"digest": artifact.pk}}
    found = queries.load_pipeline(start([step("a", inputs=given), step("b", "a")]))
    assert found.outside == {made.pk: queries.ExternalJob(made.pk, "noop", "succeeded", ["a"])}
    assert queries.find_sources(found) == {artifact.pk: "a"}
    assert found.parents == {"a": [], "b": ["a"]}


def test_the_step_to_look_at_is_the_one_that_failed_by_itself(with_jobs):
    pipeline = with_jobs(("failed", FOLLOWED), ("failed", BROKE))
    assert queries.find_first_failed(queries.load_pipeline(pipeline).steps).name == "s1"
