"""Progress of a run over partitions: how many are done, which run now, and which had to run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from deepseek.job import JSON, Report

MAX_LISTED = 64
"""Partitions that a report names, of those that run and of those that run again."""


@runtime_checkable
class PartitionReport(Protocol):
    """A Report that also takes the state of the partitions; it goes out with the next progress."""

    def partitions(self, state: dict[str, JSON] | None) -> None:
        """`state`: done, total, running and again (numbers from 1), rows; None once the stage has no partitions."""


class PartitionProgress:
    """Follows a carrier and reports each change; `rows`: of each partition."""

    def __init__(self, report: Report, rows: Sequence[int]) -> None:
        self.report, self.rows = report, list(rows)
        self.stage = "read"
        self.tasks = 0
        self.running: list[int] = []
        self.done: set[int] = set()
        self.again: list[int] = []  # lost and not done since

    def begin_stage(self, stage: str) -> None:
        """Name what the next tasks do."""
        self.stage = stage

    def set_rows(self, rows: Sequence[int]) -> None:
        """Follow other partitions, of so many rows each."""
        self.rows = list(rows)

    def begin(self, tasks: int) -> None:
        self.tasks, self.running, self.done, self.again = tasks, [], set(), []
        self._send()

    def start(self, number: int) -> None:
        self.running.append(number)
        self._send()

    def finish(self, number: int) -> None:
        if number in self.running:
            self.running.remove(number)
        self.done.add(number)
        if number in self.again:
            self.again.remove(number)
        self._send()

    def lose(self, numbers: Sequence[int]) -> None:
        self.running = []
        self.again = sorted({*self.again, *numbers})
        names = ", ".join(str(number + 1) for number in numbers[:MAX_LISTED])
        self.report.log(f"a process was lost; run again: partition {names} of {self.tasks}", level="warning")
        self._send()

    def end(self) -> None:
        """The run goes on without partitions."""
        if isinstance(self.report, PartitionReport):
            self.report.partitions(None)

    def _send(self) -> None:
        is_by_partition = self.tasks == len(self.rows)
        if isinstance(self.report, PartitionReport):
            self.report.partitions(self._build_state() if is_by_partition else None)
        self.report.progress(len(self.done), self.tasks, "parts", stage=self.stage)

    def _build_state(self) -> dict[str, JSON]:
        return {
            "done": len(self.done),
            "total": self.tasks,
            "rows": sum(self.rows[number] for number in self.done),
            "total_rows": sum(self.rows),
            "running": [number + 1 for number in sorted(self.running)[:MAX_LISTED]],
            "again": [number + 1 for number in self.again[:MAX_LISTED]],
        }
