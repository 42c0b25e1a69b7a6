"""The journal of the update under way: one file, replaced at every step. Without it no update is under way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from deepseek.agent.storage.disk import read_json
from deepseek.agent.storage.home import Home

Step = Literal["downloading", "verifying", "installing", "checking", "switching", "watching", "rolling_back"]
BEFORE_SWITCH: tuple[Step, ...] = ("downloading", "verifying", "installing", "checking")
"""Steps in which the old version is untouched: an update that ends here leaves nothing to undo."""


@dataclass(frozen=True)
class Update:
    """An update and the step that is to be done next. Every step may be repeated from its beginning.

    `envelope`: the signed release. `provenance`: the envelope that came beside it. `previous`: what was switched on
    before. `tries`: how often an agent has begun the step, over restarts. `code`, `message`: why it is rolled back.
    """

    release: str
    envelope: dict[str, Any]
    step: Step
    assignment: str | None = None
    origin: Literal["plane", "folder"] = "plane"
    previous: str | None = None
    tries: int = 0
    code: str = ""
    message: str = ""
    provenance: dict[str, Any] | None = None


class Journal:
    """The update in the home folder."""

    def __init__(self, home: Home) -> None:
        self._home = home
        stored = read_json(home.journal_file)
        self.update = None if stored is None else restore_update(stored)

    def write(self, update: Update) -> Update:
        """Make `update` the one under way."""
        self._home.disk.write_json(self._home.journal_file, asdict(update))
        self.update = update
        return update

    def advance(self, step: Step, **changes: Any) -> Update:
        """Let `step` be the next one."""
        assert self.update is not None  # noqa: S101  nobody advances what is not under way
        return self.write(replace(self.update, step=step, tries=0, **changes))

    def count_try(self) -> int:
        """Remember that the step is begun once more, and return how often it was."""
        assert self.update is not None  # noqa: S101
        return self.write(replace(self.update, tries=self.update.tries + 1)).tries

    def close(self) -> None:
        """No update is under way any more."""
        self._home.disk.remove(self._home.journal_file)
        self.update = None


def restore_update(stored: dict[str, Any]) -> Update:
    """The update in a journal, whichever version of the agent wrote it."""
    field_names = {each.name for each in fields(Update)}
    return Update(**{name: value for name, value in stored.items() if name in field_names})
