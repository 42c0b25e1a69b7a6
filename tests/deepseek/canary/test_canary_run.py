"""The run, and the command line: a verdict as a file, or printed."""

from __future__ import annotations

import json

import pytest

from deepseek.canary.run import run
from deepseek.job import EngineError
from tests.deepseek.canary.fleets import build_devices, build_evidence, build_plan, evaluate

DEVICES = build_devices([number % 5 for number in range(40)], [number % 5 for number in range(360)])


def test_a_run_writes_the_verdict(tmp_path, write, report):
    evidence = write(build_evidence(DEVICES).model_dump_json(), "evidence.json")
    result = run(build_plan(), inputs={"evidence": evidence}, out=tmp_path / "out", report=report)
    assert json.loads((tmp_path / "out/verdict.json").read_text()) == evaluate(build_plan(), DEVICES)
    assert (result.outputs[0].slot, result.summary["verdict"]) == ("verdict", "go_on")
    assert report.stages[-1] == ("evaluate", 400, 400, "devices")


@pytest.mark.parametrize(
    ("text", "field"),
    [("{", "/"), ('{"at": "2026-11-29T12:00:00Z"}', "/devices"), (None, "inputs/evidence")],
    ids=["cut short", "no devices", "no file"],
)
def test_bad_evidence_leaves_nothing(tmp_path, write, report, text, field):
    path = write(text, "evidence.json") if text else tmp_path / "absent.json"
    with pytest.raises(EngineError) as error:
        run(build_plan(), inputs={"evidence": path}, out=tmp_path / "out", report=report)
    assert error.value.field == field
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_verdict(deepseek, write):
    plan = write(build_plan().model_dump_json(), "plan.json")
    evidence = write(build_evidence(DEVICES).model_dump_json(), "evidence.json")
    end = deepseek("canary", plan, evidence)
    assert end.returncode == 0, end.stderr
    assert json.loads(end.stdout) == evaluate(build_plan(), DEVICES)


def test_the_command_names_the_field_at_fault(deepseek, write):
    plan = write(build_plan().model_dump_json(), "plan.json")
    text = build_evidence(DEVICES).model_dump_json().replace('"mean":0.0', '"mean":NaN', 1)
    end = deepseek("canary", plan, write(text, "evidence.json"))
    assert end.returncode == 2
    assert "field: /devices/0/values/latency_ms/mean" in end.stderr
    assert "Traceback" not in end.stderr
    assert end.stdout == ""
