"""The life of one attempt, for every kind: stage inputs, run the engine in a child, relay, register, clean up."""

from __future__ import annotations

import copy
import logging
import os
import selectors
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.platform.artifacts.stores import get_store, get_store_folder
from apps.platform.jobs import services
from apps.platform.jobs.checkpoints import get_checkpoint
from apps.platform.jobs.errors import build_job_error, disk_filled
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.machine_code import refuse_foreign_code
from apps.platform.jobs.models import Job
from apps.platform.jobs.provenance import record_provenance
from apps.platform.jobs.submission import get_lease_seconds
from apps.platform.nodes.disks import read_disk
from apps.platform.nodes.hardware import count_oom_kills
from deepseek.code import compute_code_digest
from deepseek.messages import N_, Message
from workers import attempt_slots, cgroups, checkpoints, isolation, kinds, outputs, pseudonym_keys, relay
from workers.attempt_slots import AttemptSlot
from workers.images import store as images
from workers.isolation import get_scratch_root
from workers.machine_faults import STORAGE_FULL, count_bytes, find_engine_stall, find_stall
from workers.measurements.system_metrics import SystemMetrics
from workers.process import EngineProcess, build_marker
from workers.scratch.wiping import remove_scratch
from workers.tracking import Tracker, describe_environment

log = logging.getLogger(__name__)
T = TypeVar("T")

GRACE_SECONDS = 1.0
OWN_SHARE = 0.5  # of the disk in an attempt's own scratch: more means that nobody else has filled it
HAND_BACK_SECONDS = 3600.0  # that a job given up for an outage waits for the database, to say so
LAST_CHECKPOINT_SECONDS = 60.0  # that an engine's failure waits for the one that it announced last


class AttemptStopped(Exception):
    """The attempt was asked to stop; `Attempt.reason` says why."""


class DatabaseUnavailable(StaleState):
    """The database was away for longer than the lease: the job may be somebody else's by now."""


class Attempt:
    """One claimed job in this worker. `stop` may be called from any thread; everything else runs in its own."""

    def __init__(self, job: Job, *, actor: Actor) -> None:
        self.job = job
        self.actor = actor.with_job(job.pk)
        self.mark = build_marker(job.pk, job.attempt)
        self.scratch_name = self.mark.replace(":", "-")
        self.scratch = self.choose_scratch()
        self.deadline = time.monotonic() + job.time_limit_seconds  # staging, running and uploading together
        self.reason = ""  # why it was stopped: cancelled, lost, outage, released, timeout
        self.is_leaving = False  # the worker stops: nothing may be waited for any more
        self.finishing = False  # the last write is on its way: the row may no longer be ours by our own hand
        self.wake = -1
        self.lock = threading.Lock()
        self.tracker = Tracker(self.actor, job)
        self.relay = relay.Relay(job, self.actor, record=self.tracker.log)
        self.keeper = checkpoints.CheckpointKeeper(job, self.actor, self.relay, self.scratch)
        self.system: SystemMetrics | None = None  # while the engine runs

    def stop(self, reason: str) -> None:
        """Request that the attempt ends; the first reason counts."""
        with self.lock:
            self.is_leaving = self.is_leaving or reason == "released"
            if self.reason:
                return
            self.reason = reason
            if self.wake >= 0:
                os.eventfd_write(self.wake, 1)

    def observe(self, load: Mapping[str, Any]) -> None:
        """The node's load, from the heartbeat's thread."""
        if self.system is not None:
            self.system.offer(load)

    def check(self) -> None:
        """Raise AttemptStopped if the attempt should end; called between steps that take long."""
        if time.monotonic() > self.deadline:
            self.stop("timeout")
        if self.reason:
            raise AttemptStopped

    def run(self) -> None:
        """Run the attempt from claim to end. Never raises for the job's errors; a lost job is dropped silently."""
        try:
            with self.lock:
                self.wake = os.eventfd(1 if self.reason else 0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            if self.scratch.exists():
                self.remove_scratch()
            self.make_scratch()
            self.open_run()
            self.finish_attempt(self.execute(self.stage()))
        except AttemptStopped:
            self.keeper.close()
            if self.reason == "outage":
                self.release_after_outage()
            else:
                self.write_end(self.report_stop)
        except DatabaseUnavailable:
            self.keeper.close()
            self.release_after_outage()
        except StaleState:
            log.warning("job %s, attempt %s: lost to another worker", self.job.pk, self.job.attempt)
        except (PlaneError, OSError) as failure:
            self.fail_for(failure)
        except Exception as failure:
            # Else it would hold its node until the lease is over, and end as a worker that was lost.
            log.exception("job %s, attempt %s", self.job.pk, self.job.attempt)
            message = Message("The worker could not go on: {name}.", name=type(failure).__name__)
            self.fail(build_job_error("worker_fault", message, hint=N_("The worker's log says where.")), retry=True)
        finally:
            with self.lock:
                if self.wake >= 0:
                    os.close(self.wake)
                self.wake = -1
            self.keeper.close()
            self.remove_scratch()

    def choose_scratch(self) -> Path:
        """The folder of this attempt."""
        return get_scratch_root() / self.scratch_name

    def make_scratch(self) -> None:
        self.scratch.mkdir(parents=True, mode=0o700)

    def remove_scratch(self) -> None:
        remove_scratch(self.scratch, overwrite=settings.ENV.scratch_wipe == "overwrite")

    def open_run(self) -> None:
        self.retry_until_lease_expires(self.tracker.open_run)

    def fail_for(self, failure: PlaneError | OSError) -> None:
        """End the attempt for what went wrong in the worker; a fault of the machine costs the job no attempt."""
        stall = find_stall(failure, own=self.scratch, shared=list_shared_folders())
        if stall:
            self.put_off(stall)
        elif isinstance(failure, PlaneError):
            self.fail(failure.first(), retry=failure.status >= 500)
        else:
            message = Message("The worker could not go on: {strerror}.", strerror=failure.strerror or failure)
            self.fail(build_job_error("worker_fault", message, hint=N_("Look at the disk of the node.")), retry=True)

    # -- before ---------------------------------------------------------------------------------------------------
    def stage(self) -> dict[str, str]:
        """Copy every input out of the store, its digest checked on the way, and the checkpoint of an earlier attempt;
        returns slot -> path.
        """
        images.prepare_image(self.job, self.check, lambda text: self.relay.log(text, "info"))
        folder = self.scratch / "inputs"
        folder.mkdir()
        staged = {}
        for job_input in self.retry_until_lease_expires(lambda: list(self.job.inputs.select_related("artifact"))):
            if job_input.artifact is None:
                raise PlaneError(
                    "The input {slot} was never filled.",
                    slot=job_input.slot,
                    code="input_missing",
                    field=job_input.slot,
                )
            path = folder / f"{len(staged):03d}"
            outputs.stage_artifact(self.actor, get_store(), job_input.artifact, path, self.check)
            if job_input.slot in KINDS[self.job.kind].loads:
                self.refuse_foreign_code(job_input.slot, job_input.artifact.digest, path)
            staged[job_input.slot] = str(path)
        if self.job.kind in kinds.ARRANGE:
            staged = kinds.ARRANGE[self.job.kind](folder, staged)
        staged |= pseudonym_keys.stage_key(self.job, folder)
        if self.job.attempt > 1 and checkpoints.SLOT not in staged:
            path = folder / checkpoints.SLOT
            checkpoint = self.retry_until_lease_expires(lambda: get_checkpoint(self.job))
            if self.keeper.stage(checkpoint, path, self.check):
                staged[checkpoints.SLOT] = str(path)
        return staged

    def refuse_foreign_code(self, slot: str, digest: str, path: Path) -> None:
        self.retry_until_lease_expires(lambda: refuse_foreign_code(self.job.project_id, slot, digest, path))

    # -- during ---------------------------------------------------------------------------------------------------
    def execute(self, inputs: Mapping[str, str]) -> int:
        """Run the engine under the shim and relay what it says; returns the exit code."""
        kind = KINDS[self.job.kind]
        request = {
            "entry": self.get_entry(),
            "spec_class": f"{kind.spec.__module__}:{kind.spec.__qualname__}",
            "spec": self.job.spec,
            "inputs": inputs,
            "out": str(self.scratch / "out"),
            "memory_bytes": self.job.need_memory_bytes,
        }
        self.check()
        killed_before = count_oom_kills()
        group = cgroups.create_group(self.mark, self.job.need_memory_bytes)
        try:
            with attempt_slots.take_place() as place:
                request |= self.plan(place)
                code = self.run_engine(request, group, place)
        finally:
            cgroups.remove_group(group)
        self.relay.take_rest()
        self.relay.memory_ran_out = count_oom_kills() > killed_before
        return code

    def plan(self, place: AttemptSlot) -> dict[str, Any]:
        """What the request says of the sandbox."""
        return isolation.plan_confinement(self.job, self.scratch, place.number)

    def get_entry(self) -> str:
        """The engine's function, as "module:name"."""
        return kinds.ENGINE[self.job.kind]

    def get_devices(self) -> list[int]:
        return list(self.job.devices)

    def start_process(self, request: Mapping[str, Any], **options: Any) -> EngineProcess:
        return EngineProcess(request, **options)

    def record_process(self, identity: Mapping[str, Any]) -> None:
        self.retry_until_lease_expires(
            lambda: services.report_events(actor=self.actor, job=self.job, events=(), process=identity)
        )

    def measure_system(self, process: EngineProcess) -> None:
        self.system = SystemMetrics(self.job, self.tracker, process.shim.pid)

    def observe_progress(self) -> None:
        """What an attempt over several nodes looks for while its engine runs (workers/gangs/members.py)."""

    def run_engine(self, request: Mapping[str, Any], group: Path | None, place: AttemptSlot) -> int:
        process = self.start_process(
            request,
            scratch=self.scratch,
            mark=self.mark,
            cpus=self.job.need_cpus,
            devices=self.get_devices(),
            grace=GRACE_SECONDS,
            settings=self.get_engine_settings(),
            group=group,
            lock=place.lock,
        )
        try:
            self.record_process(process.get_identity())
            self.measure_system(process)
            self.watch(process)
        finally:
            self.system = None
            code = process.close(GRACE_SECONDS)
        return code

    def get_engine_settings(self) -> dict[str, str]:
        build_settings = kinds.SETTINGS.get(self.job.kind)
        if build_settings is None:
            return {}
        return self.retry_until_lease_expires(lambda: build_settings(self.job, self.tracker))

    def watch(self, process: EngineProcess) -> None:
        """Relay until the engine has ended; on a stop, let go of the lifeline and go on reading until the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.wake, selectors.EVENT_READ, None)
            selector.register(process.events, selectors.EVENT_READ, self.relay.take_events)
            selector.register(process.prints, selectors.EVENT_READ, self.relay.take_prints)
            reading = 2
            while reading:
                gone = process.shim.poll() is not None
                ready = selector.select(timeout=0 if gone else relay.FLUSH_SECONDS)
                if gone and not ready:
                    return  # a killed shim may leave somebody who holds a pipe open: do not wait for that one
                full = self.relay.is_full() and not self.reason
                if full:  # the database is away: the engine's pipe fills and holds it back, our memory does not grow
                    time.sleep(relay.FLUSH_SECONDS)
                for key, _ in ready:
                    if full and key.data is not None:
                        continue
                    if key.data is None:
                        selector.unregister(key.fd)
                        process.let_go()
                    elif not key.data(os.read(key.fd, 65536)):
                        selector.unregister(key.fd)
                        reading -= 1
                if time.monotonic() > self.deadline:
                    self.stop("timeout")
                self.observe_progress()
                self.tolerate_database_outage(self.keeper.advance)
                self.tolerate_database_outage(self.sample)
                self.tolerate_database_outage(self.relay.flush_if_due)

    def sample(self) -> None:
        if self.system is not None:
            self.system.advance()

    def tolerate_database_outage(self, write: Callable[[], T]) -> T | None:
        """A telemetry write; a database that is away is waited for by the next one, until the lease is over."""
        try:
            return write()
        except (OperationalError, InterfaceError) as failure:
            log.warning("job %s: %s", self.job.pk, failure)
            return None
        finally:
            release_connection()

    # -- after ----------------------------------------------------------------------------------------------------
    def finish_attempt(self, code: int) -> None:
        """Say how the engine ended, unless the attempt was stopped: then that is what ended it."""
        if self.reason == "lost":
            raise StaleState("lost")
        self.retry_until_lease_expires(self.relay.flush)
        self.check()
        if code == 0 and self.relay.result is not None:
            self.keeper.close()
            self.register_success(self.relay.result)
        else:
            error, retry = relay.explain_failure(code, self.relay)
            stall = None
            if retry:
                disk = read_disk("scratch", self.scratch)
                stall = find_engine_stall(
                    error, scratch=self.scratch, disk_is_full=disk.is_full, disk_is_short=disk.is_full or disk.is_short
                )
            self.keep_last_checkpoint()
            if stall:
                self.put_off(stall)
            else:
                self.fail(error, retry=retry)

    def keep_last_checkpoint(self) -> None:
        """An engine that failed is tried again from the one that it announced last: wait until that one is stored."""
        deadline = time.monotonic() + LAST_CHECKPOINT_SECONDS
        self.retry_until_lease_expires(self.keeper.advance)
        while self.keeper.busy and time.monotonic() < deadline:
            self.check()
            time.sleep(0.02)
            self.retry_until_lease_expires(self.keeper.advance)
        self.retry_until_lease_expires(self.relay.flush)

    def report_stop(self) -> Job | None:
        """Say why the attempt was stopped; a lost job is not ours to say anything of."""
        if self.reason == "cancelled":
            return services.end_cancelled(actor=self.actor, job=self.copy_job())
        if self.reason == "released":
            return services.release_job(actor=self.actor, job=self.copy_job(), reason=Message("The worker was stopped"))
        if self.reason == "timeout":
            error = build_time_limit_error(self.job)
            return services.fail_attempt(actor=self.actor, job=self.copy_job(), error=error, retry=False)
        return None

    def register_success(self, result: Mapping[str, Any]) -> None:
        self.retry_until_lease_expires(outputs.require_store)
        stored = outputs.upload(get_store(), self.scratch / "out", result["outputs"], self.check)
        self.tracker.read(stored)
        facts, code = self.retry_until_lease_expires(lambda: describe_environment(self.job)), compute_code_digest()

        def register() -> None:
            with transaction.atomic():
                artifacts = outputs.adopt(self.actor, self.job, stored)
                job = self.copy_job()
                services.succeed_job(actor=self.actor, job=job, outputs=artifacts, result=result["summary"])
                record_provenance(actor=self.actor, job=job, code_digest=code, environment=facts)
                kinds.REGISTER[job.kind](self.actor, job, artifacts)
                self.tracker.close(job, artifacts)
                if job.kind in kinds.PUBLISH:
                    kinds.PUBLISH[job.kind](self.actor, job, artifacts)

        self.finishing = True
        self.retry_until_lease_expires(register)

    def put_off(self, error: Mapping[str, Any]) -> None:
        """Put the job off for a fault of the machine, at no cost; an attempt that has filled the disk itself counts."""
        used = count_bytes(self.scratch) if error["code"] == STORAGE_FULL else 0
        if used > OWN_SHARE * read_disk("scratch", self.scratch).total_bytes:
            self.fail(disk_filled(used), retry=True)
        else:
            self.fail(error, retry=True, counts=False)

    def fail(self, error: Mapping[str, Any], *, retry: bool, counts: bool = True) -> None:
        self.write_end(
            lambda: services.fail_attempt(
                actor=self.actor, job=self.copy_job(), error=error, retry=retry, counts=counts
            ),
        )

    def write_end(self, write: Callable[[], Job | None]) -> None:
        def close_run() -> None:
            with transaction.atomic():
                self.tracker.close(write())

        self.finishing = True
        try:
            self.retry_until_lease_expires(close_run)
        except DatabaseUnavailable:
            self.release_after_outage()
        except StaleState:
            log.warning("job %s, attempt %s: lost before its end was told", self.job.pk, self.job.attempt)

    def release_after_outage(self) -> None:
        """Give the job back as soon as the database is there again: that it was away costs no attempt."""
        why = "The database was away for longer than the lease"

        def release_job() -> None:
            with transaction.atomic():
                self.tracker.close(services.release_job(actor=self.actor, job=self.copy_job(), reason=why))

        self.finishing = True
        try:
            self.retry_until_lease_expires(release_job, seconds=HAND_BACK_SECONDS)
        except StaleState:
            log.warning("job %s, attempt %s: lost before it could be given back", self.job.pk, self.job.attempt)

    def copy_job(self) -> Job:
        """The job as this attempt holds it, fresh for each try: a try that was rolled back has changed its copy."""
        return copy.copy(self.job)

    def retry_until_lease_expires(self, write: Callable[[], T], *, seconds: float | None = None) -> T:
        """Repeat a write while the database is away: for as long as the lease can still be ours, or for `seconds`.

        Raises DatabaseUnavailable after that.
        """
        began, lease = time.monotonic(), get_lease_seconds()
        while True:
            try:
                return write()
            except (OperationalError, InterfaceError):
                connection.close()
                patience = lease if seconds is None or self.is_leaving else seconds
                if time.monotonic() > began + patience:
                    raise DatabaseUnavailable("The database was away for longer than the lease.") from None
                time.sleep(0.5)
            finally:
                release_connection()


def release_connection() -> None:
    """Give the connection back to the pool: a job that computes for hours must not hold one."""
    if connection.vendor != "sqlite":
        connection.close()


def list_shared_folders() -> list[Path]:
    """The folders that every attempt on this node needs."""
    folder = get_store_folder()
    return [get_scratch_root(), images.get_images_root(), *([folder] if folder else [])]


def build_time_limit_error(job: Job) -> dict[str, Any]:
    return build_job_error(
        "time_limit",
        Message(
            "The job did not end within its time limit of {time_limit_seconds} s.",
            time_limit_seconds=job.time_limit_seconds,
        ),
        field="time_limit_seconds",
        limit=job.time_limit_seconds,
        hint=N_("Submit it again with a higher limit or less work."),
    )
