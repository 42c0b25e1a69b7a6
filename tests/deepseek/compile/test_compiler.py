"""The C compiler: found, tried, or missed before any work."""

import importlib.util
import os
import shutil
import sys

import pytest

from deepseek.compile.compiler import Compiler, find_compiler
from deepseek.compile.run import run
from deepseek.compile.spec import CompileSpec
from deepseek.compile.target import Target
from deepseek.job import EngineError
from deepseek.models.machine import get_arch

AARCH64 = Target("aarch64-linux-gnu")


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


def test_another_machine_s_compiler_is_looked_for_by_its_triple(path, tmp_path, monkeypatch):
    """One that makes code for this machine instead is passed over; ziglang links for the same glibc as the runtime."""
    with pytest.raises(EngineError) as caught:
        find_compiler(AARCH64)
    assert (caught.value.code, "aarch64-linux-gnu-g++" in caught.value.value) == ("compiler_missing", True)
    assert "g++-aarch64-linux-gnu" in caught.value.hint
    real = shutil.which("cc", path=os.defpath) or shutil.which("gcc", path=os.defpath)
    if real:
        path("aarch64-linux-gnu-g++", f'PATH={os.defpath} exec {real} "$@"')
        with pytest.raises(EngineError) as caught:
            find_compiler(AARCH64)
        assert f"makes code for {get_arch()}, not aarch64" in caught.value.value
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ziglang")
    monkeypatch.setattr(Compiler, "find_fault", lambda self: None if "ziglang" in self.command else "no")
    compiler = find_compiler(AARCH64)
    assert compiler.command == [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu.2.28"]
    assert compiler.cxx[3] == "c++"


def test_a_link_that_fails_says_why(path, tmp_path):
    path("gcc", "echo first >&2; echo 'no space left' >&2; exit 3")
    with pytest.raises(RuntimeError, match="ended with 3: no space left"):
        Compiler([str(tmp_path / "gcc")]).link("out.so", ["a.o"], options=["ignored"])
