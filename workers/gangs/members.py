"""The attempts of jobs over several nodes: the first member's, which owns the job, and those of the others.

Every member checks its node, copies the inputs and announces where it can be reached; the engines start once all have.
The first member's worker ends the attempt: it watches the others' rows, and they see by the job's row that it is over.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.db import connection

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.platform.jobs import services
from apps.platform.jobs.errors import NODE_UNFIT, build_job_error, member_failed, no_progress, node_unfit
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobMember
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.states import MemberState
from deepseek.messages import Message
from deepseek.partitions.nodes.membership import CREDENTIALS
from deepseek.torchrun.placement import Placement
from workers import relay
from workers.attempt_slots import AttemptSlot
from workers.cluster.attempt import ClusterAttempt, is_on_cluster
from workers.federation.attempt import KINDS as STUDY_KINDS
from workers.federation.attempt import FederationAttempt
from workers.gangs import credentials, node_check, stacks
from workers.gangs import link as gang_link
from workers.isolation import detect_isolation, get_scratch_root, plan_confinement
from workers.process import EngineProcess
from workers.runner import Attempt, AttemptStopped, build_time_limit_error

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.25  # between two looks at the other members
LAST_MEMBERS_SECONDS = 120.0  # that the others may take to end after the first has succeeded
PARTITION_WORKERS_SECONDS = 5.0  # the same of a kind whose table is in partitions, whose result is on the first node
CULPRIT_SECONDS = 15.0  # that the first member waits for a better reason from another: a busy node is slow to tell
STACKS_SECONDS = 30.0  # from the wish for stacks to the end of the engines: a busy node is slow to write them
PARTITION_WORKERS = "deepseek.partitions.nodes.member:run"
ENGINE_FAULTS = ("engine_crashed", "engine_killed")  # what is left of a rank when another one has failed


class GangAttempt(Attempt):
    """The first member: it owns the job's row, and decides how the attempt ends."""

    decides = True

    def __init__(self, job: Job, *, actor: Actor, member: JobMember | None = None) -> None:
        super().__init__(job, actor=actor)
        self.member = member
        self.placement = Placement()
        self.credentials: Path | None = None  # of a kind whose table is in partitions
        self.fault: dict[str, Any] | None = None  # of this node, found before the attempt
        self.stacks_at: float | None = None  # when they were asked for

    # -- before ---------------------------------------------------------------------------------------------------
    def stage(self) -> dict[str, str]:
        what = node_check.find_fault(get_scratch_root(), self.get_devices(), self.job.need_memory_bytes)
        if what is not None:
            self.fault = node_unfit(settings.ENV.node, what)
            self.get_member()  # read now: the end is one transaction, in which no connection is given back
            self.stop("unfit")
            raise AttemptStopped
        staged = super().stage()
        if KINDS[self.job.kind].partitioned:
            self.credentials = credentials.stage_credentials(self.job, self.get_member().rank, self.scratch)
        return staged

    def plan(self, place: AttemptSlot) -> dict[str, Any]:
        """Announce this member, wait for the others, and plan the sandbox with the way to them."""
        member = self.get_member()
        address = find_node_address()
        has_link = detect_isolation().way == "root"
        port = gang_link.FIRST_PORT + place.number if has_link else find_free_port()
        self.retry_until_lease_expires(
            lambda: services.announce_member(actor=self.actor, member=member, address=address, port=port)
        )
        members = self.await_members(MemberState.RUNNING)
        first = members[0]
        self.placement = Placement(
            nodes=len(members),
            node_rank=member.rank,
            address=gang_link.build_address(0) if has_link else first.address,
            port=gang_link.STORE_PORT if has_link else int(first.port or 0),
            interface="eth0" if has_link else find_interface(address),
        )
        names = ", ".join(f"{peer.rank}: {peer.node_name}" for peer in members)
        self.relay.log(f"All members are ready: {names}.", "info")
        return plan_confinement(
            self.job, self.scratch, place.number, link=self.plan_link(members) if has_link else None
        )

    def plan_link(self, members: list[JobMember]) -> dict[str, Any]:
        own = self.get_member()
        return {
            "network": (self.job.pk * 64 + self.job.attempt % 64) % gang_link.NETWORKS,
            "rank": own.rank,
            "address": own.address,
            "port": own.port,
            "peers": [[peer.rank, peer.address, peer.port] for peer in members if peer.rank != own.rank],
        }

    def get_engine_settings(self) -> dict[str, str]:
        own = {CREDENTIALS: str(self.credentials)} if self.credentials is not None else {}
        return super().get_engine_settings() | self.placement.as_environment() | own

    def get_entry(self) -> str:
        """A kind whose table is in partitions runs on the first node, and has its workers on the others."""
        if KINDS[self.job.kind].partitioned and self.get_member().rank:
            return PARTITION_WORKERS
        return super().get_entry()

    def get_member(self) -> JobMember:
        if self.member is None:
            self.member = self.retry_until_lease_expires(self.list_members)[0]
        return self.member

    def get_devices(self) -> list[int]:
        return list(self.job.devices)

    def list_members(self) -> list[JobMember]:
        return services.list_members(actor=self.actor, job=self.job)

    def await_members(self, state: str, *, seconds: float | None = None) -> list[JobMember]:
        """Wait until all members are in `state`; the one whose time is over is missing, one that fails ends it all."""
        began, rung_at = time.monotonic(), 0.0
        while True:
            self.check()
            members = self.retry_until_lease_expires(self.list_members)
            peers = [member for member in members if member.rank != self.get_member().rank]
            if all(member.state in (state, MemberState.SUCCEEDED) for member in peers):
                return members
            waited = time.monotonic() - began
            invited = [member for member in members if member.state == MemberState.INVITED]
            if invited and self.decides and waited > settings.ENV.gang_join_seconds:
                self.stop("incomplete")
            elif seconds is not None and waited > seconds:
                self.stop("member")
            elif invited and time.monotonic() - rung_at > 1.0:
                rung_at = time.monotonic()
                self.ring(len(invited))
            time.sleep(WAIT_SECONDS)

    def ring(self, count: int) -> None:
        """A message is heard by any worker of the queue: as many as are missing, until theirs has heard one."""
        for _ in range(count):
            doorbell.ring(self.job.queue)

    # -- during ---------------------------------------------------------------------------------------------------
    def start_process(self, *args: Any, **options: Any) -> EngineProcess:
        self.relay.heard_at = time.monotonic()
        return super().start_process(*args, **options)

    def observe_progress(self) -> None:
        """End an attempt that makes no progress, after the stacks of all ranks are in the log."""
        limit, now = settings.ENV.hang_seconds, time.monotonic()
        if self.reason or not limit:
            return
        if self.stacks_at is None and now - self.relay.heard_at > limit:
            self.stacks_at = now
            self.relay.log(f"No progress for {limit:g} s: the stacks of all ranks follow.", "error")
            self.tolerate_database_outage(lambda: services.request_stacks(actor=self.actor, job=self.job))
            self.dump_stacks()
        elif self.stacks_at is not None and now - self.stacks_at > STACKS_SECONDS:
            self.stop("hang")

    def dump_stacks(self) -> None:
        if not stacks.dump_stacks(self.mark):
            self.relay.log("No process of this member tells its stacks.", "warning")

    # -- after ----------------------------------------------------------------------------------------------------
    def finish_attempt(self, code: int) -> None:
        """An attempt whose stacks were asked for has hung, however its engine ends while they are written."""
        if self.decides and self.stacks_at is not None:
            self.stop("hang")
        if self.decides and self.reason == "member":
            self.await_culprit()
        super().finish_attempt(code)

    def register_success(self, result: Mapping[str, Any]) -> None:
        if self.credentials is not None:
            self.await_partition_workers()
        else:
            self.await_members(MemberState.SUCCEEDED, seconds=LAST_MEMBERS_SECONDS)
        super().register_success(result)

    def await_partition_workers(self) -> None:
        """Give the workers of the other nodes time to end by themselves: one that came too late ends with the job."""
        deadline = time.monotonic() + PARTITION_WORKERS_SECONDS
        while time.monotonic() < deadline:
            self.check()
            members = self.retry_until_lease_expires(self.list_members)
            if not any(member.rank and member.state == MemberState.RUNNING for member in members):
                return
            time.sleep(WAIT_SECONDS)

    def report_stop(self) -> Job | None:
        if self.reason == "incomplete":
            return services.give_up_gang(actor=self.actor, job=self.copy_job(), seconds=settings.ENV.gang_join_seconds)
        if self.reason == "unfit" and self.fault is not None:
            services.end_member(actor=self.actor, member=self.get_member(), state=MemberState.FAILED, error=self.fault)
            return services.leave_out_node(actor=self.actor, job=self.copy_job(), error=self.fault)
        if self.reason == "hang":
            error = no_progress(settings.ENV.hang_seconds)
            return services.fail_attempt(actor=self.actor, job=self.copy_job(), error=error, retry=True)
        if self.reason == "member":
            return self.report_member_end()
        return super().report_stop()

    def report_member_end(self) -> Job:
        """End the attempt for what another member has told of its end."""
        ended = find_first_ended(self.list_members())
        if ended is None:
            error = build_job_error("member_lost", "A member did not end with the others.")
            return services.fail_attempt(actor=self.actor, job=self.copy_job(), error=error, retry=True)
        if ended.state == MemberState.RELEASED:
            reason = Message("The worker on {node} was stopped", node=ended.node_name)
            return services.release_job(actor=self.actor, job=self.copy_job(), reason=reason)
        if (ended.error or {}).get("code") == NODE_UNFIT:
            return services.leave_out_node(actor=self.actor, job=self.copy_job(), error=ended.error or {})
        return services.fail_attempt(
            actor=self.actor, job=self.copy_job(), error=member_failed(ended), retry=ended.retry
        )

    def fail(self, error: Mapping[str, Any], *, retry: bool, counts: bool = True) -> None:
        """Of several members that fail together the one with the most to say is the reason."""
        if error.get("code") in ENGINE_FAULTS and self.await_culprit() is not None:
            self.write_end(self.report_member_end)
        else:
            super().fail(error, retry=retry, counts=counts)

    def await_culprit(self) -> JobMember | None:
        """Wait for another member whose end is the reason of the others' ends; None if none is."""
        deadline = time.monotonic() + CULPRIT_SECONDS
        while True:
            members = self.retry_until_lease_expires(self.list_members)
            ended = find_first_ended(members)
            if ended is not None and not is_consequence(ended):
                return ended
            is_running = any(member.rank and member.state == MemberState.RUNNING for member in members)
            if not is_running or self.is_leaving or time.monotonic() > deadline:
                return None
            time.sleep(WAIT_SECONDS)


class MemberAttempt(GangAttempt):
    """Another member than the first: it writes to its own row and to the job's log, and ends with the job's attempt."""

    decides = False
    stacks_requested = False  # set by the heartbeat

    def __init__(self, member: JobMember, *, actor: Actor) -> None:
        super().__init__(member.job, actor=actor, member=member)
        self.relay = MemberRelay(member, self.actor)
        self.keeper.relay = self.relay

    @property
    def membership(self) -> JobMember:
        return self.get_member()

    def get_devices(self) -> list[int]:
        return list(self.membership.devices)

    def open_run(self) -> None:
        """The run is the first member's."""

    def record_process(self, identity: Mapping[str, Any]) -> None:
        self.retry_until_lease_expires(
            lambda: services.report_member(actor=self.actor, member=self.membership, process=identity)
        )

    def measure_system(self, process: EngineProcess) -> None:
        """What the node is busy with is kept with the run, which the first member has."""

    def ring(self, count: int) -> None:
        """The first member rings."""

    def observe_progress(self) -> None:
        if self.stacks_at is None and self.stacks_requested:
            self.stacks_at = time.monotonic()
            self.dump_stacks()

    def register_success(self, result: Mapping[str, Any]) -> None:
        self.end(MemberState.SUCCEEDED)

    def report_stop(self) -> None:
        if self.reason == "released":
            self.end(MemberState.RELEASED)
        elif self.reason == "timeout":
            self.end(MemberState.FAILED, build_time_limit_error(self.job), retry=False)
        elif self.reason == "unfit":
            self.end(MemberState.FAILED, self.fault)

    def fail(self, error: Mapping[str, Any], *, retry: bool, counts: bool = True) -> None:
        self.finishing = True
        try:
            self.end(MemberState.FAILED, error, retry=retry)
        except StaleState:
            log.info("job %s, attempt %s: it had ended before this member", self.job.pk, self.job.attempt)

    def end(self, state: str, error: Mapping[str, Any] | None = None, *, retry: bool = True) -> None:
        self.finishing = True
        self.retry_until_lease_expires(
            lambda: services.end_member(actor=self.actor, member=self.membership, state=state, error=error, retry=retry)
        )

    def release_after_outage(self) -> None:
        """Its lease is over; the dispatcher ends the attempt."""


class MemberRelay(relay.Relay):
    """Log lines of a member that is not the first, numbered with those of the others; events are the first one's."""

    def __init__(self, member: JobMember, actor: Actor) -> None:
        super().__init__(member.job, actor)
        self.member = member

    def log(self, text: str, level: str, at: float | None = None) -> None:
        super().log(text if text.startswith("[rank ") else f"[{self.member.node_name}] {text}", level, at)

    def flush(self) -> None:
        self.flushed_at = time.monotonic()
        lines = self.lines[: relay.LINES_PER_FLUSH]
        self.metrics, self.progress, self.usage, self.checkpoint = [], None, None, None
        if lines:
            services.report_member(actor=self.actor, member=self.member, lines=lines)
            self.lines = self.lines[len(lines) :]
        if self.lines:
            self.flush()


def build_attempt(job: Job, *, actor: Actor) -> Attempt:
    if job.kind in STUDY_KINDS:
        return FederationAttempt(job, actor=actor)
    if job.need_nodes > 1:
        return GangAttempt(job, actor=actor)
    return ClusterAttempt(job, actor=actor) if is_on_cluster(job) else Attempt(job, actor=actor)


def find_first_ended(members: list[JobMember]) -> JobMember | None:
    """Of the members that have failed or were released the first one that others did not take along."""
    ended = [member for member in members if member.state in (MemberState.FAILED, MemberState.RELEASED)]
    return min(
        ended, key=lambda member: (is_consequence(member), member.ended_at is None, member.ended_at), default=None
    )


def is_consequence(member: JobMember) -> bool:
    """Whether the member may have ended because another one has: its ranks lost their peer."""
    return (member.error or {}).get("code") in ENGINE_FAULTS


# -- addresses ------------------------------------------------------------------------------------------------------
def find_node_address() -> str:
    """IPv4 address at which other nodes reach this one: NODE_ADDRESS, else that from which it reaches the database."""
    if settings.ENV.node_address:
        return socket.gethostbyname(settings.ENV.node_address)
    host = str(connection.settings_dict.get("HOST") or "")
    if connection.vendor == "sqlite" or not host or host.startswith("/"):
        return "127.0.0.1"  # one machine
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # nothing is sent
        probe.connect((host, int(connection.settings_dict.get("PORT") or 5432)))
        return str(probe.getsockname()[0])


def find_free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def find_interface(address: str) -> str:
    """The interface that has the address; empty if none has."""
    names = psutil.net_if_addrs().items()
    return next((name for name, rows in names if any(row.address == address for row in rows)), "")
