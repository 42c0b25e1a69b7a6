"""Iterate over the descendants of a job. Read-only."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from apps.platform.jobs.models import Job


class Descendants:
    """The children of a job that match, each with its parent, and those of every child that is entered.

    In the order of their ids: a child is always younger than its parents, so every transaction that goes down takes
    its locks in this one order, and no two wait for each other. No recursion: a pipeline may be long.
    """

    def __init__(self, top: Job, **matching: Any) -> None:
        self.matching = matching
        self.due: list[tuple[int, int, Job]] = []
        self.enter(top)

    def enter(self, parent: Job) -> None:
        for pk in Job.objects.filter(parent_links__parent=parent, **self.matching).values_list("pk", flat=True):
            heapq.heappush(self.due, (pk, parent.pk, parent))

    def __iter__(self) -> Iterator[tuple[Job, Job]]:
        while self.due:
            pk, _, parent = heapq.heappop(self.due)
            child = Job.objects.filter(pk=pk, **self.matching).first()
            if child is not None:  # else it moved by another parent
                yield child, parent
