"""The verdicts of rollouts' gates: deepseek.canary in a child process, so that the dispatcher loads no SciPy."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 300


class EvaluationFailed(Exception):
    """The engine could not make a verdict; the next round tries again."""


def evaluate_in_child(plan: Mapping[str, Any], evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict of ``deepseek canary PLAN EVIDENCE``. Raises EvaluationFailed."""
    with tempfile.TemporaryDirectory(prefix="canary-") as folder:
        names = []
        for name, document in (("plan", plan), ("evidence", evidence)):
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(document), encoding="utf-8")
            names.append(str(path))
        command = [sys.executable, "-m", "deepseek.cli", "canary", *names]
        child = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    if child.returncode:
        raise EvaluationFailed(child.stderr.strip()[-500:] or f"exit code {child.returncode}")
    verdict: dict[str, Any] = json.loads(child.stdout)
    return verdict
