"""Rules of the spec beyond types and limits."""

import pytest
from pydantic import ValidationError

from deepseek.train.spec import TrainSpec


def faults(**fields):
    with pytest.raises(ValidationError) as caught:
        TrainSpec(**({"task": "regression", "target": "y"} | fields))
    return [(fault["type"], "/".join(map(str, fault["loc"]))) for fault in caught.value.errors()]


RULES = [
    ({"features": ["a", "b", "a"]}, "repeated", "features"),
    ({"features": ["a", "y"]}, "target_is_feature", "features"),
    ({"features": []}, "no_features", "features"),
    ({"task": "forecast", "features": ["a"]}, "forecast_features", "features"),
    ({"validation_share": 0.45, "test_share": 0.4}, "shares_too_large", "test_share"),
    ({"schedule": {"init_lr": 0.1, "max_lr": 0.01}}, "below_init_lr", "schedule/max_lr"),
    ({"schedule": {"first_batch": 64, "last_batch": 32}}, "below_first_batch", "schedule/last_batch"),
    ({"schedule": {"init_lr": 0.5}}, "below_init_lr", "schedule/max_lr"),
    ({"schedule": {"first_batch": 512}}, "below_first_batch", "schedule/last_batch"),
    ({"hidden": [0]}, "greater_than_equal", "hidden/0"),
    ({"seed": 2**32}, "less_than", "seed"),
    ({"weight_decay": float("nan")}, "finite_number", "weight_decay"),
    ({"layers": 3}, "extra_forbidden", "layers"),
    ({"device": "cuda", "strategy": "ps"}, "servers_on_processor", "strategy"),
    ({"precision": "fp16", "strategy": "ps"}, "servers_on_processor", "strategy"),
    ({"servers": 2, "strategy": "ddp"}, "servers_unused", "servers"),
    ({"server_mode": "async"}, "servers_unused", "server_mode"),
    ({"staleness": 2, "strategy": "ps"}, "staleness_unused", "staleness"),
    ({"task": "clustering"}, "literal_error", "task"),
]


def test_a_rule_names_its_field():
    named = [(fields, *fault) for fields, _, _ in RULES for fault in faults(**fields)]
    wanted = [(fields, code, place) for fields, code, place in RULES]
    assert repr(named) == repr(wanted)  # nan is not equal to itself


def test_all_faults_come_at_once():
    assert len(faults(task="x", lags=0, schedule={"max_lr": -1}, target="")) == 4


def test_the_defaults_are_allowed():
    spec = TrainSpec(task="forecast", target="price")
    assert TrainSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_several_processes_need_a_strategy():
    with pytest.raises(ValueError, match="2 processes need the strategy ddp"):
        TrainSpec(task="forecast", target="x", processes=2)
    assert TrainSpec(task="forecast", target="x", processes=2, strategy="ddp").processes == 2


def test_parameter_servers_take_their_fields():
    fields = {"strategy": "ps", "processes": 2, "servers": 2, "server_mode": "bounded", "staleness": 0}
    assert TrainSpec(task="forecast", target="x", **fields).servers == 2
