"""Ask a bounded child for a page of rows: it requests ranges of the files, and this process verifies and sends them.

So the child needs no store, no key and no path, and the web process imports no pyarrow. Messages:
deepseek/tables/rows/range_file.py. Rationale: docs/adr/0008.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.errors import Unavailable
from apps.data.datasets import bounded_process
from apps.data.datasets.bounded_process import ProcessAnswer, ProcessFault, ProcessLimits
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.verification import VerifiedRanges, open_ranges, release_connection
from deepseek.messages import N_
from deepseek.tables.rows.range_file import ANSWER, RANGE, REQUEST, SIZE

MODULE = "deepseek.tables.rows.command"
SCAN_SECONDS = 8.0  # after which a page tells how far it came
LIMITS = ProcessLimits(seconds=15, memory=3 * 2**30, written=0)
MAX_CHILDREN = 2  # of this process
MAX_WAITING = 6  # requests for a child: the other threads of this process stay free for other pages
SLOT_WAIT_SECONDS = 4.0
MAX_FILES_IN_MEMORY = 8  # of one child; 16 MiB each at most (verification.RECENT_CHUNKS)
FILES_AHEAD = 64
MAX_RANGE_BYTES = 64 << 20
MAX_ANSWER_BYTES = 16 << 20  # 200 rows of 40 cells of 200 characters are 6.4 MB, or 9.6 MB of escaped ones

slots = threading.BoundedSemaphore(MAX_CHILDREN)
turns = threading.BoundedSemaphore(MAX_CHILDREN + MAX_WAITING)


def ask_for_rows(artifacts: Sequence[Artifact], query: Mapping[str, Any]) -> ProcessAnswer:
    """The child's answer; or errors of the query or the table, or why there is neither.

    Raises Unavailable (`rows_busy`) while other pages are read, and DamagedBytes or Unavailable as VerifiedRanges.
    """
    busy = Unavailable(
        "Others are reading rows of tables right now.",
        code="rows_busy",
        limit=MAX_CHILDREN,
        hint=N_("Try again in a moment."),
    )
    with bounded_process.take_slot(turns, 0, busy), bounded_process.take_slot(slots, SLOT_WAIT_SECONDS, busy):
        files = OpenFiles(artifacts)
        child = bounded_process.start_child(MODULE, [], LIMITS)
        try:
            return Conversation(child, files).run(query)
        finally:
            bounded_process.kill_child(child)


class OpenFiles:
    """The files of a table by number. Bytes of the last MAX_FILES_IN_MEMORY of them stay in memory, however many parts
    the table has; what verifies them is looked up for FILES_AHEAD files at once."""

    def __init__(self, artifacts: Sequence[Artifact]) -> None:
        self.artifacts = artifacts
        self.opened: dict[int, VerifiedRanges] = {}
        self.recent: list[int] = []
        self.open(0)

    def open(self, number: int) -> VerifiedRanges:
        if number not in self.opened:
            self.opened = dict(enumerate(open_ranges(self.artifacts[number : number + FILES_AHEAD]), start=number))
            self.recent = []
            release_connection()
        return self.opened[number]

    def read(self, number: int, start: int, end: int) -> bytes:
        data = self.open(number).read(start, end)
        if number in self.recent:
            self.recent.remove(number)
        self.recent.append(number)
        if len(self.recent) > MAX_FILES_IN_MEMORY:
            self.opened[self.recent.pop(0)].chunks.clear()
        return data


class ChildEnded(Exception):
    """The child closed its output, or was silent until its time was over."""


class Conversation:
    """The messages between this process and one child."""

    def __init__(self, child: subprocess.Popen[bytes], files: OpenFiles) -> None:
        if child.stdin is None or child.stdout is None:
            raise ValueError("the child has no pipes")
        self.child, self.files = child, files
        self.input, self.output = child.stdin.fileno(), child.stdout.fileno()
        self.end = time.monotonic() + LIMITS.seconds + 1

    def run(self, query: Mapping[str, Any]) -> ProcessAnswer:
        try:
            self.send(json.dumps(query).encode())
            while (head := self.receive(1)) == REQUEST:
                _, number, start, length = RANGE.unpack(head + self.receive(RANGE.size - 1))
                if number >= len(self.files.artifacts) or length > MAX_RANGE_BYTES:
                    raise ChildEnded
                self.send(self.files.read(number, start, start + length))
            if head != ANSWER:
                raise ChildEnded
            (size,) = SIZE.unpack(self.receive(SIZE.size))
            if size > MAX_ANSWER_BYTES:
                raise ChildEnded
            document = json.loads(self.receive(size))
        except (ChildEnded, BrokenPipeError, ValueError):
            return self.find_fault()
        if document.get("errors"):
            return ProcessAnswer(errors=document["errors"], size=size)
        return ProcessAnswer(document, size=size)

    def send(self, data: bytes) -> None:
        view = memoryview(SIZE.pack(len(data)) + data)
        while view:
            self.wait(self.input, select.POLLOUT)
            view = view[os.write(self.input, view) :]

    def receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self.wait(self.output, select.POLLIN)
            part = os.read(self.output, size - len(data))
            if not part:
                raise ChildEnded
            data += part
        return bytes(data)

    def wait(self, pipe: int, event: int) -> None:
        """Until the pipe is ready; the child's alarm ends it before this process would wait in vain."""
        poll = select.poll()
        poll.register(pipe, event)
        if not poll.poll(max(0.0, self.end - time.monotonic()) * 1000):
            raise ChildEnded

    def find_fault(self) -> ProcessAnswer:
        """Why the child ended without an answer."""
        try:
            code = self.child.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return ProcessAnswer(fault=ProcessFault.TIME)
        stderr = self.child.stderr.read() if self.child.stderr else b""
        return bounded_process.parse_answer(code or 1, b"", stderr)
