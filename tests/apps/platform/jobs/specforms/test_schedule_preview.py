"""The preview of a schedule tells what the engine will do."""

import math

import pytest
from pydantic import BaseModel, Field

from apps.platform.jobs.specforms.schedule_preview import build_schedule_preview, is_scheduled
from deepseek.noop.spec import NoopSpec
from deepseek.train.loop_spec import Epochs, Patience, ScheduleSpec, TestShare
from deepseek.train.schedule import learning_rate


def test_steps_and_phases_of_a_table():
    told = build_schedule_preview({"epochs": "8"}, 1000)
    assert (told.rows, told.epochs, told.steps) == (700, 8, 84)
    assert [(phase.batch, phase.epoch, phase.step) for phase in told.phases] == [
        (32, 0, 0),
        (64, 2, 44),
        (128, 4, 66),
        (256, 6, 78),
    ]
    assert told.sizes["series"][0]["points"][-1] == (told.steps - 1, 256.0)


def test_the_line_is_that_of_the_engine():
    given = {"schedule": {"init_lr": "0.001", "max_lr": "0.01", "warmup_steps": "50"}}
    points = build_schedule_preview(given, 10_000).rates["series"][0]["points"]
    assert dict(points)[50] == 0.01
    assert all(rate == learning_rate(step, 50, 0.001, 0.01) for step, rate in points)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"schedule": {"warmup_steps": "-1"}}, ["/schedule/warmup_steps"]),
        ({"schedule": {"init_lr": "1", "max_lr": "0.1"}, "epochs": "x"}, ["/epochs", "/schedule/max_lr"]),
        ({"task": "dream"}, ["/task"]),
    ],
)
def test_what_is_wrong_is_named(given, wrong):
    told = build_schedule_preview(given, 1000)
    assert sorted(told.wrong) == wrong
    assert told.rates is None


@pytest.mark.parametrize("given", [{"target": "", "features": "x"}, {"target": None, "task": ""}])
def test_other_fields_do_not_stop_it(given):
    assert build_schedule_preview(given, 1000).steps


@pytest.mark.parametrize(
    ("given", "rows", "note"),
    [
        ({}, None, "Choose a table"),
        ({}, 8, "too few"),
        ({"task": "forecast"}, 15, "too few"),
        ({"schedule": {"warmup_steps": 5000}}, 1000, "never reached"),
        ({"epochs": 5000}, 10_000, "falls to a tenth"),
    ],
)
def test_it_says_what_to_expect(given, rows, note):
    assert any(note in text for text in build_schedule_preview(given, rows).notes)


def test_decay_is_drawn_on_a_log_axis():
    assert build_schedule_preview({"epochs": 5000}, 10_000).rates["log"]
    assert not build_schedule_preview({}, 1000).rates["log"]


def test_a_huge_training_is_drawn_with_few_points():
    told = build_schedule_preview({"epochs": 100_000}, 10**9)
    assert told.steps > 10**11
    assert len(told.rates["series"][0]["points"]) < 120


class TaskSpec(BaseModel):
    """A family that is not of tables."""

    texts: str
    test_share: TestShare = 0.25
    epochs: Epochs = 4
    patience: Patience = 0
    schedule: ScheduleSpec = Field(default_factory=ScheduleSpec)


def test_another_family_has_its_own_defaults_and_shares():
    told = build_schedule_preview({}, 1000, spec_type=TaskSpec)
    assert (told.rows, told.epochs, told.phases[1].batch) == (750, 4, 64)
    assert told.phases[0].steps == math.ceil(750 / 32)
    assert is_scheduled(TaskSpec)
    assert not is_scheduled(NoopSpec)


def test_what_is_wrong_with_another_family_is_named():
    assert build_schedule_preview({"epochs": "0", "texts": 1}, 1000, spec_type=TaskSpec).wrong == ["/epochs"]
