"""Pipelines of noop jobs, and the workers' side of jobs from the jobs' own tests."""

from __future__ import annotations

import pytest

from apps.ml.pipelines import services
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.schemas import PipelineRequest, StepBody
from apps.platform.jobs.models import Job
from tests.apps.platform.jobs.conftest import (  # noqa: F401
    add_artifact,
    artifact,
    claim,
    dispatcher,
    fail,
    node,
    rung,
    running,
    submit,
    succeed,
)


def step(name: str, *parents: str, kind: str = "noop", **more) -> dict:
    """A step that takes the note of each parent."""
    inputs = {f"from-{parent}": {"step": parent, "slot": "note"} for parent in parents}
    return {"name": name, "kind": kind, "inputs": inputs} | more


CHAIN = [step("a"), step("b", "a"), step("c", "b")]
DIAMOND = [step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c")]


@pytest.fixture
def start(actor_for, engineer, project):
    """start(steps, ...) -> Pipeline of the engineer, unless told otherwise."""
    actor = actor_for(engineer)

    def make(steps=CHAIN, who=None, where=None, **more) -> Pipeline:
        asked = PipelineRequest(steps=[StepBody.model_validate(one) for one in steps], **more)
        return services.submit_pipeline(actor=who or actor, project=where or project, request=asked)[0]

    return make


@pytest.fixture
def job():
    """job(pipeline, name) -> the step's job as it is now."""
    return lambda pipeline, name: Job.objects.get(pipeline_step__pipeline=pipeline, pipeline_step__name=name)


@pytest.fixture
def states():
    """states(pipeline) -> {step: state}"""
    return lambda pipeline: dict(pipeline.steps.order_by("position").values_list("name", "job__state"))


@pytest.fixture
def work(claim, succeed):  # noqa: F811
    """work(times): claim and finish so many jobs, each with a note of its own."""

    def run(times: int) -> None:
        for _ in range(times):
            one = claim()
            succeed(one, f"{one.pk:064x}")

    return run


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/pipelines{tail}"


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/pipelines{tail}"
