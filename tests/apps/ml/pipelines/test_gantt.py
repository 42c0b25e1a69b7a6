"""Where the bars of a pipeline's steps stand on the axis of time."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.ml.pipelines.gantt import build_gantt
from apps.ml.pipelines.models import PipelineStep
from apps.platform.jobs.models import Job

ZERO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else ZERO + timedelta(seconds=seconds)


def step(name: str, queued=None, claimed=None, ended=None) -> PipelineStep:
    state = "succeeded" if ended is not None else "running" if claimed is not None else "queued"
    job = Job(kind="noop", state=state, queued_at=at(queued), claimed_at=at(claimed), ended_at=at(ended))
    return PipelineStep(name=name, job=job)


def test_bars_share_one_axis():
    found = build_gantt([step("a", 0, 1, 5), step("b", 5, 6, 10)], at(100))
    assert (found.began, found.seconds) == (ZERO, 10)
    a, b = found.bars
    assert [(bar.stood.left, bar.stood.width, bar.ran.left, bar.ran.width) for bar in (a, b)] == [
        (0, 10, 10, 40),
        (50, 10, 60, 40),
    ]
    assert b.ran.right == 100


def test_what_is_on_its_way_reaches_until_now():
    found = build_gantt([step("a", 0, 0, 5), step("b", 5, 5), step("c", 5)], at(10))
    assert [(bar.open, bar.ran and bar.ran.right) for bar in found.bars] == [(False, 50), (True, 100), (True, None)]
    assert found.bars[2].stood.right == 100


@pytest.mark.parametrize("steps", [[], [step("a")]])
def test_nothing_is_drawn_before_a_step_was_ready(steps):
    assert build_gantt(steps, at(0)) is None


def test_steps_that_took_no_time_are_drawn():
    assert build_gantt([step("a", 0, 0, 0)], at(0)).bars[0].ran.width == 0


def test_a_retried_step_whose_clocks_cross_has_no_bar_before_its_start():
    assert build_gantt([step("a", 8, 2, 10)], at(10)).bars[0].stood is None
