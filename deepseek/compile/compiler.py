"""The C compiler that links a library. It is looked for and tried before any work is done."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.job import EngineError
from deepseek.messages import N_

NAMES = ("g++", "gcc", "cc", "clang")
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where to look, and where a compiler looks for its linker, if there is no PATH at all."""
_PROBE = "int plane_probe(void) { return 0; }\n"
_SECONDS = 120


class Compiler:
    """A command that compiles and links C."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)

    def link(self, output: str, objects: Sequence[str], **ignored: Any) -> None:
        """Make the shared library `output` of `objects`. TVM calls it, and adds options that only its own tools need.

        Raises RuntimeError with what the compiler said last.
        """
        # libm last, and only if the code calls it: exponentials of an activation come from there.
        self._run("-shared", "-fPIC", "-o", output, *objects, "-Wl,--as-needed", "-lm")

    def find_fault(self) -> str | None:
        """None if it can make a shared library here, else what it said."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(_PROBE, encoding="ascii")
            try:
                self._run("-shared", "-fPIC", "-o", str(Path(folder, "probe.so")), "-x", "c", str(source))
            except (RuntimeError, OSError) as error:
                return str(error)
        return None

    def _run(self, *words: str) -> None:
        run = subprocess.run(
            [*self.command, *words],
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
            raise RuntimeError(f"{self.command[0]} ended with {run.returncode}: {why[:300]}")


def find_compiler() -> Compiler:
    """The first compiler that works: g++, gcc, cc or clang on PATH, else that of the ziglang package.

    Raises EngineError ``compiler_missing`` naming the remedy.
    """
    faults = []
    for command in _list_candidates():
        compiler = Compiler(command)
        fault = compiler.find_fault()
        if fault is None:
            return compiler
        faults.append(fault)
    raise EngineError(
        "compiler_missing",
        "There is no C compiler that works on this machine; TVM needs one to link the compiled model.",
        field="PATH",
        value="; ".join(faults)[:500] or f"none of {', '.join(NAMES)}, and no ziglang package",
        limit="a C compiler that can make a shared library",
        hint=N_("Install g++ (on Debian: apt install g++), or the package ziglang with pip."),
    )


def _list_candidates() -> list[list[str]]:
    commands = [[path] for path in (shutil.which(name, path=_build_path()) for name in NAMES) if path]
    if importlib.util.find_spec("ziglang"):
        commands.append([sys.executable, "-m", "ziglang", "cc"])
    return commands


def _build_path() -> str:
    return os.environ.get("PATH", DEFAULT_PATH)
