"""The life of one attempt, for every kind: stage inputs, run the engine in a child, relay, register, clean up."""

from __future__ import annotations

import copy
import logging
import os
import selectors
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.actors import Actor
from apps.artifacts.store import store
from apps.errors import PlaneError, StaleState
from apps.jobs import services
from apps.jobs.kinds import KINDS
from apps.jobs.models import Job
from apps.jobs.submission import lease_seconds
from workers import kinds, outputs, relay
from workers.process import EngineProcess, marker

log = logging.getLogger(__name__)
T = TypeVar("T")

GRACE_SECONDS = 1.0


class Attempt:
    """One claimed job in this worker. `stop` may be called from any thread; everything else runs in its own."""

    def __init__(self, job: Job, *, actor: Actor) -> None:
        self.job = job
        self.actor = actor.during(job.pk)
        self.scratch = scratch_root() / f"{job.pk}-{job.attempt}"
        self.reason = ""  # why it was stopped: cancelled, lost, released, timeout
        self.finishing = False
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.lock = threading.Lock()
        self.relay = relay.Relay(job, self.actor)

    def stop(self, reason: str) -> None:
        """Ask the attempt to end; the first reason counts."""
        with self.lock:
            if self.reason or self.wake < 0:
                return
            self.reason = reason
            os.eventfd_write(self.wake, 1)

    def run(self) -> None:
        """From claimed to ended. Never raises for what the job does; a lost job is dropped without a word."""
        try:
            if self.scratch.exists():
                shutil.rmtree(self.scratch)
            self.scratch.mkdir(parents=True, mode=0o700)
            inputs = self.stage()
            code = self.execute(inputs)
            self.conclude(code)
        except StaleState:
            log.warning("job %s, attempt %s: lost to another worker", self.job.pk, self.job.attempt)
        except PlaneError as failure:
            self.fail(failure.first(), retry=failure.status >= 500)
        except OSError as failure:
            message = f"The worker could not go on: {failure.strerror or failure}."
            hint = "Look at the disk of the node."
            self.fail(
                {"code": "worker_fault", "message": message, "field": None, "limit": None, "hint": hint}, retry=True
            )
        finally:
            with self.lock:
                os.close(self.wake)
                self.wake = -1
            shutil.rmtree(self.scratch, ignore_errors=True)

    # -- before ---------------------------------------------------------------------------------------------------
    def stage(self) -> dict[str, str]:
        """Copy every input out of the store, its digest checked on the way; returns slot -> path."""
        folder = self.scratch / "inputs"
        folder.mkdir()
        staged = {}
        for wanted in self.job.inputs.select_related("artifact"):
            if wanted.artifact is None:
                raise PlaneError(f"The input {wanted.slot} was never filled.", code="input_missing", field=wanted.slot)
            path = folder / f"{len(staged):03d}"
            outputs.stage_artifact(store(), wanted.artifact, path)
            staged[wanted.slot] = str(path)
        return staged

    # -- during ---------------------------------------------------------------------------------------------------
    def execute(self, inputs: Mapping[str, str]) -> int:
        """Run the engine under the shim and relay what it says; returns the exit code."""
        kind = KINDS[self.job.kind]
        request = {
            "entry": kinds.ENGINE[self.job.kind],
            "spec_class": f"{kind.spec.__module__}:{kind.spec.__qualname__}",
            "spec": self.job.spec,
            "inputs": inputs,
            "out": str(self.scratch / "out"),
        }
        if self.reason:
            return 0
        process = EngineProcess(
            request,
            scratch=self.scratch,
            mark=marker(self.job.pk, self.job.attempt),
            cpus=self.job.need_cpus,
            devices=self.job.devices,
            grace=GRACE_SECONDS,
        )
        try:
            services.report_events(actor=self.actor, job=self.job, events=(), process=process.identity())
            self.watch(process)
        finally:
            code = process.close(GRACE_SECONDS)
        self.relay.end()
        return code

    def watch(self, process: EngineProcess) -> None:
        """Relay until the engine has ended; on a stop, let go of the lifeline and go on reading until the end."""
        deadline = time.monotonic() + self.job.time_limit_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.wake, selectors.EVENT_READ, None)
            selector.register(process.events, selectors.EVENT_READ, self.relay.events_in)
            selector.register(process.prints, selectors.EVENT_READ, self.relay.prints_in)
            reading = 2
            while reading:
                gone = process.shim.poll() is not None
                ready = selector.select(timeout=0 if gone else relay.FLUSH_SECONDS)
                if gone and not ready:
                    return  # a killed shim may leave somebody who holds a pipe open: do not wait for that one
                for key, _ in ready:
                    if key.data is None:
                        selector.unregister(key.fd)
                        process.let_go()
                    elif not key.data(os.read(key.fd, 65536)):
                        selector.unregister(key.fd)
                        reading -= 1
                if time.monotonic() > deadline:
                    self.stop("timeout")
                self.patiently(self.relay.flush_if_due)

    def patiently(self, write: Callable[[], T]) -> T | None:
        """A telemetry write; a database that is away is waited for by the next one, until the lease is over."""
        try:
            return write()
        except (OperationalError, InterfaceError) as failure:
            log.warning("job %s: %s", self.job.pk, failure)
            return None
        finally:
            rest_connection()

    # -- after ----------------------------------------------------------------------------------------------------
    def conclude(self, code: int) -> None:
        """Say how the attempt ended. The last write is tried again while the lease lasts: work is not thrown away."""
        self.finishing = True
        if self.reason == "lost":
            raise StaleState("lost")
        self.insisting(self.relay.flush)
        if self.reason == "cancelled":
            self.insisting(lambda: services.end_cancelled(actor=self.actor, job=self.row()))
        elif self.reason == "released":
            self.insisting(
                lambda: services.release_job(actor=self.actor, job=self.row(), reason="The worker was stopped")
            )
        elif self.reason == "timeout":
            self.fail(time_limit_error(self.job), retry=False)
        elif code == 0 and self.relay.result is not None:
            self.succeed(self.relay.result)
        else:
            error, retry = relay.failure(code, self.relay)
            self.fail(error, retry=retry)

    def succeed(self, result: Mapping[str, Any]) -> None:
        made = outputs.upload(store(), self.scratch / "out", result["outputs"])

        def register() -> None:
            with transaction.atomic():
                artifacts = outputs.adopt(self.actor, self.job, made)
                job = self.row()
                services.succeed_job(actor=self.actor, job=job, outputs=artifacts, result=result["summary"])
                kinds.REGISTER[job.kind](self.actor, job, artifacts)

        self.insisting(register)

    def fail(self, error: Mapping[str, Any], *, retry: bool) -> None:
        self.finishing = True
        try:
            self.insisting(lambda: services.fail_attempt(actor=self.actor, job=self.row(), error=error, retry=retry))
        except StaleState:
            log.warning("job %s, attempt %s: lost before its failure was told", self.job.pk, self.job.attempt)

    def row(self) -> Job:
        """The job as this attempt holds it, fresh for each try: a try that was rolled back has changed its copy."""
        return copy.copy(self.job)

    def insisting(self, write: Callable[[], T]) -> T:
        """Repeat a write while the database is away and the lease can still be ours."""
        deadline = time.monotonic() + lease_seconds()
        while True:
            try:
                return write()
            except (OperationalError, InterfaceError):
                connection.close()
                if time.monotonic() > deadline:
                    raise StaleState("The database was away for longer than the lease.") from None
                time.sleep(0.5)


def rest_connection() -> None:
    """Give the connection back to the pool: a job that computes for hours must not hold one."""
    if connection.vendor != "sqlite":
        connection.close()


def scratch_root() -> Path:
    return Path(settings.PLANE_HOME) / "scratch" / settings.ENV.node


def time_limit_error(job: Job) -> dict[str, Any]:
    return {
        "code": "time_limit",
        "message": f"The job did not end within its time limit of {job.time_limit_seconds} s.",
        "field": "time_limit_seconds",
        "limit": job.time_limit_seconds,
        "hint": "Submit it again with a higher limit or less work.",
    }
