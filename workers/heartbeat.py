"""One thread per worker that renews leases, notices cancellations and reports the node as alive.

One query each, however many jobs run: the load on the database is that of a worker, not of its jobs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from django.db.models import F
from django.utils import timezone

from apps.core.actors import Actor
from apps.platform.artifacts.stores import get_store_folder
from apps.platform.jobs import services
from apps.platform.jobs.models import Job, JobMember
from apps.platform.jobs.states import JobState, MemberState
from apps.platform.jobs.submission import get_lease_seconds
from apps.platform.nodes import hardware
from apps.platform.nodes.disk_speed import measure_disk_speed
from apps.platform.nodes.disks import find_short_disks
from apps.platform.nodes.models import Node
from apps.platform.nodes.samples import SAMPLE_SECONDS
from apps.platform.nodes.services import record_disk_speed, record_heartbeat, record_sample
from workers.federation.sweep import HomeSweep
from workers.gangs.members import GangAttempt, MemberAttempt
from workers.measurements.doctor import DoctorProbe
from workers.runner import get_scratch_root

if TYPE_CHECKING:
    from workers.runner import Attempt

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
NODE_SECONDS = 5.0
OVERDUE_SECONDS = 60.0
"""Past its time limit an attempt has so long to end. Then its thread hangs, in a store that does not answer for
instance: its lease is renewed no more, and the dispatcher gives the job to somebody else."""


DISK_FIRST_SECONDS = 600.0  # after the start: what has just been started is busy
DISK_AGAIN_AFTER = timedelta(days=7)
DISK_LOOK_SECONDS = 600.0  # between two looks whether the disk is due


class Heartbeat(threading.Thread):
    """Watches the attempts that run in this process; each is told by its `stop` what has become of it."""

    def __init__(self, *, actor: Actor, node: Node, owner: str) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.actor, self.node, self.owner = actor, node, owner
        # By job and attempt: a lost job may come back to this worker while its first thread still cleans up.
        self.attempts: dict[tuple[int, int], Attempt] = {}
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.renewed_at = time.monotonic()
        self.node_at = 0.0
        self.was_short = False
        self.disk_speed = DiskSpeedCheck(actor=actor, node=node, folder=get_scratch_root())
        self.doctor = DoctorProbe(actor=actor, node=node, folder=get_scratch_root())
        self.homes = HomeSweep(actor)
        self.sampled_at = time.monotonic()  # the first share of CPU would be of no time at all

    def watch(self, attempt: Attempt) -> None:
        with self.lock:
            if not self.attempts:
                self.renewed_at = time.monotonic()  # the claim itself took the lease
            self.attempts[attempt.job.pk, attempt.job.attempt] = attempt

    def forget(self, attempt: Attempt) -> None:
        with self.lock:
            self.attempts.pop((attempt.job.pk, attempt.job.attempt), None)

    def run(self) -> None:
        while not self.ended.wait(POLL_SECONDS):
            try:
                self.send_heartbeat()
            except DatabaseError as failure:
                log.warning("heartbeat: %s", failure)
                self.stop_stale()
            except Exception:  # whatever it is: without this thread every lease of the worker runs out
                log.exception("heartbeat")
                self.stop_stale()
            finally:
                connection.close() if connection.vendor != "sqlite" else close_old_connections()

    def send_heartbeat(self) -> None:
        with self.lock:
            watched = dict(self.attempts)
        now = time.monotonic()
        if watched:
            members = {key: attempt for key, attempt in watched.items() if isinstance(attempt, MemberAttempt)}
            self.check_attempts({key: attempt for key, attempt in watched.items() if key not in members})
            self.check_members(members)
            if now - self.renewed_at > get_lease_seconds() / 3:
                due = {key: attempt for key, attempt in watched.items() if now < attempt.deadline + OVERDUE_SECONDS}
                jobs = [key for key in due if key not in members]
                services.renew_leases(actor=self.actor, owner=self.owner, jobs=jobs)
                memberships = [attempt.membership.pk for key, attempt in members.items() if key in due]
                services.renew_member_leases(actor=self.actor, owner=self.owner, members=memberships)
                self.renewed_at = now
        if now - self.node_at > NODE_SECONDS:
            self.report_alive(watched)
            self.node_at = now

    def report_alive(self, watched: Mapping[tuple[int, int], Attempt]) -> None:
        """The node's load, and every so often a sample of it, for whoever looks back; the attempts keep it with their
        runs.
        """
        load = hardware.measure_load(get_scratch_root(), get_store_folder())
        load["short_disks"] = find_short_disks(load)
        self.disk_speed.measure_when_due(is_idle=not watched and not load["short_disks"])
        for attempt in watched.values():
            attempt.observe(load)
        record_heartbeat(actor=self.actor, node=self.node, load=load)
        self.homes.sweep_when_due()
        if time.monotonic() - self.sampled_at >= SAMPLE_SECONDS / 2:  # so that no 15 s are left out
            self.sampled_at = time.monotonic()
            record_sample(actor=self.actor, node=self.node, load=load, running=len(watched))
        self.doctor.run_when_requested(is_idle=not watched)  # last: what fails in it keeps no heartbeat back

    def is_short_of_disk(self) -> bool:
        """Whether a disk is too short for another job at this moment; the plane hears of a change at the next beat."""
        short = bool(find_short_disks(hardware.measure_disks(get_scratch_root(), get_store_folder())))
        if short != self.was_short:
            self.was_short, self.node_at = short, 0.0
        return short

    def check_attempts(self, watched: dict[tuple[int, int], Attempt]) -> None:
        """Tell each attempt whether it is still ours and whether somebody wants it cancelled."""
        if not watched:
            return
        pks = [pk for pk, _ in watched]
        rows = Job.objects.filter(pk__in=pks, owner=self.owner, state=JobState.RUNNING)
        claimed = {
            (pk, number): cancel for pk, number, cancel in rows.values_list("pk", "attempt", "cancel_requested_at")
        }
        for key, attempt in watched.items():
            if key not in claimed:
                if not attempt.finishing:  # the row may have just ended by our own hand
                    attempt.stop("lost")
            elif claimed[key]:
                attempt.stop("cancelled")

        self.check_followers([attempt for attempt in watched.values() if isinstance(attempt, GangAttempt)])

    def check_followers(self, first: Sequence[GangAttempt]) -> None:
        """Tell the first member of a job over several nodes when another one has ended too early."""
        if not first:
            return
        ended = JobMember.objects.filter(
            job__in=[attempt.job.pk for attempt in first],
            rank__gt=0,
            state__in=(MemberState.FAILED, MemberState.RELEASED),
        )
        keys = set(ended.values_list("job", "attempt"))
        for attempt in first:
            if (attempt.job.pk, attempt.job.attempt) in keys and not attempt.finishing:
                attempt.stop("member")

    def check_members(self, watched: Mapping[tuple[int, int], MemberAttempt]) -> None:
        """Tell each member whether its attempt goes on, and whether somebody wants to see its stacks."""
        if not watched:
            return
        rows = JobMember.objects.filter(
            pk__in=[attempt.membership.pk for attempt in watched.values()],
            owner=self.owner,
            state__in=(MemberState.JOINED, MemberState.RUNNING),
            job__state=JobState.RUNNING,
            job__attempt=F("attempt"),
        )
        awaited = dict(rows.values_list("pk", "stacks_requested_at"))
        for attempt in watched.values():
            if attempt.membership.pk not in awaited:
                if not attempt.finishing:
                    attempt.stop("lost")
            elif awaited[attempt.membership.pk]:
                attempt.stacks_requested = True

    def stop_stale(self) -> None:
        """Stop attempts whose lease ended during a database outage: another worker may run the job by now."""
        if time.monotonic() - self.renewed_at > get_lease_seconds():
            with self.lock:
                for attempt in self.attempts.values():
                    attempt.stop("outage")


class DiskSpeedCheck:
    """Asked by the heartbeat, which it never delays: the measuring is done by a thread of its own."""

    def __init__(self, *, actor: Actor, node: Node, folder: Path) -> None:
        self.actor, self.node, self.folder = actor, node, folder
        self.next_look = time.monotonic() + DISK_FIRST_SECONDS
        self.thread: threading.Thread | None = None

    def measure_when_due(self, *, is_idle: bool) -> bool:
        """Begin to measure if it is time and no job runs; returns whether it has begun."""
        if not is_idle or time.monotonic() < self.next_look or (self.thread and self.thread.is_alive()):
            return False
        self.next_look = time.monotonic() + DISK_LOOK_SECONDS
        measured_at = Node.objects.filter(pk=self.node.pk).values_list("disk_measured_at", flat=True).first()
        if measured_at is not None and timezone.now() - measured_at < DISK_AGAIN_AFTER:
            return False
        self.thread = threading.Thread(target=self.measure, name="disk speed", daemon=True)
        self.thread.start()
        return True

    def measure(self) -> None:
        try:
            speed = measure_disk_speed(self.folder)
            record_disk_speed(actor=self.actor, node=self.node, speed=speed)
        except (OSError, DatabaseError) as failure:
            log.warning("the disk under %s was not measured: %s", self.folder, failure)
        finally:
            connection.close()
