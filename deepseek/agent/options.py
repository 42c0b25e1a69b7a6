"""What an agent is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_SERVE = ("127.0.0.1", 8080)


@dataclass(frozen=True)
class AgentOptions:
    """`plane`: its address, empty on a device that never has a connection. `poll_seconds`: instead of what the plane
    says. `watch_seconds`: for which a new version is watched, and rolled back if its server fails. `start_seconds`: an
    agent that starts waits up to so long before it polls, so that a fleet after a power cut does not ask at once.
    `is_once`: a refused enrolment ends it, where it is tried again otherwise. `is_provenance_required`: refuse releases
    that name no provenance, where otherwise only those that name one need it."""

    home: Path
    plane: str = ""
    enrolment_token: str = field(default="", repr=False)
    name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    ca: str = ""
    poll_seconds: float | None = None
    heartbeat_seconds: float = 300.0
    watch_seconds: float = 60.0
    slice_seconds: float = 10.0
    start_seconds: float = 30.0
    is_once: bool = False
    is_provenance_required: bool = False
    host: str = DEFAULT_SERVE[0]
    port: int = DEFAULT_SERVE[1]
