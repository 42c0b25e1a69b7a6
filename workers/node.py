"""This worker: its node, its owner mark, its heartbeat. Made when Celery says that the worker is ready."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
from dataclasses import dataclass, field

from celery.signals import worker_ready, worker_shutting_down
from django.conf import settings

from apps.actors import Actor, PlaneRole, plane_actor
from apps.nodes import hardware
from apps.nodes.models import Node
from apps.nodes.services import register_node
from workers import process
from workers.heartbeat import Heartbeat
from workers.runner import scratch_root

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.9  # of what there is; the rest is for the worker itself and the page cache


@dataclass
class Worker:
    actor: Actor
    node: Node
    owner: str  # unique to this process: a restarted worker is another owner
    heartbeat: Heartbeat
    stopping: threading.Event = field(default_factory=threading.Event)


_lock = threading.Lock()
_worker: Worker | None = None


def this_worker() -> Worker:
    """The worker of this process, registered on first use."""
    global _worker
    with _lock:
        if _worker is None:
            _worker = _start()
        return _worker


def _start() -> Worker:
    env = settings.ENV
    process.forbid_inspection()
    process.sweep_orphans()
    shutil.rmtree(scratch_root(), ignore_errors=True)
    found = hardware.detect(settings.PLANE_HOME)
    actor = plane_actor(PlaneRole.WORKER, host=env.node)
    node = register_node(
        actor=actor,
        name=env.node,
        host=found.host,
        boot_id=found.boot_id,
        process_id=os.getpid(),
        queues=[queue for queue in env.node_queues if queue != "gpu" or found.gpus],
        cpus=env.node_cpus or found.cpus,
        memory_bytes=env.node_memory_bytes or int(found.memory_bytes * MEMORY_SHARE),
        disk_bytes=found.disk_bytes,
        gpus=found.gpus,
        hardware=found.facts,
    )
    owner = f"{env.node}:{os.getpid()}:{secrets.token_hex(4)}"[-80:]
    heartbeat = Heartbeat(actor=actor, node=node, owner=owner)
    heartbeat.start()
    return Worker(actor=actor, node=node, owner=owner, heartbeat=heartbeat)


@worker_shutting_down.connect
def stop_jobs(**_: object) -> None:
    """A graceful stop: every attempt lets go of its process and gives its job back; that is no attempt lost."""
    if _worker is None:
        return
    _worker.stopping.set()
    with _worker.heartbeat.lock:
        for attempt in _worker.heartbeat.attempts.values():
            attempt.stop("released")


@worker_ready.connect
def register(**_: object) -> None:
    """The node appears as soon as the worker listens, not with its first job."""
    this_worker()
