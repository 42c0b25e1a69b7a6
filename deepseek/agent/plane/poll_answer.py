"""What the plane answers to a poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepseek.agent.errors import AgentFailure
from deepseek.agent.serving.servers import Recording


@dataclass(frozen=True)
class Assignment:
    """What the plane wants of the device. `envelope`: the signed release, and `provenance` the one beside it, which
    nothing has verified yet."""

    id: str
    action: str
    envelope: dict[str, Any]
    provenance: dict[str, Any] | None = None


@dataclass(frozen=True)
class PollAnswer:
    state: str
    poll_seconds: float
    keys_version: int
    assignment: Assignment | None
    recording: Recording | None

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> PollAnswer:
        """Raises AgentFailure ``plane_answer_wrong``. Members that this version does not know are left unread."""
        try:
            assignment, observations = document.get("assignment"), document.get("observations")
            return cls(
                state=str(document["state"]),
                poll_seconds=float(document["poll_seconds"]),
                keys_version=int(document["keys_version"]),
                assignment=None if assignment is None else read_assignment(assignment),
                recording=None if observations is None else Recording(float(observations["sampling_rate"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AgentFailure(
                "plane_answer_wrong",
                f"The plane's answer to a poll cannot be used: {type(error).__name__}: {error}",
                field="--plane",
                limit="the answer of docs/agent.md",
                hint="Look whether the plane has the version of this agent or a newer one.",
            ) from None


def read_assignment(document: Mapping[str, Any]) -> Assignment:
    envelope = document.get("release") or {}
    provenance = document.get("provenance")
    if not isinstance(envelope, dict) or not isinstance(provenance, dict | None):
        raise TypeError("the release or its provenance is no object")
    return Assignment(str(document["id"]), str(document["action"]), envelope, provenance)
