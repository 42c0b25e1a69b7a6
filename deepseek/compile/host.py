"""The processor that code is compiled for: this machine's own."""

from dataclasses import dataclass
from typing import Any

import tvm
from tvm.target import codegen

from deepseek.models.machine import get_arch, read_cpu_flags

FLAGS = {
    "sse4.2": "sse4_2",
    "popcnt": "popcnt",
    "movbe": "movbe",
    "lzcnt": "abm",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "f16c": "f16c",
    "fma": "fma",
    "avx": "avx",
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512cd": "avx512cd",
    "avx512bw": "avx512bw",
    "avx512dq": "avx512dq",
    "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq",
}
"""Instructions that LLVM may choose by itself for arithmetic: its name for them, and the Linux kernel's."""
_LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64")


@dataclass(frozen=True)
class Host:
    """`lanes`: float32 values in one vector register. `needs`: processor flags without which the code cannot run."""

    arch: str
    mcpu: str
    triple: str
    lanes: int
    needs: tuple[str, ...]

    def build_target(self, threads: int) -> Any:
        """The TVM target."""
        return tvm.target.Target({"kind": "llvm", "mtriple": self.triple, "mcpu": self.mcpu, "num-cores": threads})


def detect_host() -> Host:
    """This machine. A virtual one may hide instructions that its processor has: then an older level is taken."""
    machine, cpu = get_arch(), codegen.llvm_get_system_cpu()
    triple = f"{machine}-linux-gnu"
    if machine != "x86_64":  # LLVM asks such a processor itself
        return Host(machine, cpu, triple, 4, ())
    flags = read_cpu_flags()
    for mcpu in (cpu, *_LEVELS):
        needs = _list_cpu_features(mcpu, triple)
        if needs <= flags:
            break
    lanes = 16 if "avx512f" in needs else 8 if "avx" in needs else 4
    return Host(machine, mcpu, triple, lanes, tuple(sorted(needs)))


def _list_cpu_features(mcpu: str, triple: str) -> frozenset[str]:
    target = tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": mcpu})
    features = {str(name) for name in codegen.llvm_get_cpu_features(target)}
    return frozenset(flag for name, flag in FLAGS.items() if name in features)
