"""What a device remembers beyond one update: sequences, the previous version, the counter of its receipts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from deepseek.agent.storage.disk import read_json
from deepseek.agent.storage.home import Home

MAX_ENDED = 50
"""Assignments that are remembered as ended, so that a repeated answer of the plane does not start one again."""


@dataclass
class DeviceState:
    """`sequences`: "project/model" -> the highest sequence that was ever switched on, and its release. `reported`: the
    release of the last receipt."""

    sequences: dict[str, dict[str, Any]] = field(default_factory=dict)
    previous: str | None = None
    counter: int = 0
    reported: str | None = None
    ended: list[str] = field(default_factory=list)


class StateFile:
    """The state in the home folder. Every change is durable when its method returns."""

    def __init__(self, home: Home) -> None:
        self._home = home
        stored = read_json(home.state_file) or {}
        known = {each.name for each in fields(DeviceState)}
        self.state = DeviceState(**{name: value for name, value in stored.items() if name in known})

    def record_sequence(self, model: str, sequence: int, release: str) -> None:
        """Remember that this release was switched on: older ones of its model are refused from now on."""
        known = self.state.sequences.get(model)
        if known is None or sequence > known["sequence"]:
            self._save(sequences={**self.state.sequences, model: {"sequence": sequence, "release": release}})

    def set_previous(self, release: str | None) -> None:
        if self.state.previous != release:
            self._save(previous=release)

    def set_reported(self, release: str) -> None:
        if self.state.reported != release:
            self._save(reported=release)

    def next_counter(self) -> int:
        """The number of the next receipt: never used before, whatever was killed when."""
        self._save(counter=self.state.counter + 1)
        return self.state.counter

    def end_assignment(self, assignment: str | None) -> None:
        """Remember that this assignment is not to be started again."""
        if assignment is not None and assignment not in self.state.ended:
            self._save(ended=[*self.state.ended, assignment][-MAX_ENDED:])

    def _save(self, **changes: Any) -> None:
        state = replace(self.state, **changes)
        self._home.disk.write_json(self._home.state_file, asdict(state))
        self.state = state  # only now: what the disk did not take is tried again
