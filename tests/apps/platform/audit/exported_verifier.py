"""The verifier that lies beside an export, run in this process or by a bare Python."""

from __future__ import annotations

import io
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path


def run_verifier(export: Path, *more: object, script: Path | None = None) -> tuple[int, str]:
    """Exit status and output of the exported script, in this process: a new one costs ten times as much."""
    script, output, before = script or export / "verify.py", io.StringIO(), sys.argv
    sys.argv = [str(script), str(export), *map(str, more)]
    try:
        with redirect_stdout(output), redirect_stderr(output):
            runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0), output.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("verify.py must end with its exit status")


def run_verifier_alone(export: Path) -> tuple[int, str]:
    """The same by a bare Python, without our environment and our modules."""
    command = [sys.executable, "-I", str(export / "verify.py"), str(export)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=export, env={})
    return done.returncode, done.stdout + done.stderr
