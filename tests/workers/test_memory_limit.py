"""A job takes no more memory than it asked for: its whole process tree is ended, and nothing else is."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from apps.platform.jobs.errors import memory_limit
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobEvent
from apps.platform.jobs.states import JobState
from deepseek.clean.plan import estimate_memory_bytes
from tests.deepseek.tables.test_parquet_size import write_bomb
from tests.workers.conftest import all_events
from tests.workers.test_run_next import in_background, until_running
from tests.workers.test_shim import processes_of
from workers import memory_watch, tasks
from workers.memory_watch import TreeMemory
from workers.shim import MEMORY_LIMIT

MIB = 2**20
LIMIT = 64 * MIB


def test_allocator_is_ended_and_its_peak_reported(engine):
    process = engine({"fail": "memory", "memory_mib": 4096}, memory_bytes=LIMIT)
    usage = all_events(process)[-1]
    assert process.close(60) == MEMORY_LIMIT
    assert LIMIT < usage["peak_memory_bytes"] < 10 * LIMIT


def test_children_count_together_and_are_all_ended(engine):
    process = engine({}, entry="tests.workers.hoarder:run_children", memory_bytes=LIMIT)
    usage = all_events(process)[-1]
    assert process.close(60) == MEMORY_LIMIT
    assert (usage["peak_memory_bytes"] > LIMIT, processes_of(process)) == (True, [])


def test_mapped_file_does_not_count(engine):
    process = engine({}, entry="tests.workers.hoarder:map_file", memory_bytes=LIMIT)
    usage = all_events(process)[-1]
    assert (process.close(60), usage["peak_memory_bytes"] < LIMIT) == (0, True)


@pytest.mark.django_db(transaction=True)
def test_job_fails_with_memory_limit_and_the_one_beside_it_goes_on(worker, submit, engine_processes):
    beside = submit(spec={"seconds": 60, "steps": 6000})
    thread = in_background(lambda: tasks.run_next("cpu"))
    until_running(beside)
    greedy = submit(spec={"fail": "memory", "memory_mib": 4096})
    tasks.run_next("cpu")
    greedy.refresh_from_db()
    beside.refresh_from_db()
    assert (greedy.state, greedy.error["code"], greedy.attempts_used) == (JobState.FAILED, "memory_limit", 1)
    assert (greedy.error["field"], greedy.error["limit"]) == ("needs.memory_bytes", LIMIT)
    used = JobEvent.objects.get(job=greedy, kind="usage").payload["peak_memory_bytes"]
    assert f"{used:,}" in greedy.error["message"]
    assert beside.state == JobState.RUNNING
    worker.stopping.set()
    for attempt in list(worker.heartbeat.attempts.values()):
        attempt.stop("released")
    thread.join(timeout=120)
    assert Job.objects.get(pk=beside.pk).attempts_used == 0


def test_remedy_is_more_than_what_was_allowed_and_seen():
    wrong = {}
    for needed, allowed in [(0, 100 * MIB), (150 * MIB, 100 * MIB), (900 * MIB, 100 * MIB)]:
        enough = int(memory_limit(needed, allowed)["hint"].split("at least ")[1].split(",")[0])
        if enough < 2 * allowed or enough < needed * 1.25 or enough % MIB:
            wrong[needed, allowed] = enough
    assert wrong == {}


def test_profile_of_a_table_far_larger_than_its_file_stays_within_its_limit(engine, tmp_path):
    """283 bytes of Parquet that decode to 400 MB; with 3,000 rows they took 4.2 GB."""
    path = write_bomb(tmp_path / "bomb.parquet", rows=400)
    process = engine(
        {},
        entry="deepseek.profile.run:run",
        spec_class="deepseek.profile.spec:ProfileSpec",
        inputs={"table": str(path)},
        memory_bytes=352 * MIB,
    )
    *_, result, usage = all_events(process)
    assert (process.close(60), result["event"], result["summary"]["rows"]) == (0, "result", 400)
    assert usage["peak_memory_bytes"] < 352 * MIB


def test_default_needs_hold_what_the_engine_plans_for_a_long_table():
    """1.04 GB measured for a profile of 3 million rows of 20 columns, 1.26 GB for a cleaning of 100 columns."""
    planned = max(estimate_memory_bytes(10**9, 20), estimate_memory_bytes(300_000, 100))
    assert {kind: KINDS[kind].needs.memory_bytes >= planned for kind in ("clean", "profile")} == {
        "clean": True,
        "profile": True,
    }


# -- what counts ----------------------------------------------------------------------------------------------------
class Proc:
    """A /proc of processes with these sizes in MiB: anonymous, shared, in swap, of files; and their shares of it."""

    def __init__(self, folder) -> None:
        self.folder, self.pids = folder, []

    def add(self, *, anonymous=0, shared=0, swap=0, file=0, share=None) -> None:
        pid = len(list(self.folder.iterdir())) + 1
        self.pids.append(pid)
        (self.folder / str(pid)).mkdir()
        sizes = {"RssAnon": anonymous, "RssFile": file, "RssShmem": shared, "VmSwap": swap}
        lines = "".join(f"{name}:\t{size * 1024} kB\n" for name, size in sizes.items())
        (self.folder / str(pid) / "status").write_text(f"Name:\tengine\n{lines}")
        if share is not None:
            (self.folder / str(pid) / "smaps_rollup").write_text(
                f"0-1 ---p 0 00:00 0 [rollup]\nPss:  1 kB\nPss_Anon: {share * 1024} kB\nSwapPss: 0 kB\n"
            )

    def measure(self, limit: int, group=None) -> int:
        tree = TreeMemory(limit * MIB, list_processes=lambda: self.pids, group=group, proc=self.folder)
        return tree.measure() // MIB


@pytest.fixture
def proc(tmp_path) -> Proc:
    folder = tmp_path / "proc"
    folder.mkdir()
    return Proc(folder)


def test_anonymous_shared_and_swapped_pages_count(proc):
    proc.add(anonymous=10, shared=5, swap=3, file=1000)
    proc.pids.append(99)  # has ended since the look for processes
    assert proc.measure(limit=100) == 18


def test_pages_of_forked_children_count_once(proc):
    for _ in range(4):
        proc.add(anonymous=40, share=10)
    assert (proc.measure(limit=100), proc.measure(limit=200)) == (40, 160)


def test_process_that_may_not_be_traced_counts_whole(proc, monkeypatch):
    for _ in range(4):
        proc.add(anonymous=40, share=10)
    keep = memory_watch.Path.read_bytes

    def forbid(path):
        if path.parts[-2:] == ("2", "smaps_rollup"):
            raise PermissionError
        return keep(path)

    monkeypatch.setattr(memory_watch.Path, "read_bytes", forbid)
    assert proc.measure(limit=100) == 70


def test_files_in_a_private_shm_count_once(proc, monkeypatch):
    """Whether a process has them mapped or not; those in our own /dev/shm are not the job's."""
    used = SimpleNamespace(f_blocks=60, f_bfree=20, f_frsize=MIB)
    monkeypatch.setattr(memory_watch.os, "statvfs", lambda folder: used)
    wrong = {}
    for number, (shared, expected) in enumerate([(0, 50), (30, 50), (45, 55)]):
        proc.add(anonymous=10, shared=shared)
        (proc.folder / str(number + 1) / "root/dev/shm").mkdir(parents=True)
        proc.pids[:] = [number + 1]
        if proc.measure(limit=100) != expected:
            wrong[shared] = proc.measure(limit=100)
    assert wrong == {}
    (proc.folder / "3/root/dev/shm").rmdir()
    (proc.folder / "3/root/dev/shm").symlink_to("/dev/shm")
    assert proc.measure(limit=100) == 55
    proc.add(anonymous=10)
    proc.pids[:] = [4]
    assert proc.measure(limit=100) == 10


def test_looks_for_processes_are_rarer_where_they_are_slow(proc, monkeypatch):
    """On a machine with thousands of processes; a new one is seen within a second all the same."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(memory_watch.time, "monotonic", lambda: clock.now)
    counts = {}
    for cost in (0.0, 0.02, 0.5):
        looks = []

        def look(cost=cost, looks=looks) -> list[int]:
            clock.now += cost
            looks.append(clock.now)
            return []

        tree = TreeMemory(MIB, list_processes=look, proc=proc.folder)
        began = clock.now
        while clock.now < began + 6:
            tree.measure()
            clock.now += 0.05
        counts[cost] = len(looks)
    assert (20 <= counts[0.0] <= 25, 12 <= counts[0.02] <= 16, 6 <= counts[0.5] <= 9) == (True, True, True), counts


def test_cgroup_counts_what_no_process_has_mapped(proc, tmp_path):
    proc.add(anonymous=10)
    (tmp_path / "memory.stat").write_text(f"anon {20 * MIB}\nfile {500 * MIB}\nshmem {30 * MIB}\n")
    assert proc.measure(limit=100, group=tmp_path) == 50


def test_only_the_limit_of_the_own_cgroup_is_the_jobs(tmp_path):
    wrong = {}
    for events, expected in [
        ("oom 1\noom_kill 3\n", True),
        ("oom 0\noom_kill 1\n", False),
        ("oom 2\noom_kill 0\n", False),
    ]:
        (tmp_path / "memory.events").write_text(f"low 0\n{events}")
        tree = TreeMemory(LIMIT, list_processes=list, group=tmp_path)
        if tree.is_ended_by_kernel() != expected or (expected and tree.peak != LIMIT):
            wrong[events] = tree.peak
    assert wrong == {}


def test_look_is_cheap(proc, monkeypatch):
    """Twenty looks a second read one small file of each process, while the tree is within its limit: the exact look
    makes the kernel walk its page tables."""
    for _ in range(3):
        proc.add(anonymous=10, share=5)
    tree = TreeMemory(100 * MIB, list_processes=lambda: proc.pids, proc=proc.folder)
    reads, read_bytes = Counter(), memory_watch.Path.read_bytes

    def count(path) -> bytes:
        reads[path.name] += 1
        return read_bytes(path)

    monkeypatch.setattr(memory_watch.Path, "read_bytes", count)
    for _ in range(20):
        tree.measure()
    assert reads == {"status": 60}
    assert memory_watch.WATCH_SECONDS <= 0.1


def test_looks_come_sooner_near_the_limit(proc):
    """No allocator can take what is left of the limit before the next look."""
    proc.add(anonymous=1000)
    pauses = {}
    for limit in (0, 9000, 1400, 1010, 900):
        tree = TreeMemory(limit * MIB, list_processes=lambda: proc.pids, proc=proc.folder)
        tree.is_exceeded()
        pauses[limit] = round(tree.compute_pause(), 2)
    assert pauses == {0: 0.25, 9000: 0.25, 1400: 0.1, 1010: 0.05, 900: 0.05}
