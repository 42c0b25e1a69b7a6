"""The spec of a script: what it takes and what it refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from deepseek.script.spec import ScriptSpec


def test_environment_is_an_extra_of_the_node():
    assert ScriptSpec(command=("python", "train.py")).extra == ""
    assert ScriptSpec(command=("python", "train.py"), environment="torch28").extra == "scripts:torch28"


def test_values_that_cannot_be_are_refused():
    wrong = {}
    for fields in (
        {"command": ()},
        {"command": ("a\0b",)},
        {"command": ("bash", "train.sh"), "processes": 2},
        {"command": ("python",), "processes": 2},
        {"command": ("x",), "processes": 65},
        {"command": ("x",), "data": ("prices",)},
        {"command": ("x",), "data": ("a/b:v1",)},
        {"command": ("x",), "outputs": ("../model",)},
        {"command": ("x",), "outputs": ("/model",)},
        {"command": ("x",), "outputs": ("a//b",)},
        {"command": ("x",), "environment": "../venv"},
        {"command": ("x",), "environment": "e" * 33},
    ):
        try:
            ScriptSpec.model_validate(fields)
            wrong[str(fields)] = "accepted"
        except ValidationError:
            continue
    assert wrong == {}


def test_several_processes_take_python():
    with pytest.raises(ValidationError, match="2 processes need a command that begins with python"):
        ScriptSpec(command=("./run",), processes=2)
    assert ScriptSpec(command=("python", "-m", "package"), processes=2).processes == 2
