"""What a fit reports when it ends. Light to import."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

OnEpoch = Callable[[int, float], bool | None]


class EpochNotifier:
    """Calls the caller's function once for each epoch, in order."""

    def __init__(self, on_epoch: OnEpoch | None) -> None:
        self._on_epoch, self._next = on_epoch, 0
        self.wants_end = False

    def notify(self, losses: Sequence[float]) -> bool:
        """`losses`: of the epochs so far that have ended for some worker. Returns whether the fit is to end."""
        for epoch in range(self._next, len(losses)):
            self._next = epoch + 1
            if self._on_epoch is not None and not self.wants_end:
                self.wants_end = self._on_epoch(epoch, losses[epoch]) is True
        return self.wants_end


def compute_mean_losses(totals: Mapping[Any, Sequence[float]]) -> list[float]:
    """Mean loss of each epoch, in order, from {epoch: [sum, count]}."""
    return [total / count for _, (total, count) in sorted((int(epoch), pair) for epoch, pair in totals.items())]


@dataclass(frozen=True)
class FitReport:
    """How a fit went.

    `losses`: mean loss over the workers' batches, one value per epoch. `steps`: optimizer steps on each shard; in sync
    mode one per round, else one per batch of any worker. `max_lead`: the largest number of steps by which a worker that
    started a step was ahead of the slowest one. `events`: lost and replaced processes, in order.
    """

    mode: str
    optimizer: str
    workers: int
    servers: int
    epochs: int
    parameters: int
    steps: int
    losses: list[float]
    max_lead: int
    seconds: float
    tls: bool
    worker_restarts: int = 0
    server_restarts: int = 0
    events: list[str] = field(default_factory=list)

    @property
    def final_loss(self) -> float:
        """Mean loss of the last epoch."""
        return self.losses[-1]

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self)
