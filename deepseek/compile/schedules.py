"""``schedules.jsonl``: every schedule that was measured, one a line, so that nothing is ever measured twice.

A line holds the workload (deepseek/compile/tiles.py: `Product.key`), the tile, the seconds of one call, the target and
the version of TVM. Lines of other targets and versions are carried along: the file of a job goes into the next.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepseek.compile.tiles import Tile
from deepseek.job import EngineError
from deepseek.messages import N_, Message

SLOT = "schedules"
MOST_BYTES = 64 << 20
_SIZE = Field(ge=1, le=1 << 20)


class Schedule(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_: Literal["plane/schedule/v1"] = Field("plane/schedule/v1", alias="schema")
    workload: str = Field(max_length=200)
    rows: int = _SIZE
    columns: int = _SIZE
    parallel: bool = False
    by_lines: bool = False
    seconds: float = Field(gt=0)
    target: str = Field(max_length=2000)  # as `name_target` writes it
    tvm: str = Field(max_length=100)

    @property
    def tile(self) -> Tile:
        """How the product is cut."""
        return Tile(self.rows, self.columns, self.parallel, self.by_lines)

    def to_json(self) -> str:
        """The line."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


@dataclass(frozen=True)
class Skipped:
    """What of a file was not taken: the first damaged line and how many there are; versions of TVM -> lines."""

    line: int
    damaged: int
    versions: dict[str, int]

    def describe(self, path: Path, version: str) -> list[str]:
        """A sentence for each."""
        sentences: list[str] = []
        if self.damaged:
            sentences.append(
                Message(
                    "{path_name}: line {line} is no schedule; {count} such lines are left out.",
                    path_name=path.name,
                    line=self.line,
                    count=self.damaged,
                )
            )
        sentences += [
            Message(
                "{path_name}: {count} schedules of TVM {other} are not used; this is TVM {version}.",
                path_name=path.name,
                count=count,
                other=stated,
                version=version,
            )
            for stated, count in sorted(self.versions.items())
        ]
        return sentences


class ScheduleBook:
    """The schedules of one run: what was read, and what is measured. `version`: of this TVM, the only one used."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._kept: dict[tuple[str, str, str, Tile], Schedule] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, schedule: Schedule) -> None:
        """Keep it; the newest of equal workload, tile, target and version stays."""
        self._kept[schedule.workload, schedule.target, schedule.tvm, schedule.tile] = schedule

    def find(self, workload: str, target: str) -> dict[Tile, float]:
        """Seconds by tile that were measured on `target`."""
        return {
            tile: schedule.seconds
            for (of, on, tvm, tile), schedule in self._kept.items()
            if (of, on, tvm) == (workload, target, self.version)
        }

    def rank_elsewhere(self, workload: str, target: str) -> list[Tile]:
        """Tiles measured on other targets, the fastest of each first: what is likely to be good on `target` too."""
        fastest: dict[str, Schedule] = {}
        for (of, on, tvm, _), schedule in self._kept.items():
            if (of, tvm) == (workload, self.version) and on != target:
                best = fastest.get(on)
                fastest[on] = schedule if best is None or schedule.seconds < best.seconds else best
        return [schedule.tile for schedule in fastest.values()]

    def read(self, path: Path) -> Skipped:
        """Take what the file at `path` holds; damaged lines are left out.

        Raises EngineError ``schedules_unreadable`` where it is no file of schedules at all.
        """
        try:
            with path.open("rb") as file:
                lines = file.read(MOST_BYTES + 1).splitlines()
        except OSError as error:
            raise _build_error(path, error.strerror or str(error)) from error
        damaged, versions, why = list[int](), dict[str, int](), ""
        for number, line in enumerate(lines, start=1):
            try:
                schedule = Schedule.model_validate_json(line)
            except ValidationError as error:
                why = why or f"line {number}: {error.errors()[0]['msg']}"
                damaged.append(number)
                continue
            self.add(schedule)
            if schedule.tvm != self.version:
                versions[schedule.tvm] = versions.get(schedule.tvm, 0) + 1
        if damaged and len(damaged) == len(lines):
            raise _build_error(path, why)
        return Skipped(damaged[0] if damaged else 0, len(damaged), versions)

    def write(self, path: Path) -> None:
        """Write all of them to `path`: on the disk, and renamed into place whole, when this returns."""
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("w", encoding="utf-8", newline="") as file:
                file.writelines(schedule.to_json() for schedule in self._sort())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _sort(self) -> Iterable[Schedule]:
        return (self._kept[key] for key in sorted(self._kept, key=lambda key: (*key[:3], str(key[3]))))


def name_target(target: Mapping[str, Any]) -> str:
    """The target as schedules name it: its kind, triple, processor and threads; TVM's other words change by version."""
    facts = {key: target[key] for key in ("kind", "mtriple", "mcpu", "mattr", "num-cores") if target.get(key)}
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def _build_error(path: Path, why: str) -> EngineError:
    return EngineError(
        "schedules_unreadable",
        "{path_name} is no file of schedules: {why}",
        path_name=path.name,
        why=why,
        field=f"inputs/{SLOT}",
        value=path.name,
        limit="plane/schedule/v1, a line for each",
        hint=N_("Give the schedules.jsonl that `deepseek compile` wrote, or leave it out."),
    )
