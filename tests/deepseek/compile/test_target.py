"""Which machines a target may name."""

import pytest
from pydantic import ValidationError

from deepseek.cli import main
from deepseek.compile.host import resolve_target
from deepseek.compile.spec import CompileSpec
from deepseek.compile.target import Target, parse_target
from deepseek.job import EngineError
from deepseek.models.machine import get_arch

AARCH64 = Target("aarch64-linux-gnu")


def test_what_is_taken():
    texts = {
        "host": Target(),
        "llvm": Target(),
        "llvm -device=arm_cpu": Target(),
        "aarch64-linux-gnu": AARCH64,
        "aarch64-unknown-linux-gnu": AARCH64,
        "llvm -mtriple=aarch64-linux-gnu": AARCH64,
        "llvm --mtriple=aarch64-none-linux-gnu": AARCH64,
        "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72": Target("aarch64-linux-gnu", "cortex-a72"),
        "llvm -mtriple=aarch64-linux-gnu -mattr=+neon,+dotprod": Target(
            "aarch64-linux-gnu", mattr=("+neon", "+dotprod")
        ),
    }
    assert {text: parse_target(text) for text in texts} == texts


def test_what_is_refused():
    named = {}
    for text in (
        "",
        "mips-linux-gnu",
        "llvm -mtriple=aarch64-linux-foo",
        "cuda -arch=sm_90",
        "llvm aarch64-linux-gnu",
        "llvm -march=armv8",
        "llvm -mattr=neon",
        "llvm -mcpu=a;b",
    ):
        with pytest.raises(ValidationError) as caught:
            CompileSpec(target=text)
        (fault,) = caught.value.errors()
        assert fault["type"] == "target_unknown"
        assert "aarch64-linux-gnu" in fault["ctx"]["expected"]
        named[text] = fault["msg"]
    assert "mips-linux-gnu" in named["mips-linux-gnu"]
    assert "-march=armv8" in named["llvm -march=armv8"]


def test_the_command_line_names_field_value_and_limit(tmp_path, capsys):
    assert main(["compile", str(tmp_path), "-o", str(tmp_path / "out"), "--target", "sparc-linux-gnu"]) == 2
    told = capsys.readouterr().err
    assert "field: /target" in told
    assert "value: 'sparc-linux-gnu'" in told
    assert "limit: host, aarch64-linux-gnu" in told


def test_the_processor_that_is_meant():
    pytest.importorskip("tvm")
    generic = resolve_target(AARCH64)
    assert (generic.arch, generic.mcpu, generic.mattr, generic.lanes) == ("aarch64", "generic", ("+neon",), 4)
    assert resolve_target(Target("aarch64-linux-gnu", "cortex-a72")).mcpu == "cortex-a72"
    assert resolve_target(Target()).arch == get_arch()
    for unknown in (Target("aarch64-linux-gnu", "cortexa72"), Target("aarch64-linux-gnu", mattr=("+foo",))):
        with pytest.raises(EngineError) as caught:
            resolve_target(unknown)
        assert (caught.value.code, caught.value.field) == ("target_unknown", "/target")
