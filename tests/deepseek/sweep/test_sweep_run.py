"""What the job answers that is asked for the next trials of a sweep."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from deepseek.job import Silent
from deepseek.sweep.run import run
from deepseek.sweep.spec import ChoiceParameter, SweepAnswer, SweepAskSpec, SweepSettings

SPACE = [
    {"type": "float", "name": "/lr", "low": 1e-5, "high": 0.1, "log": True},
    {"type": "int", "name": "/layers", "low": 1, "high": 8},
    {"type": "choice", "name": "/flag", "choices": [1, True, "adam"]},
]


@pytest.fixture
def ask(tmp_path):
    """ask(count, trials, **settings) -> the answer."""

    def ask_once(count: int, trials=(), **settings) -> SweepAnswer:
        spec = {"settings": {"space": SPACE, "metric": "loss", **settings}, "count": count, "trials": list(trials)}
        result = run(
            SweepAskSpec.model_validate_json(json.dumps(spec)), inputs={}, out=tmp_path / "out", report=Silent()
        )
        answer = SweepAnswer.model_validate(result.outputs[0].meta)
        assert json.loads((tmp_path / "out" / "answer.json").read_text()) == result.outputs[0].meta
        for path in (tmp_path / "out").iterdir():
            path.unlink()
        (tmp_path / "out").rmdir()
        return answer

    return ask_once


def record(values, objective=None, state="complete", step=None) -> dict:
    return {"state": state, "values": values, "objective": objective, "step": step}


def build_history(ask, count: int) -> list[dict]:
    """Trials whose objective hangs on the learning rate alone."""
    values = ask(count, sampler="random").trials
    return [record(each, abs(math.log10(each[0]) + 3)) for each in values]


def test_values_lie_in_the_space_and_are_the_same_again(ask):
    answer = ask(50, sampler="random")
    assert all(1e-5 <= lr <= 0.1 and 1 <= layers <= 8 for lr, layers, _ in answer.trials)
    assert {json.dumps(flag) for *_, flag in answer.trials} == {"1", "true", '"adam"'}
    assert answer == ask(50, sampler="random")
    assert answer.importance == {}


def test_a_later_job_draws_other_values(ask):
    first = ask(1, sampler="random").trials[0]
    assert ask(1, [record(first, 1.0)], sampler="random").trials[0] != first


def test_tpe_learns_from_the_trials_and_tells_what_mattered(ask):
    history = build_history(ask, 40)
    answer = ask(4, [*history, record([0.01, 2, "adam"], state="running"), record([0.02, 3, 1], state="failed")])
    assert all(1e-4 < lr < 1e-2 for lr, *_ in answer.trials)
    assert next(iter(answer.importance)) == "/lr"
    assert answer.importance["/lr"] > 0.5


def test_pruned_trials_count_with_what_they_had_reached(ask):
    pruned = record([0.05, 4, True], 7.5, state="pruned", step=3)
    assert len(ask(2, [*build_history(ask, 12), pruned]).trials) == 2


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"low": 0.2}, "float"),
        ({"low": 0}, "float"),
        ({"name": "/layers"}, "space"),
        ({"high": math.inf}, "high"),
    ],
)
def test_a_bad_space_names_its_field(change, where):
    with pytest.raises(ValidationError) as caught:
        SweepSettings.model_validate({"space": [{**SPACE[0], **change}, SPACE[1]], "metric": "loss"})
    assert where in caught.value.errors()[0]["loc"]


def test_choices_may_be_typed_as_text():
    typed = ChoiceParameter.model_validate({"type": "choice", "name": "a", "choices": "32, 64\nadam, true"})
    assert typed.choices == [32, 64, "adam", True]
    with pytest.raises(ValidationError):
        ChoiceParameter.model_validate({"type": "choice", "name": "a", "choices": "a, a"})
