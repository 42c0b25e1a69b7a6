"""What stands for the traffic of simulated devices: rows out of a file, each with what turns out to be right."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.agent.errors import AgentError

MAX_TRAFFIC_BYTES = 64 << 20
ROWS_PER_TURN = 40
DEFAULT_SECONDS = 60.0


@dataclass(frozen=True)
class Traffic:
    """`labels[i]` is right for `rows[i]`. Every device answers some of them each `seconds`."""

    rows: list[Any]
    labels: list[Any]
    seconds: float = DEFAULT_SECONDS

    @classmethod
    def read(cls, path: Path, seconds: float) -> Traffic:
        """JSON lines {"features": [...], "label": ...}. Raises AgentError ``bad_traffic``."""
        rows, labels, number = [], [], 0
        try:
            if path.stat().st_size > MAX_TRAFFIC_BYTES:
                raise ValueError(f"it has more than {MAX_TRAFFIC_BYTES >> 20} MB")
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):  # noqa: B007  it names the line at fault
                    row = json.loads(line)
                    rows.append(row["features"])
                    labels.append(row["label"])
            if not rows:
                raise ValueError("it has no row")
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            raise AgentError(
                "bad_traffic",
                f"The traffic of simulated devices cannot be read: {why}.",
                field="--traffic",
                value=f"{path}, line {number}" if number else str(path),
                limit='JSON lines {"features": [...], "label": ...}',
                hint="Write one line for each row that the model can be asked about.",
            ) from None
        return cls(rows, labels, seconds)

    def draw(self, source: random.Random) -> tuple[list[Any], list[Any]]:
        """Rows and labels of one turn of a device."""
        places = [source.randrange(len(self.rows)) for _ in range(min(ROWS_PER_TURN, len(self.rows)))]
        return [self.rows[place] for place in places], [self.labels[place] for place in places]
