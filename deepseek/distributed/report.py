"""What a fit reports when it ends. Light to import."""

from dataclasses import asdict, dataclass, field
from typing import Any


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
