"""The engine's command line in this process, for tests in which the bounded child is not the point.

A child pays for a Python and a pandas of its own: 0.8 s of processor time for each question.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import IO

from apps.data.datasets import bounded_process
from deepseek.cli import main


def ask(
    words: Sequence[str], spec: str, *files: IO[bytes], limits: bounded_process.ProcessLimits
) -> bounded_process.ProcessAnswer:
    """Answer as bounded.ask does, without its limits."""
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryFile() as file:
        file.write(spec.encode())
        file.flush()
        words = [bounded_process.get_child_path(file) if word == "/dev/stdin" else word for word in words]
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words)
    return bounded_process.parse_answer(code, out.getvalue().encode(), err.getvalue().encode())
