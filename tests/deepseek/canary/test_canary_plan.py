"""What a plan and evidence may not be: each refusal names its field."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from tests.deepseek.canary.fleets import FAILURE, INSTALL, LATENCY, START, build_devices, build_plan


def list_fields(error: ValidationError) -> set[str]:
    return {"/".join(str(part) for part in each["loc"]) for each in error.errors()}


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"gates": []}, "gates"),
        ({"gates": [LATENCY], "nonsense": 1}, "nonsense"),
        ({"gates": [LATENCY, LATENCY]}, "gates"),
        ({"gates": [{**LATENCY, "margin": None}]}, "gates/0"),
        ({"gates": [{**LATENCY, "margin": 1, "tolerance": 2}]}, "gates/0"),
        ({"gates": [{**LATENCY, "tests": ["harm", "harm"]}]}, "gates/0"),
        ({"gates": [{**INSTALL, "limit": None}]}, "gates/0"),
        ({"gates": [{**INSTALL, "reference": "control", "limit": None}]}, "gates/0"),
        ({"gates": [{**FAILURE, "scale": "continuous"}]}, "gates/0"),
        ({"gates": [{"name": "x", "reference": "limit", "limit": 0.1}]}, "gates/0"),
        ({"gates": [FAILURE]}, ""),
        ({"gates": [LATENCY], "maximum": {"canary": 40}}, ""),
        ({"gates": [LATENCY], "harm_alpha": 0.7}, "harm_alpha"),
        ({"gates": [LATENCY], "soak_seconds": float("inf")}, "soak_seconds"),
        ({"gates": [{**LATENCY, "margin": float("nan")}]}, "gates/0/margin"),
    ],
)
def test_a_bad_plan_is_refused(plan, field):
    with pytest.raises(ValidationError) as error:
        CanaryPlan.model_validate(plan)
    assert list_fields(error.value) == {field}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "null", '"much"'])
def test_a_figure_that_is_no_number_is_refused_by_its_field(number):
    document = {"at": START.isoformat(), "devices": build_devices([1.0], [2.0])}
    text = json.dumps(document).replace('"mean": 1.0', f'"mean": {number}')
    with pytest.raises(ValidationError) as error:
        Evidence.model_validate_json(text)
    assert list_fields(error.value) == {"devices/0/values/latency_ms/mean"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"arm": "both"}, "devices/0/arm"),
        ({"device": ""}, "devices/0/device"),
        ({"observed_seconds": -1}, "devices/0/observed_seconds"),
        ({"silent_seconds": float("inf")}, "devices/0/silent_seconds"),
        ({"device": "control-0000"}, "devices"),
    ],
)
def test_a_bad_device_is_refused(change, field):
    devices = build_devices([1.0], [2.0])
    with pytest.raises(ValidationError) as error:
        Evidence.model_validate({"at": START, "devices": [devices[0] | change, devices[1]]})
    assert list_fields(error.value) == {field}


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValidationError) as error:
        Evidence.model_validate({"at": "2026-11-29T12:00:00", "devices": []})
    assert list_fields(error.value) == {"at"}


def test_the_digest_is_that_of_what_the_plan_says():
    assert build_plan().compute_digest() == build_plan({**LATENCY, "better": "lower"}).compute_digest()
    assert build_plan().compute_digest() != build_plan(power=0.8).compute_digest()
