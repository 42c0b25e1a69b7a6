"""What every capability of the engine shares: how a run reports, what it returns, how it fails and how it writes.

Imports nothing heavy, so that a worker may import it in its own process.
"""

import fcntl
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from deepseek.messages import N_, Message, record_messages

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
Level = Literal["debug", "info", "warning", "error"]

STALE_SECONDS = 60.0
"""A staging folder younger than this is never swept: its maker may be between creating and locking it."""


class Report(Protocol):
    """Where a run tells how it goes. Calls are cheap and never raise for what they are told."""

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        """`done` of `total` (None: unknown), counted in `unit`, of the stage named."""

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """One measured value at a step."""

    def log(self, text: str, *, level: Level = "info") -> None:
        """One line for a person."""

    def checkpoint(self, path: Path, step: int) -> None:
        """The file `path` holds everything to go on from after `step` steps.

        It was renamed into place whole; the next checkpoint may be renamed over it, and never writes into it.
        """


class Silent:
    """A Report that drops everything: for calls from a notebook or a test."""

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        pass

    def metric(self, name: str, value: float, step: int = 0) -> None:
        pass

    def log(self, text: str, *, level: Level = "info") -> None:
        pass

    def checkpoint(self, path: Path, step: int) -> None:
        pass


def build_checkpoint_path(out: Path) -> Path:
    """Where a run to `out` keeps its checkpoint: a hidden file beside `out`, which exists only when all is done.

    The run replaces it by a rename, goes on from it when it is started again, and removes it once it has succeeded.
    """
    out = Path(os.path.abspath(out))
    return out.parent / f".{out.name}.checkpoint"


@dataclass(frozen=True)
class Output:
    """One thing a run made: `path` is relative to the run's `out` folder, with forward slashes."""

    slot: str
    path: str
    media_type: str
    meta: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a run made. The same inputs and spec give an equal Result: no times, host names or process ids in it."""

    outputs: tuple[Output, ...]
    summary: dict[str, JSON] = field(default_factory=dict)

    def as_dict(self) -> dict[str, JSON]:
        """The result as a JSON object."""
        outputs: list[JSON] = [
            {"slot": o.slot, "path": o.path, "media_type": o.media_type, "meta": o.meta} for o in self.outputs
        ]
        return {"outputs": outputs, "summary": record_messages(self.summary)}


class EngineError(Exception):
    """A fault of the input or of the spec. No retry can mend it; a person must change what is named.

    `code`: stable, snake_case. `msgid`, `params`: what is wrong, a format string and its values (deepseek/messages.py).
    `field`: JSON pointer into the spec (``/columns/0``) or a slot (``inputs/table``).
    `value`: what was found, `limit`: what is allowed, `hint`: what to do. `exit_code`: of the command line.
    """

    exit_code = 2

    def __init__(
        self,
        code: str,
        msgid: str,
        /,
        *,
        field: str | None = None,
        value: str | None = None,
        limit: str | int | None = None,
        hint: str | None = None,
        **params: Any,
    ) -> None:
        self.message = Message(msgid, **params)
        super().__init__(self.message)
        self.code = code
        self.field, self.value, self.limit = field, value, limit
        self.hint = None if hint is None else Message(hint)

    def as_dict(self) -> dict[str, JSON]:
        """The error as a JSON object, to cross a process boundary."""
        names = ("code", "message", "field", "value", "limit", "hint")
        return record_messages({name: getattr(self, name) for name in names})

    def __reduce__(self) -> tuple[object, ...]:
        state = {name: getattr(self, name) for name in ("field", "value", "limit", "hint")}
        return (type(self), (self.code, self.message), state)


class TransientError(EngineError):
    """A fault of what a run uses beside its inputs, such as a cluster. Another attempt may succeed."""


@contextmanager
def stage_outputs(out: Path) -> Iterator[Path]:
    """Yield a fresh folder beside `out`; on success make its files durable, rename it to `out`; else remove it.

    A killed run leaves no `out`, only its hidden staging folder, which the next run to the same `out` sweeps away.
    Raises EngineError ``output_exists`` if `out` is a file, lies in one, or is a folder that holds something.
    """
    out = Path(os.path.abspath(out))
    _refuse_existing(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _build_existing_error(
            out, Message("The output folder {out} cannot be made: it would lie in a file.", out=out)
        ) from None
    _remove_stale_stages(out)
    stage = out.parent / f".{out.name}.{secrets.token_hex(6)}.staging"
    stage.mkdir()
    lock = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks: then nothing is ever swept on it
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield stage
        _sync_tree(stage)
        try:
            os.rename(stage, out)  # replaces an empty folder, refuses any other
        except OSError:
            _refuse_existing(out)
            raise
        _sync(out.parent)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _refuse_existing(out: Path) -> None:
    if not out.is_symlink() and (not out.exists() or (out.is_dir() and not any(out.iterdir()))):
        return
    raise _build_existing_error(out, Message("The output folder {out} already exists and is not empty.", out=out))


def _build_existing_error(out: Path, message: str) -> EngineError:
    return EngineError(
        "output_exists",
        message,
        field="out",
        value=str(out),
        limit="a folder that does not exist yet, or an empty one",
        hint=N_("Name another folder, or remove this one first."),
    )


def _remove_stale_stages(out: Path) -> None:
    """Remove staging folders that a killed run to the same `out` left: old, and locked by nobody."""
    for stale in out.parent.glob(f".{glob.escape(out.name)}.*.staging"):
        with suppress(OSError):
            handle = os.open(stale, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if time.time() - os.fstat(handle).st_mtime > STALE_SECONDS:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(stale, ignore_errors=True)
            finally:
                os.close(handle)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(parent, name))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
