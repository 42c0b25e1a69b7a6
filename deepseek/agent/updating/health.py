"""Checks a server by the samples of its release: rows with the answers that the registered model gives."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.agent.errors import ReleaseRefused
from deepseek.agent.serving.servers import ModelServer
from deepseek.agent.updating.versions import InstalledVersion
from deepseek.signing.statements import HealthCheck

MAX_SAMPLES_BYTES = 8 << 20


@dataclass(frozen=True)
class Samples:
    """`rows[i]` is answered by `predictions[i]`; numbers may differ by `tolerance`, relative above 1."""

    rows: list[Any]
    predictions: list[Any]
    tolerance: float

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Raises ReleaseRefused ``samples_unreadable``."""
        try:
            if path.stat().st_size > MAX_SAMPLES_BYTES:
                raise ValueError(f"it has more than {MAX_SAMPLES_BYTES >> 20} MB")
            document = json.loads(path.read_bytes())
            rows, predictions = document["rows"], document["predictions"]
            tolerance = float(document["tolerance"])
            if not (isinstance(rows, list) and isinstance(predictions, list) and len(rows) == len(predictions) > 0):
                raise ValueError("rows and predictions are not lists of one length")
            if not 0 <= tolerance < math.inf:
                raise ValueError(f"the tolerance is {tolerance}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReleaseRefused(
                "samples_unreadable",
                f"The samples of the release cannot be used: {type(error).__name__}: {error}",
                field=path.name,
                limit="rows, predictions and tolerance",
                hint="Issue the release again.",
            ) from None
        return cls(rows, predictions, tolerance)


def check_health(server: ModelServer) -> HealthCheck:
    """Let the server answer its samples. Raises ReleaseRefused ``health_check_failed``, and AgentFailure
    ``server_failed`` where it does not answer. A release without samples needs a server that is alive."""
    version = server.version
    if version.samples is None:
        if not server.is_alive():
            raise _build_failure(version, "the server says that it is not healthy", "a healthy server")
        return HealthCheck(rows=0, largest_difference=0.0)
    samples = Samples.read(version.samples)
    answers = server.predict(samples.rows)
    if len(answers) != len(samples.rows):
        raise _build_failure(version, f"{len(answers)} answers to {len(samples.rows)} rows", "an answer to each row")
    largest = 0.0
    for place, (answer, expected) in enumerate(zip(answers, samples.predictions, strict=True)):
        difference = measure_difference(answer, expected)
        if not difference <= samples.tolerance:
            found = f"row {place}: {json.dumps(answer)[:100]} instead of {json.dumps(expected)[:100]}"
            raise _build_failure(version, found, f"a difference of at most {samples.tolerance:g}")
        largest = max(largest, difference)
    return HealthCheck(rows=len(answers), largest_difference=largest)


def measure_difference(answer: Any, expected: Any) -> float:
    """The largest difference of two numbers, relative to the expected one where that is above 1; infinite where the
    shapes, or anything that is no number, differ."""
    if isinstance(expected, list):
        if not isinstance(answer, list) or len(answer) != len(expected):
            return math.inf
        return max((measure_difference(*pair) for pair in zip(answer, expected, strict=True)), default=0.0)
    if is_number(expected) and is_number(answer):
        difference = abs(answer - expected) / max(1.0, abs(expected))
        return math.inf if math.isnan(difference) else float(difference)
    return 0.0 if answer == expected and type(answer) is type(expected) else math.inf


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _build_failure(version: InstalledVersion, found: str, limit: str) -> ReleaseRefused:
    return ReleaseRefused(
        "health_check_failed",
        f"{version.statement.model} {version.statement.version} does not answer its samples: {found}.",
        field="samples",
        value=found,
        limit=limit,
        hint="Look at the release on the plane: it may be made for another machine.",
    )
