"""The machine that is examined: files below a root folder, commands by a runner, and environment variables.

Nothing else of the doctor reads a file, starts a program or opens a socket, so that a captured tree (replay.py) answers
every check as the machine did.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from deepseek.doctor.findings import NotApplicable, Unmeasured

COMMAND_SECONDS = 8.0
HEAVY_SECONDS = 15.0  # for a command that imports torch on a busy machine
MAX_FILE_BYTES = 4 << 20
MAX_OUTPUT_BYTES = 16 << 20
MISSING_PROGRAM = 127
PROBE = "probe"
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Output:
    """What a command answered; code 127: there is no such program here."""

    code: int
    stdout: str
    stderr: str = ""

    @property
    def is_missing(self) -> bool:
        return self.code == MISSING_PROGRAM

    def describe_failure(self) -> str:
        lines = (self.stderr or self.stdout).strip().splitlines()
        return lines[-1][:200] if lines else f"exit status {self.code}"


class Source(Protocol):
    """Where files, listings and answers of commands come from."""

    def read_bytes(self, path: str) -> bytes | None: ...

    def list_names(self, path: str) -> list[str]: ...

    def run(self, words: Sequence[str], seconds: float) -> Output: ...


class LiveSource:
    """This machine, or what is mounted below another root."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def locate(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def read_bytes(self, path: str) -> bytes | None:
        """The file's first bytes; None where it is not there, is no file, or may not be read."""
        try:
            descriptor = os.open(self.locate(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                return read_bounded(file)
        except OSError:  # a folder; an attribute of sysfs that its driver does not answer
            return None

    def list_names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(self.locate(path)))
        except OSError:
            return []

    def run(self, words: Sequence[str], seconds: float) -> Output:
        return run_command(words, seconds)


def read_bounded(file: FileIO) -> bytes:
    """Up to MAX_FILE_BYTES, in small reads: /proc/sys refuses a large one for lack of memory."""
    parts, size = [], 0
    while size < MAX_FILE_BYTES and (part := file.read(64 << 10)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def run_command(words: Sequence[str], seconds: float) -> Output:
    """Run a program in a session of its own and end all of it after `seconds`. Raises Unmeasured when that happens.

    A word `probe` in front stands for a measurement of ours, in a child process (deepseek.doctor.probes).
    """
    command = [sys.executable, "-m", "deepseek.doctor.probes", *words[1:]] if words[0] == PROBE else list(words)
    paths = os.pathsep.join(filter(None, (os.environ.get("PATH", ""), TOOL_PATH)))
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": paths}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError):
        return Output(MISSING_PROGRAM, "", "no such program")
    except OSError as error:
        return Output(126, "", str(error.strerror))
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise Unmeasured(f"{' '.join(words)} did not answer within {seconds:g} s.") from None
    text = [part[:MAX_OUTPUT_BYTES].decode(errors="replace") for part in (stdout, stderr)]
    return Output(process.returncode, *text)


@dataclass
class Host:
    """A source with what the site knows of this node beside it. Each command runs once, whoever asks for it."""

    source: Source
    environment: Mapping[str, str] = field(default_factory=dict)
    registered: Mapping[str, Any] = field(default_factory=dict)  # the node as the plane lists it; empty: not asked
    conflict_rules: Sequence[Mapping[str, Any]] = ()
    plane_url: str = ""  # empty: no plane is named
    _answers: dict[tuple[str, ...], Future[Output]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    # -- files ------------------------------------------------------------------------------------------------------
    def read(self, path: str) -> str | None:
        """The text of a file without white space around it; None where there is none that may be read."""
        content = self.source.read_bytes(path)
        return None if content is None else content.decode(errors="replace").strip()

    def read_required(self, path: str) -> str:
        text = self.read(path)
        if text is None:
            raise Unmeasured(f"{path} cannot be read.")
        return text

    def read_number(self, path: str) -> int | None:
        text = self.read(path)
        try:
            return None if text is None else int(text, 0)
        except ValueError:
            return None

    def read_fields(self, path: str) -> dict[str, str]:
        """`name: value` or `name value` lines, as in /proc/meminfo and /proc/vmstat."""
        lines = (self.read(path) or "").splitlines()
        pairs = (line.partition(":") if ":" in line else line.partition(" ") for line in lines)
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}

    def list_names(self, path: str) -> list[str]:
        return self.source.list_names(path)

    def has(self, path: str) -> bool:
        folder, _, name = path.rstrip("/").rpartition("/")
        return name in self.list_names(folder or "/")

    # -- commands ---------------------------------------------------------------------------------------------------
    def run(self, *words: str, seconds: float = COMMAND_SECONDS) -> Output:
        """What the command answers. Raises Unmeasured when it does not in time."""
        return self._once(words, lambda: self.source.run(words, seconds))

    def run_tool(self, *words: str, seconds: float = COMMAND_SECONDS) -> Output:
        """Likewise; NotApplicable where the program is not installed."""
        output = self.run(*words, seconds=seconds)
        if output.is_missing:
            raise NotApplicable(f"{words[0]} is not installed.")
        return output

    def probe(self, name: str, *words: str, seconds: float = COMMAND_SECONDS) -> dict[str, Any]:
        """A measurement of ours, in a child process. Raises Unmeasured where it ends without an answer."""
        output = self.run(PROBE, name, *words, seconds=seconds)
        try:
            answer = json.loads(output.stdout)
        except ValueError:
            raise Unmeasured(f"The probe {name} ended with {output.describe_failure()}.") from None
        if not isinstance(answer, dict):
            raise Unmeasured(f"The probe {name} gave no object.")
        if "not_applicable" in answer:
            raise NotApplicable(str(answer["not_applicable"]))
        if "unmeasured" in answer:
            raise Unmeasured(str(answer["unmeasured"]))
        return answer

    def require_plane(self) -> None:
        if not self.plane_url:
            raise NotApplicable("No plane is named: give --plane URL or set DEEPSEEK_URL.")

    def ask_plane(self, path: str) -> dict[str, Any]:
        """What the plane answers to GET: status (0: none), milliseconds, offset_seconds, document, error."""
        self.require_plane()
        return self.probe("plane", path, seconds=12)

    def _once(self, words: tuple[str, ...], run: Callable[[], Output]) -> Output:
        with self._lock:
            future = self._answers.get(words)
            is_first = future is None
            if future is None:
                future = self._answers[words] = Future()
        if is_first:
            try:
                future.set_result(run())
            except BaseException as error:  # noqa: BLE001  whoever waits for the same answer gets it too
                future.set_exception(error)
        return future.result()
