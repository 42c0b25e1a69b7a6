"""Compilers and emulators, tried with a program of one line in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = '#include <stdio.h>\nint main(void) { printf("%d\\n", (int)sizeof(void *) * 8); return 0; }\n'
SECONDS = 6


def _build(compiler: str, folder: Path, *flags: str) -> tuple[str, str]:
    """(path of the program, what went wrong)"""
    source, target = folder / "program.c", folder / "program"
    source.write_text(PROGRAM)
    done = subprocess.run(
        [compiler, *flags, "-o", str(target), str(source)], capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return "", lines[-1] if lines else f"exit status {done.returncode}"
    return str(target), ""


def _run(*words: str) -> str:
    """What went wrong; "" for the answer that is expected."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.stdout.strip() == "64" else (done.stderr.strip() or f"it printed {done.stdout.strip()!r}")[:200]


def compile_program(compiler: str, then: str) -> dict[str, Any]:
    """`then`: run the program, or be content with a link."""
    if shutil.which(compiler) is None:
        return {"not_applicable": f"{compiler} is not installed."}
    version = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, timeout=SECONDS)
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        program, error = _build(compiler, Path(folder))
        if program and then == "run":
            error = _run(program)
    return {"version": version.stdout.strip(), "error": error}


def emulate_program(emulator: str, compiler: str) -> dict[str, Any]:
    for name in (emulator, compiler):
        if shutil.which(name) is None:
            return {"not_applicable": f"{name} is not installed."}
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        program, error = _build(compiler, Path(folder), "-static")
        return {"error": error or _run(emulator, program)}


PROBES = {"compile": compile_program, "emulate": emulate_program}
