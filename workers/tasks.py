"""The task behind the doorbell: claim and run jobs until none is left to claim."""

from __future__ import annotations

import logging

from celery import shared_task
from django.db import Error as DatabaseError
from django.db import connection

from apps.core.errors import StaleState
from apps.platform.jobs import services
from workers.gangs.members import MemberAttempt, build_attempt
from workers.node import Worker, get_worker
from workers.runner import Attempt, release_connection

log = logging.getLogger(__name__)


@shared_task(name="workers.tasks.run_next", ignore_result=True)
def run_next(queue: str) -> int:
    """Run jobs of `queue` until none is left that this node may take; returns how many it ran."""
    ran = 0
    try:
        worker = get_worker()
    except DatabaseError as failure:
        log.warning("not registered yet: %s", failure)
        return ran
    while not worker.stopping.is_set() and not worker.heartbeat.is_short_of_disk():
        try:
            attempt = claim_attempt(worker, queue)
        except StaleState:
            continue  # another worker was faster with this row: look for the next
        except DatabaseError as failure:
            log.warning("claim: %s", failure)
            connection.close()
            return ran  # the dispatcher rings again
        finally:
            release_connection()
        if attempt is None:
            return ran
        worker.heartbeat.watch(attempt)
        if worker.stopping.is_set():  # the stop came between the claim and the watch: nobody else will tell it
            attempt.stop("released")
        if ran == 0:
            wake_next(worker, queue)
        try:
            attempt.run()
        finally:
            worker.heartbeat.forget(attempt)
            release_connection()
        ran += 1
    return ran


def claim_attempt(worker: Worker, queue: str) -> Attempt | None:
    """A part in a job over several nodes that wait for this one, else the best queued job; None if there is neither."""
    member = services.claim_member(actor=worker.actor, node=worker.node, owner=worker.owner)
    if member is not None:
        return MemberAttempt(member, actor=worker.actor)
    job = services.claim_job(actor=worker.actor, node=worker.node, owner=worker.owner, queue=queue)
    return None if job is None else build_attempt(job, actor=worker.actor)


def wake_next(worker: Worker, queue: str) -> None:
    """Let one more thread look for work. A fault in it must not cost the job just claimed; the dispatcher rings too."""
    try:
        services.ring_again(actor=worker.actor, queue=queue)
    except DatabaseError as failure:
        log.warning("wake_next: %s", failure)
        connection.close()
    finally:
        release_connection()
