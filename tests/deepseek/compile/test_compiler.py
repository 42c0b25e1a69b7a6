"""The C compiler: found, tried, or missed before any work."""

import importlib.util
import sys

import pytest

from deepseek.compile.compiler import Compiler, find_compiler
from deepseek.compile.run import run
from deepseek.compile.spec import CompileSpec
from deepseek.job import EngineError


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH of one folder, without the ziglang package; `path(name, script)` puts a program there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ziglang" else find_spec(name))

    def path(name, script):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return path


def test_the_one_that_is_there(compiler, tmp_path):
    assert compiler.find_fault() is None


def test_none(path, tmp_path, report):
    with pytest.raises(EngineError) as caught:
        run(CompileSpec(), inputs={}, out=tmp_path / "out", report=report)
    error = caught.value
    assert (error.code, error.field) == ("compiler_missing", "PATH")
    assert "none of g++, gcc, cc, clang" in error.value
    assert "apt install g++" in error.hint
    assert "ziglang" in error.hint
    assert {stage for stage, *_ in report.stages} == {"read"}


def test_one_that_cannot_link(path):
    path("gcc", "echo 'ld: error: cannot find crti.o' >&2; echo 'compilation terminated.' >&2; exit 1")
    with pytest.raises(EngineError) as caught:
        find_compiler()
    assert caught.value.code == "compiler_missing"
    assert "gcc ended with 1: ld: error: cannot find crti.o" in caught.value.value


def test_the_first_that_works_is_taken(path, tmp_path):
    path("g++", "exit 1")
    path("cc", "exit 0")
    assert find_compiler().command == [str(tmp_path / "cc")]


def test_ziglang_is_the_last_resort(path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ziglang")
    monkeypatch.setattr(Compiler, "find_fault", lambda self: None)
    assert find_compiler().command == [sys.executable, "-m", "ziglang", "cc"]


def test_a_link_that_fails_says_why(path, tmp_path):
    path("gcc", "echo first >&2; echo 'no space left' >&2; exit 3")
    with pytest.raises(RuntimeError, match="ended with 3: no space left"):
        Compiler([str(tmp_path / "gcc")]).link("out.so", ["a.o"], options=["ignored"])
