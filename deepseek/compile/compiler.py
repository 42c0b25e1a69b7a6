"""The compiler that links a library, for this machine or another: looked for and tried before any work is done."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepseek.compile.target import Target
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.machine import read_elf_machine

NAMES = {"g++": "g++", "gcc": "g++", "cc": "c++", "clang": "clang++"}
"""A C compiler of this machine -> its C++ compiler."""
CROSS_NAMES = {"{triple}-g++": "{triple}-g++", "{triple}-gcc": "{triple}-g++"}
ZIG_GLIBC = "2.28"
"""glibc that ziglang links another machine's code against: that of the runtime files (manylinux_2_28)."""
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where to look, and where a compiler looks for its linker, if there is no PATH at all."""
_PROBE = "int plane_probe(void) { return 0; }\n"
_SECONDS = 300  # ziglang builds its libraries on first use


class Compiler:
    """`command` compiles and links C for machines of `arch`, `cxx` C++."""

    def __init__(self, command: Sequence[str], cxx: Sequence[str] = (), arch: str = "") -> None:
        self.command, self.cxx, self.arch = list(command), list(cxx or command), arch

    def link(self, output: str, objects: Sequence[str], **ignored: Any) -> None:
        """Make the shared library `output` of `objects`. TVM calls it, and adds options that only its own tools need.

        Raises RuntimeError with what the compiler said last.
        """
        # libm last, and only if the code calls it: exponentials of an activation come from there.
        self._run(self.command, "-shared", "-fPIC", "-o", output, *objects, "-Wl,--as-needed", "-lm")

    def build_cxx(self, output: str, *words: str, folder: Path) -> None:
        """Compile and link C++ into `output` in the folder. Raises RuntimeError with what the compiler said last."""
        self._run(self.cxx, "-o", output, *words, folder=folder)

    def find_fault(self) -> str | None:
        """None if it can make a shared library of its `arch` here, else what it said."""
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "probe.c"), Path(folder, "probe.so")
            source.write_text(_PROBE, encoding="ascii")
            try:
                self._run(self.command, "-shared", "-fPIC", "-o", str(library), "-x", "c", str(source))
                created = read_elf_machine(library) if self.arch else ""
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                return str(error)
        return None if created == self.arch else f"{self.command[0]} makes code for {created}, not {self.arch}"

    def _run(self, command: Sequence[str], *words: str, folder: Path | None = None) -> None:
        run = subprocess.run(
            [*command, *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            env={**os.environ, "PATH": _build_path()},
            check=False,
        )
        if run.returncode:
            lines = (run.stderr or run.stdout).strip().splitlines() or ["it said nothing"]
            why = next((line for line in lines if "error" in line), lines[-1])
            raise RuntimeError(f"{command[0]} ended with {run.returncode}: {why[:300]}")


def find_compiler(target: Target | None = None) -> Compiler:
    """The first compiler that works: of this machine g++, gcc, cc or clang on PATH; of another one g++ and gcc with its
    triple before the name; then that of the ziglang package, which links for both.

    Raises EngineError ``compiler_missing`` naming the remedy.
    """
    target = target or Target()
    faults = []
    for compiler in _list_candidates(target):
        fault = compiler.find_fault()
        if fault is None:
            return compiler
        faults.append(fault)
    raise _build_error(target, faults)


def _build_error(target: Target, faults: Sequence[str]) -> EngineError:
    names = ", ".join(_list_names(target))
    value = "; ".join(faults)[:500] or f"none of {names}, and no ziglang package"
    if target.is_native:
        return EngineError(
            "compiler_missing",
            "There is no C compiler that works on this machine; TVM needs one to link the compiled model.",
            field="PATH",
            value=value,
            limit="a C compiler that can make a shared library",
            hint=N_("Install g++ (on Debian: apt install g++), or the package ziglang with pip."),
        )
    return EngineError(
        "compiler_missing",
        "There is no compiler on this machine that links for {triple}.",
        triple=target.triple,
        field="PATH",
        value=value,
        limit="a compiler that can make a shared library for the target",
        hint=N_("Install g++-aarch64-linux-gnu (on Debian: apt install), or the package ziglang with pip."),
    )


def _list_names(target: Target) -> dict[str, str]:
    if target.is_native:
        return NAMES
    return {c.format(triple=target.triple): cxx.format(triple=target.triple) for c, cxx in CROSS_NAMES.items()}


def _list_candidates(target: Target) -> Iterator[Compiler]:
    arch = "" if target.is_native else target.arch
    for name, cxx_name in _list_names(target).items():
        path, cxx = (shutil.which(each, path=_build_path()) for each in (name, cxx_name))
        if path:
            yield Compiler([path], [cxx or path], arch)
    if importlib.util.find_spec("ziglang"):
        words = [] if target.is_native else ["-target", f"{target.triple}.{ZIG_GLIBC}"]
        zig = [sys.executable, "-m", "ziglang"]
        yield Compiler([*zig, "cc", *words], [*zig, "c++", *words], arch)


def _build_path() -> str:
    return os.environ.get("PATH", DEFAULT_PATH)
