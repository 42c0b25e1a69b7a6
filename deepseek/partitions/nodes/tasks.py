"""What a worker of the cluster runs: tasks that arrive packed, with their files fetched, and results handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.memory import set_memory_limit
from deepseek.partitions.carriers import Outcome, attempt
from deepseek.partitions.nodes.file_exchange import FileClient
from deepseek.partitions.nodes.membership import Credentials
from deepseek.partitions.nodes.travel import SCRATCH, Name, Roots, pack, unpack


@dataclass
class WorkerFiles:
    """The files of this worker process. On the first node they are the coordinator's own: none travels."""

    roots: Roots
    credentials: Credentials
    is_first_node: bool
    memory_bytes: int  # that this process may take
    present: set[str] = field(default_factory=set)  # names of files that both sides have

    def prepare(self, client: FileClient, name: Name) -> None:
        """Fetch a file that a task names."""
        root, relative = name
        if root == SCRATCH and relative and not self.is_first_node:
            client.fetch(relative)
            self.present.add(relative)

    def hand_in(self, client: FileClient, name: Name) -> None:
        """Send a file that a result names, once."""
        root, relative = name
        if root == SCRATCH and relative and not self.is_first_node and relative not in self.present:
            if self.roots.locate(name).is_file():
                client.hand_in(relative)
            self.present.add(relative)


_files: WorkerFiles | None = None


def set_files(files: WorkerFiles) -> None:
    """Say once, when the process starts, where its files are."""
    global _files
    _files = files


def run_packed(data: bytes, server: tuple[str, int]) -> bytes:
    """Run one task; the answer is its packed Outcome. `server`: where the first node gives and takes files."""
    files = _files
    if files is None:
        raise RuntimeError("this process is no worker of the job")
    set_memory_limit(files.memory_bytes)  # of this thread, which Dask has started
    client = FileClient(files.roots.locate((SCRATCH, "")), (server[0], server[1]), files.credentials)
    function, item = unpack(data, files.roots, lambda name: files.prepare(client, name))
    return pack(attempt(function, item), files.roots, lambda name: files.hand_in(client, name))


def pack_task(function: Callable[[Any], Any], item: Any, roots: Roots) -> bytes:
    return pack((function, item), roots)


def unpack_outcome(data: bytes, roots: Roots) -> Outcome:
    outcome = unpack(data, roots)
    if not isinstance(outcome, Outcome):
        raise TypeError(f"a worker answered with {type(outcome).__name__}")
    return outcome


def build_files(
    scratch: Path, inputs: dict[str, str], credentials: str, *, is_first_node: bool, memory_bytes: int
) -> WorkerFiles:
    """What `set_files` takes, from the request that started this process."""
    roots = Roots(scratch, {slot: Path(path) for slot, path in inputs.items()})
    return WorkerFiles(roots, Credentials(Path(credentials)), is_first_node, memory_bytes)
