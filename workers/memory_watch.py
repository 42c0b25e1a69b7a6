"""Watch the memory of a process tree from outside it. Standard library only: the shim imports this.

What counts is memory that only ends with its process: anonymous pages, shared memory and what of them lies in swap,
and the files in a /dev/shm that is the job's own. Pages of other files (libraries, a mapped input) do not: the kernel
drops them when it needs room, and other jobs share them: 80 MB after importing torch, and a mapped input whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ALLOCATION_RATE = 4e9  # bytes a second that a core may take: no look is due before they could reach the limit
WATCH_SECONDS = 0.05  # between two looks near the limit: such a process is 200 MB above it when it is ended
LATEST_WATCH_SECONDS = 0.25  # between two looks far below it
TREE_SECONDS, LATEST_TREE_SECONDS = 0.25, 0.75  # between two looks for new processes
TREE_SHARE = 20  # a look for them goes through all of the machine's: it takes a twentieth of a core at most, if it can
EXACT_SECONDS = 0.5  # the longest pause after an exact look, which walks the page tables of the whole tree
PRIVATE = (b"RssAnon", b"VmSwap", b"Pss_Anon", b"SwapPss")  # the first two of /proc/PID/status, the others of
SHARED = (b"RssShmem", b"Pss_Shmem")  # /proc/PID/smaps_rollup, where shared pages count by their share
SHM = "dev/shm"
MAX_SHM_FOLDERS = 64  # that are held open: an engine that makes namespaces must not use up our descriptors
GROUP_FIELDS = ("anon", "shmem")


class TreeMemory:
    """What the processes below the shim take, against `limit` bytes (0: no limit).

    `list_processes` gives the process ids of the tree. `group` is the cgroup of the attempt, where it has one: it
    counts what is mapped by nobody too, a file on a tmpfs for instance. Processes are counted besides, as one of the
    same user may leave its cgroup.
    """

    def __init__(
        self,
        limit: int,
        *,
        list_processes: Callable[[], list[int]],
        group: Path | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self.limit, self.group, self.peak, self.used = limit, group, 0, 0
        self._list_processes, self._proc = list_processes, proc
        self._pids: list[int] = []
        self._files = 0
        self._shm: dict[int, int] = {}  # device -> descriptor: files there outlive the process that wrote them
        self._list_at = self._exact_at = float("-inf")

    def is_exceeded(self) -> bool:
        """Look once; whether the tree takes more than its limit."""
        self.used = self.measure()
        self.peak = max(self.peak, self.used)
        return 0 < self.limit < self.used

    def compute_pause(self) -> float:
        """Seconds until the next look is due, by what the tree could take meanwhile."""
        if not self.limit:
            return LATEST_WATCH_SECONDS
        rate = ALLOCATION_RATE * max(1, min(len(self._pids), os.cpu_count() or 1))
        return min(LATEST_WATCH_SECONDS, max(WATCH_SECONDS, (self.limit - self.used) / rate))

    def is_ended_by_kernel(self) -> bool:
        """Whether the cgroup of the attempt ran into its own limit, so that the kernel killed its processes.

        `oom` counts only there; a kill for the want of memory elsewhere counts as `oom_kill` alone.
        """
        if self.group is None:
            return False
        events = read_numbers(self.group / "memory.events")
        ended = events.get("oom", 0) > 0 and events.get("oom_kill", 0) > 0
        if ended:
            self.peak = max(self.peak, self.limit)
        return ended

    def is_exceeded_by_files(self) -> bool:
        """Whether the files that an ended engine left in its /dev/shm take all of its limit.

        The sandbox's is no larger, so that an engine may end there, by SIGBUS or ENOSPC, before a look sees it.
        """
        left = self._measure_files()
        self.peak = max(self.peak, left)
        return 0 < self.limit <= left

    def measure(self) -> int:
        """Bytes that the tree takes now."""
        numbers = read_numbers(self.group / "memory.stat") if self.group is not None else {}
        return max(sum(numbers.get(name, 0) for name in GROUP_FIELDS), self._measure_processes())

    def _measure_processes(self) -> int:
        now = time.monotonic()
        if now >= self._list_at:
            self._pids = self._list_processes()
            took = time.monotonic() - now
            self._list_at = now + min(LATEST_TREE_SECONDS, max(TREE_SECONDS, TREE_SHARE * took))
        self._open_shm_folders()
        self._files = self._measure_files()
        private, shared = self._add_up("status", PRIVATE, SHARED)
        used = private + max(shared, self._files)
        if not 0 < self.limit < used or len(self._pids) < 2:
            return used
        return self._measure_shares(used, now)

    def _measure_shares(self, used: int, now: float) -> int:
        """The same with each shared page counted once: forked children have the pages of their parent.

        While an exact look is not due, the tree counts as within its limit.
        """
        if now < self._exact_at:
            return min(used, self.limit)
        self._pids = self._list_processes()
        private, shared = self._add_up("smaps_rollup", PRIVATE, SHARED)
        self._exact_at = now + min(EXACT_SECONDS, 10 * (time.monotonic() - now))
        return private + max(shared, self._files)

    def _open_shm_folders(self) -> None:
        """Hold each /dev/shm of the tree that is another than ours. A connector beside the engine has its own."""
        ours = os.stat(f"/{SHM}").st_dev if os.path.isdir(f"/{SHM}") else None
        for pid in self._pids:
            folder = self._proc / str(pid) / "root" / SHM
            with suppress(OSError):
                device = os.stat(folder).st_dev
                if device != ours and device not in self._shm and len(self._shm) < MAX_SHM_FOLDERS:
                    self._shm[device] = os.open(folder, os.O_PATH | os.O_CLOEXEC)

    def _measure_files(self) -> int:
        """Bytes in these folders: nobody has to have their files mapped."""
        used = 0
        for descriptor in self._shm.values():
            usage = os.statvfs(descriptor)
            used += (usage.f_blocks - usage.f_bfree) * usage.f_frsize
        return used

    def _add_up(self, name: str, *groups: tuple[bytes, ...]) -> list[int]:
        """The sums of these groups of fields over all processes, in bytes.

        One that has ended counts nothing; one that we may not trace, for it can forbid that, counts as its status says.
        """
        sums = [0] * len(groups)
        for pid in self._pids:
            try:
                data = (self._proc / str(pid) / name).read_bytes()
            except PermissionError:
                data = self._read_status(pid)
            except OSError:
                continue
            for line in data.splitlines():
                field, _, value = line.partition(b":")
                for place, group in enumerate(groups):
                    if field in group:
                        sums[place] += int(value.split()[0]) * 1024
        return sums

    def _read_status(self, pid: int) -> bytes:
        try:
            return (self._proc / str(pid) / "status").read_bytes()
        except OSError:
            return b""


def read_numbers(path: Path) -> dict[str, int]:
    """The lines "name number" of a file of a cgroup; empty where it cannot be read."""
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def join_group(group: Path) -> None:
    """Move this process into the cgroup; all that it starts from here on is in it too."""
    (group / "cgroup.procs").write_text("0")


def kill_group(group: Path | None) -> None:
    """KILL every process of the cgroup at once, where the kernel can (Linux 5.14)."""
    if group is not None:
        with suppress(OSError):
            fd = os.open(group / "cgroup.kill", os.O_WRONLY)
            try:
                os.write(fd, b"1")
            finally:
                os.close(fd)
