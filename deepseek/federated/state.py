"""What a server and a site keep on disk to go on from: one file each, replaced by a rename."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load

from deepseek.federated.errors import FederationError
from deepseek.federated.inspection import read_payload_metadata
from deepseek.federated.network import Weights
from deepseek.federated.privacy import Spend
from deepseek.federated.wire import compute_digest, encode_weights, parse_object
from deepseek.messages import N_

SITE_STATE, OUTCOME, FINAL_MODEL = "state.json", "outcome.json", "final.safetensors"
UPDATES_KEPT = 5
"""Of a site: a server that goes on from an earlier round gets them again."""


@dataclass
class ServerState:
    """After so many rounds: the global weights, and what became of each round."""

    round: int
    weights: Weights
    history: list[dict[str, Any]] = field(default_factory=list)


def write_server_state(path: Path, owner: str, state: ServerState) -> None:
    history = json.dumps(state.history, allow_nan=False)
    metadata = {"owner": owner, "round": str(state.round), "history": history}
    replace_file(path, encode_weights(state.weights, metadata))


def read_server_state(path: Path, owner: str, expected: Weights) -> ServerState | None:
    """The state in the file; None where there is none, or it is another owner's or damaged."""
    try:
        data = path.read_bytes()
        metadata = read_payload_metadata(data)
        weights = load(data)
        shapes = {name: value.shape for name, value in weights.items()}
        if metadata.get("owner") != owner or shapes != {name: value.shape for name, value in expected.items()}:
            return None
        return ServerState(int(metadata["round"]), weights, list(json.loads(metadata["history"])))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, FederationError):
        return None


def write_outcome(home: Path, owner: str, fields: dict[str, Any]) -> None:
    """Keep what is known once the rounds are over: of a server the figures of its sites, of a site its own."""
    replace_file(home / OUTCOME, json.dumps({"owner": owner, **fields}, allow_nan=False).encode())


def read_outcome(home: Path, owner: str) -> dict[str, Any]:
    """What `write_outcome` has kept for the same owner; empty where there is nothing, or it is damaged."""
    try:
        fields = parse_object((home / OUTCOME).read_bytes())
    except (OSError, FederationError):
        return {}
    return fields if fields.pop("owner", None) == owner else {}


@dataclass(frozen=True)
class UpdateRecord:
    """An update that a site has made: of which round, from which weights, and its figures."""

    round: int
    base: str
    digest: str
    norm: float
    max_abs: float
    epsilon: float | None
    left_out: bool = False  # of its round, which ended without it


@dataclass
class SiteState:
    """What a site has spent, and its last updates, each in a file of its own beside it.

    After a kill of the site or the server the same bytes are sent again, and no row is trained on a second time for the
    same round.
    """

    history: list[Spend] = field(default_factory=list)
    updates: list[UpdateRecord] = field(default_factory=list)

    @property
    def round(self) -> int:
        """The last round that the site has trained in."""
        return max((update.round for update in self.updates), default=0)

    @property
    def epsilon(self) -> float | None:
        return self.updates[-1].epsilon if self.updates else None

    @classmethod
    def read(cls, home: Path) -> SiteState:
        """The state in the home folder. Raises FederationError ``state_broken``: without it the spend is unknown."""
        try:
            data = (home / SITE_STATE).read_bytes()
        except FileNotFoundError:
            return cls()
        try:
            fields = parse_object(data)
            history = [(float(noise), float(rate), int(steps)) for noise, rate, steps in fields["history"]]
            return cls(history, [UpdateRecord(**each) for each in fields["updates"]])
        except (FederationError, ValueError, KeyError, TypeError):
            raise build_state_error() from None

    def find_update(self, round: int) -> UpdateRecord | None:
        return next((update for update in self.updates if update.round == round), None)

    def mark_left_out(self, counted: object) -> None:
        """Note which of these updates were not aggregated: the global weights of now do not follow from them. A server
        that is started again from an older state must come to the same weights, so it is not sent them then.

        `counted`: the rounds whose updates were, as the server says; it is kept with the next update.
        """
        if isinstance(counted, list):
            self.updates = [replace(each, left_out=each.round not in counted) for each in self.updates]

    def add(self, home: Path, record: UpdateRecord, content: bytes, history: list[Spend]) -> None:
        """Make an update durable, and then the state that names it and what has been spent."""
        replace_file(home / name_update(record), content)
        self.history, self.updates = history, [*self.updates, record][-UPDATES_KEPT:]
        fields = {"history": self.history, "updates": [asdict(update) for update in self.updates]}
        replace_file(home / SITE_STATE, json.dumps(fields, allow_nan=False).encode())
        names = {name_update(update) for update in self.updates}
        for old in home.glob("update-*.safetensors"):
            if old.name not in names:
                old.unlink(missing_ok=True)


def read_update(home: Path, record: UpdateRecord) -> bytes:
    """The bytes of an update. Raises FederationError ``state_broken``."""
    try:
        data = (home / name_update(record)).read_bytes()
    except OSError:
        raise build_state_error() from None
    if compute_digest(data) != record.digest:
        raise build_state_error()
    return data


def name_update(record: UpdateRecord) -> str:
    return f"update-{record.digest}.safetensors"


def replace_file(path: Path, content: bytes) -> None:
    """Write the file so that it is there whole, old or new, whatever is killed when."""
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()


def build_state_error() -> FederationError:
    return FederationError(
        "state_broken",
        N_("What the site has kept of the study cannot be read."),
        field="inputs/home",
        limit="the state of the last round",
        hint=N_("Put the folder back from its backup. Without it, what was spent of the privacy budget is unknown."),
    )
