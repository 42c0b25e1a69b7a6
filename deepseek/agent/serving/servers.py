"""What the agent asks of a server of a model, whichever program it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deepseek.agent.updating.versions import InstalledVersion


@dataclass(frozen=True)
class Recording:
    """What a server records: the share of predictions that the plane wants."""

    rate: float


class ModelServer(Protocol):
    """A server of one version."""

    version: InstalledVersion
    recording: Recording | None
    started_at: str

    def is_ready(self) -> bool:
        """Whether it answers."""

    def has_ended(self) -> bool:
        """Whether it is gone, by itself or because it was stopped."""

    def predict(self, rows: Sequence[Any]) -> list[Any]:
        """Its answers to rows, as `POST /predict` gives them. Raises AgentFailure ``server_failed``."""

    def is_alive(self) -> bool:
        """Whether it answers a question after its health."""

    def read_metrics(self) -> Mapping[str, float]:
        """Its figures, for the heartbeat; empty where it does not answer."""

    def describe_end(self) -> str:
        """The last that it wrote, for people."""

    def stop(self) -> None:
        """End it: requests that run may finish. Returns when it is gone."""


class ServerFactory(Protocol):
    """Starts servers on one device."""

    def start_candidate(self, version: InstalledVersion) -> ModelServer:
        """Start a server that nobody else asks, to try a version."""

    def start(self, version: InstalledVersion, recording: Recording | None) -> ModelServer:
        """Start a server at the device's address, beside the one that may run there."""

    def close(self) -> None:
        """Give the address back."""
