"""What a service is told when it starts: limits, batching, and what it records. Light to import."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ServeOptions:
    """Limits of one service; each is of one model unless it says otherwise."""

    max_rows: int = 4096
    """Rows of one request."""
    at_once: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Predictions that may run at a time beside the event loop."""
    threads: int | None = None
    """Processor threads of one prediction; None: as many as the runtime takes. A compiled model brings its own."""
    max_waiting: int = 128
    """Requests that may wait for a prediction; the next one is answered 503."""
    waiting_seconds: float = 30.0
    """A request that has waited for so long is answered 503, and not computed."""
    batching: bool = True
    """Whether requests that wait may be computed in one call, where the model gains from it."""
    latency_budget: float = 0.05
    """Seconds that a batch of several requests may take; batches grow and shrink to stay below."""
    max_batch: int = 256
    """Rows of such a batch, at most."""
    body_seconds: float = 20.0
    """A request whose head, or whose body, takes longer to arrive is answered 408."""
    max_connections: int = 1024
    """Connections of the whole service."""
    buffered_bytes: int = 256 << 20
    """Bytes of large bodies that the whole service holds; beyond, requests are answered 503."""


@dataclass(frozen=True)
class ModelSource:
    """One model to serve: its name, its folder, and the version to announce (none: by the digest of its manifest)."""

    name: str
    folder: Path
    version: str = ""
