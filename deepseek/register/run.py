"""Not written yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepseek.job import Report, Result


def run(spec: Any, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Not written yet."""
    raise NotImplementedError
