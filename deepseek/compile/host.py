"""The processor that code is compiled for: this machine's own, or the one that a target names."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.target import codegen

from deepseek.compile.target import Target
from deepseek.job import EngineError
from deepseek.messages import N_
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


_GENERIC = {"x86_64": "x86-64", "aarch64": "generic"}
"""What LLVM calls any processor of the instruction set."""
_BASIC = {"x86_64": (), "aarch64": ("+neon",)}
"""Features that every processor of it has, and that LLVM's generic one does not name."""


@dataclass(frozen=True)
class Host:
    """`lanes`: float32 values in one vector register. `needs`: processor flags without which the code cannot run."""

    arch: str
    mcpu: str
    triple: str
    lanes: int
    needs: tuple[str, ...]
    mattr: tuple[str, ...] = ()

    def build_target(self, threads: int) -> Any:
        """The TVM target."""
        fields = {"kind": "llvm", "mtriple": self.triple, "mcpu": self.mcpu, "num-cores": threads}
        return tvm.target.Target(fields | ({"mattr": list(self.mattr)} if self.mattr else {}))

    def find_missing_flags(self) -> list[str]:
        """What of `needs` this machine's processor lacks; of interest where the code is for its instruction set."""
        return sorted(set(self.needs) - read_cpu_flags())


def resolve_target(target: Target) -> Host:
    """The processor that a target means. Raises EngineError ``target_unknown`` where LLVM knows no such one."""
    if target == Target():
        return detect_host()
    triple = target.triple or f"{target.arch}-linux-gnu"
    mcpu = target.mcpu or (_GENERIC[target.arch] if target.triple else detect_host().mcpu)
    mattr = target.mattr or (_BASIC[target.arch] if mcpu == "generic" else ())
    processors = {str(name) for name in codegen.llvm_get_cpu_archlist(_build_target(triple))}
    if mcpu not in processors:
        near = difflib.get_close_matches(mcpu, processors, n=5)
        raise _build_error(mcpu, triple, ", ".join(near or sorted(processors)[:5]))
    features = _list_features(triple, mcpu, mattr)
    for name in mattr:
        if name.startswith("+") and name[1:] not in features:
            raise _build_error(name, triple, ", ".join(sorted(features)[:10]))
    needs = _list_flags(features) if target.arch == "x86_64" else frozenset()
    return Host(target.arch, mcpu, triple, _count_lanes(needs), tuple(sorted(needs)), mattr)


def _build_error(name: str, triple: str, near: str) -> EngineError:
    return EngineError(
        "target_unknown",
        "LLVM knows no processor and no feature {name} for {triple}.",
        name=name,
        triple=triple,
        field="/target",
        value=name,
        limit=f"{near}, ...",
        hint=N_("Leave -mcpu and -mattr out for code that every processor of the triple runs."),
    )


def detect_host() -> Host:
    """This machine. A virtual one may hide instructions that its processor has: then an older level is taken."""
    machine, cpu = get_arch(), codegen.llvm_get_system_cpu()
    triple = f"{machine}-linux-gnu"
    if machine != "x86_64":  # LLVM asks such a processor itself
        return Host(machine, cpu, triple, 4, ())
    flags = read_cpu_flags()
    for mcpu in (cpu, *_LEVELS):
        needs = _list_flags(_list_features(triple, mcpu))
        if needs <= flags:
            break
    return Host(machine, mcpu, triple, _count_lanes(needs), tuple(sorted(needs)))


def _list_flags(features: frozenset[str]) -> frozenset[str]:
    return frozenset(flag for name, flag in FLAGS.items() if name in features)


def _count_lanes(needs: frozenset[str]) -> int:
    return 16 if "avx512f" in needs else 8 if "avx" in needs else 4


def _build_target(triple: str, mcpu: str = "", mattr: Sequence[str] = ()) -> Any:
    fields: dict[str, Any] = {"kind": "llvm", "mtriple": triple}
    if mcpu:
        fields["mcpu"] = mcpu
    if mattr:
        fields["mattr"] = list(mattr)
    return tvm.target.Target(fields)


def _list_features(triple: str, mcpu: str, mattr: Sequence[str] = ()) -> frozenset[str]:
    return frozenset(str(name) for name in codegen.llvm_get_cpu_features(_build_target(triple, mcpu, mattr)))
