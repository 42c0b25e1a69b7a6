"""The dispatcher: rings again, recovers leases, frees waiting jobs, closes runs, judges reruns, drives sweeps, submits
what schedules ask for, evaluates monitors, lets endpoints follow their aliases, expires approvals and assignments of
devices, takes recalls further, seals the trail, verifies it when somebody asks, tells lineage outside, sends notices,
folds what clients measured, starts the processes of snapshots and of evidence.

Compare-and-set everywhere, so several may run and any may be killed. It leaves a pulse, which /readyz looks for.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error as DatabaseError
from django.db import connection

from apps.core.actors import PlaneRole, build_plane_actor
from apps.fleet.devices.services import expire_assignments
from apps.fleet.monitoring.services import advance_retrainings, evaluate_due_monitors
from apps.fleet.recalls.services import advance_recalls
from apps.fleet.rollouts.services import advance_rollouts
from apps.ml.endpoints.services import follow_aliases
from apps.ml.experiments.services import close_ended_runs, ingest_all_batches
from apps.ml.labelling.queries import has_due_work
from apps.ml.reruns.services import evaluate_ended_reruns
from apps.ml.sweeps.services import advance_sweeps
from apps.platform.approvals.services import expire_due
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.verification_runs import run_queued_verification
from apps.platform.calendars.services import fire_due_schedules
from apps.platform.jobs import services
from apps.platform.jobs.scheduling import doorbell, ended_job_counters, liveness, queues, reservations
from apps.platform.jobs.submission import get_lease_seconds
from apps.platform.nodes.health.services import delete_expired_reports
from apps.platform.nodes.probes.services import expire_node_probes
from apps.platform.nodes.samples import SAMPLE_SECONDS, get_database_now
from apps.platform.nodes.services import keep_samples
from apps.site.compliance.queries import has_queued_run
from apps.site.isolation import services as isolation_services
from apps.site.snapshots.queries import has_due_operation
from apps.site.snapshots.services import recover_operations
from workers import openlineage
from workers.labelling.process import is_driver_installed
from workers.lease_clock import MAX_LEASE_SECONDS, LeaseClock
from workers.notices.sender import send_due_mails, send_due_webhook_messages
from workers.process import get_realm, is_abandoned
from workers.rollouts import evaluate_in_child
from workers.snapshots.process import DueProcess
from workers.startup_checks import refuse_unsound

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Ring doorbells for queued jobs, recover expired leases, seal the audit trail."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        refuse_unsound()
        # What is loaded stays: a collection of garbage that walks it all takes a quarter of the time of folding points.
        gc.collect()
        gc.freeze()
        self.stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        self.actor = build_plane_actor(PlaneRole.DISPATCHER, host=settings.ENV.node)
        self.clock = LeaseClock(get_lease_seconds(), rest=settings.ENV.dispatch_seconds)
        rest = settings.ENV.dispatch_seconds
        later = 2 * rest  # nobody waits for these, and with both cores full a round of each is work that a job lacks
        parts: list[tuple[str, float, Callable[[], None]]] = [
            ("sealer", settings.ENV.seal_seconds, self.seal),
            ("sampler", SAMPLE_SECONDS / 2, self.sample),
            ("verifier", later, self.verify),
            ("teller", later, self.tell),
            ("judge", later, self.judge),
            ("sweeper", rest, self.sweep),
            ("recaller", rest, self.recall),
            ("rollouts", rest, self.roll_out),
            ("scheduler", later, self.fire),
            ("monitor", later, self.monitor),
            ("retrainer", later, self.retrain),
            ("folder", rest, self.fold),
        ]
        self.snapshots = DueProcess("snapshot", "work", is_due=has_due_operation)
        self.evidence = DueProcess("evidence", "--queued", is_due=has_queued_run)
        parts.append(("assessor", later, self.make_evidence))
        if settings.ENV.snapshot_destinations:
            parts.append(("archivist", later, self.take_snapshots))
        self.labelling = DueProcess("drive_labelling", is_due=has_due_work)
        if settings.LABELLING_HOSTS and is_driver_installed():
            parts.append(("labeller", rest, self.label))
        if settings.NOTICE_HOSTS:
            parts.append(("notifier", rest, self.notify))
        if settings.MAIL_ENABLED:
            parts.append(("mailer", rest, self.mail))
        threads = [
            threading.Thread(target=self.every, args=(seconds, name, work), daemon=True)
            for name, seconds, work in parts
        ]
        for thread in threads:
            thread.start()
        self.every(rest, "dispatcher", self.dispatch)
        for thread in threads:
            thread.join(timeout=5)
        self.labelling.stop()
        self.snapshots.stop()
        self.evidence.stop()

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()

    def every(self, seconds: float, name: str, work: Callable[[], None]) -> None:
        """Repeat `work` until stopped. Errors are logged and retried, since nobody notices a dead thread."""
        while not self.stopping.is_set():
            try:
                work()
                liveness.record_beat(name)
            except DatabaseError as failure:
                log.warning("%s: %s", name, failure)
                connection.close()
            except Exception:  # a full disk, a defect: the pulse is missing and /readyz says so; the next round tries
                log.exception("%s", name)
            finally:
                if connection.vendor != "sqlite":
                    connection.close()
            self.stopping.wait(seconds)

    def seal(self) -> None:
        run_sealer_round(self.actor)

    def verify(self) -> None:
        """Run the audit verifications that were requested; in its own thread, since each takes minutes."""
        run_queued_verification(self.actor, stopping=self.stopping.is_set)

    def tell(self) -> None:
        """Send lineage events to external sinks, if any; in its own thread, since these may be slow or down."""
        for sink in openlineage.build_sinks():
            openlineage.send_notices(self.actor, sink, stopping=self.stopping.is_set)

    def notify(self) -> None:
        """Send webhook messages; in its own thread, since receivers may be slow or down."""
        send_due_webhook_messages(self.actor, stopping=self.stopping.is_set)

    def mail(self) -> None:
        """Send notices by mail; in its own thread, since neither waits for the other."""
        send_due_mails(self.actor, stopping=self.stopping.is_set)

    def judge(self) -> None:
        """Compare finished reruns with their originals; in its own thread, since they may have millions of points."""
        evaluate_ended_reruns(actor=self.actor, stopping=self.stopping.is_set)

    def sweep(self) -> None:
        """Take the sweeps that run a step further; in its own thread, since pruning reads points of many runs."""
        advance_sweeps(actor=self.actor, stopping=self.stopping.is_set)

    def recall(self) -> None:
        """Take recalls further; in its own thread, since bytes are read before anything goes back to them."""
        advance_recalls(actor=self.actor)

    def fire(self) -> None:
        """Submit what schedules ask for now; in its own thread, since checking many requests takes seconds."""
        fire_due_schedules(actor=self.actor, stopping=self.stopping.is_set)

    def roll_out(self) -> None:
        """Take rollouts as far as they can go; in its own thread, since a wave may have very many devices."""
        advance_rollouts(actor=self.actor, evaluate=evaluate_in_child, stopping=self.stopping.is_set)

    def monitor(self) -> None:
        """Evaluate the windows of monitors that have ended; in its own thread: after a pause there are many."""
        evaluate_due_monitors(actor=self.actor, stopping=self.stopping.is_set)

    def retrain(self) -> None:
        """Take retrainings further; in its own thread, since files of observations are written before one begins."""
        advance_retrainings(actor=self.actor, stopping=self.stopping.is_set)

    def label(self) -> None:
        """Keep the driver of labelling projects running while something is due: a process of its own."""
        self.labelling.ensure(build_plane_actor(PlaneRole.WORKER, host=settings.ENV.node))

    def make_evidence(self) -> None:
        """Keep the process of evidence runs running while one waits."""
        self.evidence.ensure(self.actor)

    def take_snapshots(self) -> None:
        """Keep the process of snapshots running while an operation waits, also one that has lost its process."""
        recover_operations(actor=self.actor)
        self.snapshots.ensure(self.actor)

    def recover_expired(self) -> None:
        """Leases are judged by the database's clock, unless that has jumped or nobody could renew them just now."""
        now = get_database_now()
        first, jump = self.clock.is_new, self.clock.observe(now)
        if first or jump < 0:
            longest = MAX_LEASE_SECONDS if first else 2 * get_lease_seconds()
            corrected = services.correct_future_times(actor=self.actor, now=now, longest_lease=longest)
            if corrected:
                log.warning(
                    "%d leases and pauses lay in the future and are corrected: was the clock set back?", corrected
                )
        if not self.clock.is_trusted():
            return
        try:
            services.recover_expired(actor=self.actor, now=now)
        except DatabaseError:
            self.clock.distrust("the database takes no writes")
            raise

    def fold(self) -> None:
        """Fold metric points that clients logged; in its own thread, since a flood of them takes seconds."""
        ingest_all_batches(actor=self.actor)

    def sample(self) -> None:
        """Record the samples behind the history on pages and in `/metrics`; nothing waits for them."""
        reservations.reserve_nodes(actor=self.actor)
        queues.sample_queues(actor=self.actor)
        ended_job_counters.count_ended_jobs(actor=self.actor)
        queues.keep_samples(actor=self.actor)
        keep_samples(actor=self.actor)
        delete_expired_reports(actor=self.actor)
        expire_node_probes(actor=self.actor)
        isolation_services.delete_expired_reports(actor=self.actor)

    def dispatch(self) -> None:
        """Ring first: a row that cannot be recovered must not keep all others from being heard of."""
        for queue in services.list_queues_to_ring(actor=self.actor):
            doorbell.ring(queue)
        services.recover_abandoned(actor=self.actor, place=f":{get_realm()}:", is_gone=is_abandoned)
        self.recover_expired()
        services.free_waiting(actor=self.actor)
        services.requeue_repaired(actor=self.actor)
        close_ended_runs(actor=self.actor)
        follow_aliases(actor=self.actor)
        expire_assignments(actor=self.actor)
        expire_due(actor=self.actor)
