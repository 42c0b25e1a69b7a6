"""Disks that fill, folders that go, processes that die: M5, M6, and the loss of a worker."""

from __future__ import annotations

import os
import shutil
import signal
import time

import httpx

from tests.attacks.target import Outcome, Target

RECOVERY = 5.0


def remove_broker_folder(target: Target) -> Outcome:
    """M6: the queue of the file broker is removed while the plane runs."""
    shutil.rmtree(target.home / "broker" / "queue")
    began = time.monotonic()
    try:
        state = target.run_job("noop", {}, seconds=30)["state"]
    except TimeoutError:
        state = "still queued"
    return Outcome(state == "succeeded", f"{state} after {time.monotonic() - began:.1f} s")


def kill_worker(target: Target) -> Outcome:
    """The local worker process is killed; its job moves again within seconds."""
    plane = target.plane()
    job = plane.post("/jobs", {"kind": "noop", "spec": {"seconds": 6, "steps": 60}})["id"]
    target.running.in_the_middle(job, done=5)
    target.running.part("worker").send_signal(signal.SIGKILL)
    began = time.monotonic()
    while True:
        found = plane.get(f"/jobs/{job}")
        if found["state"] == "queued" or not str(found["attempt"]).startswith("1"):
            break
        if time.monotonic() - began > 60:
            break
        time.sleep(0.05)
    noticed = time.monotonic() - began
    state = plane.wait(job, seconds=90)["state"]
    return Outcome(noticed < RECOVERY and state == "succeeded", f"noticed after {noticed:.1f} s, then {state}")


def fill_disk(target: Target) -> Outcome:
    """M5: the disk of the home is full for ten seconds during a job; needs a home on a file system of its own."""
    if target.home.stat().st_dev == target.home.parent.stat().st_dev:
        return Outcome(False, "not tried: the home is not on a file system of its own")
    plane = target.plane()
    job = plane.post("/jobs", {"kind": "noop", "spec": {"seconds": 4, "steps": 40, "echo": "x" * 1000}})["id"]
    target.running.in_the_middle(job, done=5)
    filler = target.home / "filler"
    with filler.open("wb") as out:
        while True:
            try:
                out.write(b"\0" * 65536)
                out.flush()
            except OSError:
                break
    ready = httpx.get(f"{target.address}/readyz", timeout=20)
    short = [name for name, part in ready.json()["parts"].items() if not part["ok"]]
    time.sleep(10)
    os.unlink(filler)
    ended = plane.wait(job, seconds=240)
    good = ended["state"] == "succeeded" and bool(short)
    return Outcome(good, f"/readyz {ready.status_code} names {short}; job {ended['state']}, attempt {ended['attempt']}")
