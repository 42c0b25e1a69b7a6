"""What would make a training fit that does not: changes of its spec, each tried by the arithmetic. Light to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from deepseek.fit.families import estimate_memory
from deepseek.fit.memory import DataFacts, MemoryEstimate

SWITCHES = (("activation_checkpointing", True), ("method", "lora"))
"""Fields of some families' specs, and the value that takes less memory."""


def list_remedies(
    kind: str,
    spec: Any,
    facts: DataFacts,
    fits: Callable[[MemoryEstimate], bool],
    *,
    nodes: int = 1,
    gpus: int = 0,
) -> list[tuple[str, MemoryEstimate]]:
    """("field value", what it then needs), one for each field that would do it alone; the largest value that does."""

    def estimate(changed: Any) -> MemoryEstimate:
        estimated = estimate_memory(kind, changed, facts, nodes=nodes, gpus=gpus)
        assert estimated is not None  # noqa: S101  the kind trains, or nobody would look for remedies
        return estimated

    remedies = []
    switches = [partial(_switch, name, value) for name, value in SWITCHES]
    ways: list[Callable[[Any, int], Iterator[tuple[str, Any]]]] = [_shrink_micro_batch, _shrink_batch, *switches]
    for changes in ways:
        for name, changed in changes(spec, estimate(spec).examples):
            estimated = estimate(changed)
            if fits(estimated):
                remedies.append((name, estimated))
                break
    return remedies


def _shrink_micro_batch(spec: Any, examples: int) -> Iterator[tuple[str, Any]]:
    while examples > 1:
        examples //= 2
        yield f"micro_batch {examples}", spec.model_copy(update={"micro_batch": examples})


def _shrink_batch(spec: Any, _examples: int) -> Iterator[tuple[str, Any]]:
    batch = spec.schedule.last_batch
    while batch > 1:
        batch //= 2
        sizes = {"first_batch": min(batch, spec.schedule.first_batch), "last_batch": batch}
        yield (
            f"schedule.last_batch {batch}",
            spec.model_copy(update={"schedule": spec.schedule.model_copy(update=sizes)}),
        )


def _switch(name: str, value: Any, spec: Any, _examples: int) -> Iterator[tuple[str, Any]]:
    if getattr(spec, name, value) != value:
        yield f"{name} {str(value).lower()}", spec.model_copy(update={name: value})
