"""Rounds of a step over partitions: every partition is scanned, the states are merged, each receives the result.

A table in one piece is the case of one partition, so a plan gives the same values however the table is partitioned.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from deepseek.tables.batches import Batches

T = TypeVar("T")


@dataclass(frozen=True)
class Round:
    """One pass over all partitions of a table.

    `scan` reads one partition and returns its state. `merge` takes the states in the order of the partitions and
    returns what all of them need, and what each needs of the others (its edge). `accept` gives both to a partition.

    With `reduce` the states are shuffled rows: it is called once for each of `buckets` with all states, and `merge`
    receives its results too. Scans and reductions may run in other processes, in any order, and again after a failure.
    """

    scan: Callable[[Batches], Any]
    merge: Callable[[Sequence[Any], Sequence[Any]], tuple[Any, Sequence[Any]]]
    accept: Callable[[Any, Any], None]
    reduce: Callable[[int, Sequence[Any]], Any] | None = None
    buckets: int = 0

    def reduce_all(self, states: Sequence[Any]) -> list[Any]:
        """The results of every bucket, computed one after the other."""
        return [] if self.reduce is None else [self.reduce(bucket, states) for bucket in range(self.buckets)]


Rounds = Generator[Round, None, T]
"""Rounds that depend on each other: a generator is resumed once its round was accepted, and returns a value."""


def run_rounds(rounds: Rounds[T], source: Batches) -> T:
    """Run the rounds over a table in one piece and return their value."""
    while True:
        try:
            current = next(rounds)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        states = [current.scan(source)]
        shared, edges = current.merge(states, current.reduce_all(states))
        current.accept(shared, edges[0])


def replay_rounds(rounds: Rounds[Any], history: Iterable[tuple[Any, Any]]) -> Round | None:
    """Give a fresh generator the results of earlier rounds; return the round that comes next, None at the end."""
    current = next(rounds, None)
    for shared, edge in history:
        if current is None:
            raise RuntimeError("there are more results than rounds")
        current.accept(shared, edge)
        current = next(rounds, None)
    return current
