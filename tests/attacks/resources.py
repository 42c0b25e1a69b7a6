"""Jobs that take more memory than they asked for: H4."""

from __future__ import annotations

import json
import threading
import time

import psutil

from tests.attacks.inputs import describe_refusal
from tests.attacks.target import Outcome, Target, build_parquet_bomb

GIB = 2**30
ALLOWED = 1.5  # of the memory that the job asked for: what one look of the watch may miss


class MemoryClock:
    """The most that the engines of the plane held at once, looked at twenty times a second."""

    def __init__(self, target: Target) -> None:
        self.target, self.peak, self.ended = target, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> MemoryClock:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join(timeout=5)

    def watch(self) -> None:
        while not self.ended.wait(0.05):
            held = 0
            try:
                for process in self.target.running.part("worker").children(recursive=True):
                    held += process.memory_info().rss if "shim.py" in " ".join(process.cmdline()) else 0
            except psutil.Error:
                continue
            self.peak = max(self.peak, held)


def upload_parquet_bomb(target: Target) -> Outcome:
    """H4: a Parquet file of 300 bytes that decodes to gigabytes."""
    with MemoryClock(target) as clock:
        answer = target.upload_table("bomb", build_parquet_bomb(), "application/vnd.apache.parquet")
        states = []
        if answer.status_code == 202:
            job = target.plane().wait(answer.json()["id"], seconds=240)
            states.append((job["state"], (job["error"] or {}).get("code")))
    return Outcome(
        clock.peak < ALLOWED * GIB, f"engines held {clock.peak / GIB:.2f} GiB; {answer.status_code} {states}"
    )


def upload_many_keys(target: Target) -> Outcome:
    """H4: 60,000 different keys in JSON lines of less than a megabyte."""
    body = b"".join(json.dumps({f"k{number}": 1}).encode() + b"\n" for number in range(60_000))
    with MemoryClock(target) as clock:
        refused = describe_refusal(target, "many-keys", body, "application/x-ndjson", seconds=240)
    return Outcome(
        clock.peak < ALLOWED * GIB and refused.repelled, f"engines held {clock.peak / GIB:.2f} GiB; {refused.seen}"
    )


def allocate_beyond_needs(target: Target) -> Outcome:
    """H4: a job of 256 MiB that takes 3,000 MiB, beside one that goes on."""
    plane = target.plane()
    beside = plane.post("/jobs", {"kind": "noop", "spec": {"seconds": 10, "steps": 100}})["id"]
    began = time.monotonic()
    with MemoryClock(target) as clock:
        job = target.run_job(
            "noop", {"fail": "memory", "memory_mib": 3000}, needs={"memory_bytes": 256 * 2**20}, seconds=60
        )
    seconds = time.monotonic() - began
    code = (job["error"] or {}).get("code")
    other = plane.wait(beside, seconds=60)["state"]
    good = code == "memory_limit" and other == "succeeded" and clock.peak < GIB
    return Outcome(
        good, f"{code} after {seconds:.1f} s, engines held {clock.peak / GIB:.2f} GiB; the job beside it {other}"
    )
