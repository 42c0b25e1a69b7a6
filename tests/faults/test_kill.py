"""kill -9 of each process in the middle of a job: it ends exactly once, with right outputs, and nothing is orphaned.

One plane for the whole module, in which the launcher starts again what was killed; the last test looks at all jobs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.running import GROUP, PATIENCE, SECRET, Running, manage
from tests.faults.spec import SPEC

ATTEMPTS = {"engine": 2, "shim": 2, "worker": 2, "launcher": 1, "dispatcher": 1, "web": 1}
"""The least number of attempts that a job needs when this process is killed. With its launcher a worker is stopped
gracefully, and gives its job back."""
VICTIMS = list(ATTEMPTS)
PARTS = "web,worker,dispatcher,beat"
SETTINGS = {"WEB_WORKERS": "2"}  # they all die with their master
CLAIMING = {"worker", "dispatcher"}
"""Their death is noticed, and their jobs are claimed again, by what database and broker hold."""


@pytest.fixture(scope="module")
def jobs() -> list[int]:
    """The jobs of this module that have succeeded."""
    return []


@pytest.mark.once_on_sqlite
def test_no_process_of_the_plane_can_be_inspected(shared):
    """Its environment, memory and open files, by processes of the same user; root sees by whose they are."""
    processes = [shared.launcher.pid, *shared.facts()["processes"].values()]
    processes += [child.pid for child in shared.part("web").children()]
    assert len(processes) >= 7
    open_to_others, secret = [], []
    for pid in processes:
        name = f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()}"
        if inspectable(pid):
            open_to_others.append(name)
        if pid != shared.launcher.pid and os.geteuid() == 0 and SECRET.encode() in environ(pid).read_bytes():
            secret.append(name)
    assert (open_to_others, secret) == ([], [])


def environ(pid: int) -> Path:
    return Path(f"/proc/{pid}/environ")


def inspectable(pid: int) -> bool:
    if os.geteuid() == 0:
        return environ(pid).stat().st_gid == GROUP
    return os.access(environ(pid), os.R_OK)


@pytest.mark.parametrize(
    "victim",
    [pytest.param(name, marks=[] if name in CLAIMING else pytest.mark.once_on_sqlite) for name in VICTIMS],
)
def test_job_survives_kill(shared, jobs, victim, expected_outputs):
    job = shared.submit(kind="noop", spec=SPEC)
    child = shared.submit(kind="noop", spec={"echo": "after"}, inputs={"from": {"job": job, "slot": "echo"}})
    shared.in_the_middle(job, done=5)
    shared.kill(victim, job)
    if victim == "launcher":
        shared.start()
    ended = shared.plane.wait(job, seconds=PATIENCE)
    after = shared.plane.wait(child, seconds=PATIENCE)

    assert (ended["state"], after["state"]) == ("succeeded", "succeeded")
    assert attempts_of(ended) >= ATTEMPTS[victim]
    assert {o["slot"]: o["digest"] for o in ended["outputs"]} == expected_outputs
    assert after["result"]["inputs"]["from"] == expected_outputs["echo"]
    assert [shared.marked(number) for number in (job, child)] == [[], []]
    jobs += [job, child]


@pytest.mark.once_on_sqlite
def test_jobs_run_on_after_the_brokers_folder_is_removed(shared, jobs):
    for folder in ("broker/queue", "broker/control", "broker"):
        shutil.rmtree(shared.home / folder, ignore_errors=True)
        job = shared.submit(kind="noop", spec={"echo": folder})
        assert shared.plane.wait(job, seconds=PATIENCE)["state"] == "succeeded"
        jobs.append(job)


@pytest.mark.once_on_postgresql  # SQLite has one writer: it cannot register twice at once
def test_clean_job_whose_worker_is_killed_registers_one_version(shared, jobs):
    table = "day,price\n" + "\n".join(f"{n},{'' if n % 7 == 0 else n * 0.5}" for n in range(1_500_000)) + "\n"
    version = shared.plane.call("POST", "/datasets/raw/versions", table.encode(), headers={"Content-Type": "text/csv"})
    body = {"kind": "clean", "spec": {"window_size": 51}, "register": {"dataset": "clean"}}
    job = shared.plane.post(f"/datasets/raw/versions/{version['number']}/jobs", body)["id"]
    assert shared.in_the_middle(job, done=1)["state"] == "running"
    shared.kill("worker", job)
    ended = shared.plane.wait(job, seconds=PATIENCE)
    assert ended["state"] == "succeeded"
    assert attempts_of(ended) >= 2
    assert len(shared.plane.get("/datasets/clean/versions")["items"]) == 1
    jobs.append(job)


@pytest.mark.once_on_sqlite
def test_job_over_partitions_survives_the_kill_of_a_process_and_of_its_worker(shared, jobs):
    """Both in one job, one after the other: each row stands in the result once, in its place."""
    days = range(400_000)
    table = "day,price\n" + "\n".join(f"{n},{'' if n % 7 == 3 else n}" for n in days) + "\n"
    version = shared.plane.call("POST", "/datasets/days/versions", table.encode(), headers={"Content-Type": "text/csv"})
    spec = {"steps": [{"kind": "fill_forward", "columns": ["price"]}], "processes": 2, "partitions": 8}
    body = {"kind": "clean", "spec": spec, "register": {"dataset": "days-clean"}}
    job = shared.plane.post(f"/datasets/days/versions/{version['number']}/jobs", body)["id"]
    running = shared.until(job, lambda state: (state["progress"] or {}).get("partitions", {}).get("running"))
    assert running["progress"]["partitions"]["total"] == 8
    workers = [process for process in shared.marked(job) if "spawn_main" in " ".join(process.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    shared.until(job, lambda _: any("a process was lost" in line for line in shared.log(job)))
    shared.kill("worker", job)
    ended = shared.plane.wait(job, seconds=PATIENCE)

    assert ended["state"] == "succeeded", ended["error"]
    assert attempts_of(ended) >= 2
    parts = sorted((row["slot"], row["digest"]) for row in ended["outputs"] if row["slot"].startswith("table/"))
    assert len(parts) == 8
    tables = [pq.read_table(pa.BufferReader(shared.plane.fetch(f"/artifacts/{digest}"))) for _, digest in parts]
    result = pa.concat_tables(tables)
    assert result.column("day").to_pylist() == list(days)
    assert result.column("price").to_pylist() == [n - 1 if n % 7 == 3 else n for n in days]
    assert shared.marked(job) == []
    assert len(shared.plane.get("/datasets/days-clean/versions")["items"]) == 1
    jobs.append(job)


def test_every_job_ended_once_and_left_nothing(shared, jobs):
    if not jobs:  # alone
        jobs.append(shared.submit(kind="noop", spec={}))
        shared.plane.wait(jobs[0], seconds=PATIENCE)
    assert_ended_once(shared, *jobs)


def attempts_of(job: dict) -> int:
    """2 of "2 of 3": one more may be lost on a machine so busy that a lease runs out."""
    return int(job["attempt"].split()[0])


def assert_ended_once(plane: Running, *jobs: int) -> None:
    """One record of the end of each in the audit trail, a valid hash chain, and no scratch left; stops the plane."""
    plane.stop()
    assert list((plane.home / "scratch").glob("*/*")) == []
    check = manage(plane.home, plane.environment, "verify_audit", "--json")
    assert check.returncode == 0, check.stdout + check.stderr
    records = plane.ask(
        "import json; from apps.platform.audit.models import AuditRecord;"
        f"found = AuditRecord.objects.filter(object_type='job', object_id__in={[str(job) for job in jobs]});"
        "print(json.dumps(list(found.values_list('object_id', 'action'))))"
    )
    for job in map(str, jobs):
        actions = [action for number, action in records if number == job]
        assert (actions.count("job.submit"), actions.count("job.succeeded")) == (1, 1), (job, actions)
