"""This worker: its node, its owner mark, its heartbeat. Made when Celery says that the worker is ready."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from celery.signals import worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.platform.jobs import services
from apps.platform.nodes import hardware
from apps.platform.nodes.extras import CLUSTER, GANG, SCALE, SERVING, detect_extras
from apps.platform.nodes.models import Node
from apps.platform.nodes.services import register_node
from apps.site.snapshots.environments.services import record_environment
from deepseek.environments.inventory import collect_environment
from workers import cgroups, process
from workers.endpoints.keeper import EndpointKeeper, get_keeper_folder
from workers.heartbeat import Heartbeat
from workers.images import store
from workers.inspection import forbid_inspection
from workers.isolation import Isolation, can_join_gangs, detect_isolation, get_scratch_root
from workers.transfer.runner import BundleRunner

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.9  # of what there is; the rest is for the worker itself and the page cache
REGISTER_SECONDS = 1.0  # between two tries
STOP_SECONDS = 8.0  # of the keeper: a launcher waits 10 s for a worker


@dataclass
class Worker:
    actor: Actor
    node: Node
    owner: str  # unique to this process: a restarted worker is another owner
    heartbeat: Heartbeat
    stopping: threading.Event = field(default_factory=threading.Event)
    keeper: EndpointKeeper | None = None  # of the servers of endpoints, where the node offers serving
    bundles: BundleRunner | None = None


STOPPING = threading.Event()  # of this process: a stop may come before the worker is registered
_lock = threading.Lock()
_worker: Worker | None = None


def get_worker() -> Worker:
    """The worker of this process, registered on first use; raises DatabaseError while that cannot be written."""
    global _worker
    with _lock:
        if _worker is None:
            _worker = _start()
        return _worker


def _start() -> Worker:
    env = settings.ENV
    forbid_inspection()
    process.kill_orphans()
    overwrite = env.scratch_wipe == "overwrite"
    process.remove_stale_scratch(get_scratch_root(), overwrite=overwrite)
    if env.cluster_folder:
        process.remove_stale_scratch(Path(env.cluster_folder), prefix=f"{env.node}-", overwrite=overwrite)
    store.remove_unused_images()
    memory_limit = "cgroup" if cgroups.prepare_delegated() else "watch"
    machine, isolation = hardware.detect(settings.PLANE_HOME), detect_isolation()
    environments = store.describe_environments(why_no_images=isolation.why_no_images)
    serving = describe_serving()
    actor = build_plane_actor(PlaneRole.WORKER, host=env.node)
    node = register_node(
        actor=actor,
        name=env.node,
        host=machine.host,
        boot_id=machine.boot_id,
        process_id=os.getpid(),
        queues=[queue for queue in env.node_queues if queue != "gpu" or machine.gpus] if can_run(isolation) else [],
        cpus=env.node_cpus or machine.cpus,
        memory_bytes=env.node_memory_bytes or int(machine.memory_bytes * MEMORY_SHARE),
        disk_bytes=machine.disk_bytes,
        gpus=machine.gpus,
        extras=add_cluster(
            detect_extras(
                env.collect_hosts,
                runs_scripts=isolation.runs_scripts or env.script_sandbox == "off",
                environments=[row["name"] for row in environments if "reason" not in row],
            )
        )
        + ([GANG] if can_join_gangs(isolation) else [])
        + ([SERVING] if serving else []),
        hardware={
            **machine.facts,
            "memory_limit": memory_limit,
            "isolation": describe_isolation(isolation),
            "environments": environments,
            **({"serving": serving} if serving else {}),
        },
    )
    # What a predecessor on this machine held is nobody's now, and waits for no lease.
    services.recover_abandoned(actor=actor, place=f":{process.get_realm()}:", is_gone=process.is_abandoned)
    owner = process.name_owner(env.node)
    heartbeat = Heartbeat(actor=actor, node=node, owner=owner)
    heartbeat.start()
    keeper = EndpointKeeper(actor=actor, node=node, folder=get_keeper_folder()) if serving else None
    if keeper is not None:
        keeper.start()
    return Worker(actor=actor, node=node, owner=owner, heartbeat=heartbeat, stopping=STOPPING, keeper=keeper)


def add_cluster(extras: list[str]) -> list[str]:
    """The extras, with the operator's Dask cluster where this worker knows one and has Dask."""
    return [*extras, CLUSTER] if settings.ENV.cluster_address and SCALE in extras else extras


def describe_serving() -> dict[str, Any]:
    """Where servers of endpoints listen on this node; empty where it offers none."""
    env = settings.ENV
    if not (env.endpoint_ports and find_spec("fastapi") and find_spec("uvicorn")):
        return {}
    first, _, last = env.endpoint_ports.partition("-")
    return {
        "address": env.endpoint_address,
        "ports": [int(first), int(last)],
        "tls": bool(env.endpoint_certificate),
    }


def describe_isolation(isolation: Isolation) -> dict[str, Any]:
    """The facts of the node's isolation, with whether the operator lets scripts run without a whole sandbox."""
    return isolation.facts() | {"scripts_unlocked": settings.ENV.script_sandbox == "off" and not isolation.runs_scripts}


def can_run(isolation: Isolation) -> bool:
    """Whether jobs may run here at all: a node that cannot lock them in takes none where the operator demands that."""
    if isolation.way != "none":
        return True
    log.warning("Jobs are not isolated on this node; its page says why.")
    return settings.ENV.isolation != "required"


@worker_shutting_down.connect
def stop_jobs(**_: object) -> None:
    """A graceful stop: every attempt lets go of its process and gives its job back; that is no attempt lost."""
    STOPPING.set()
    if _worker is None:
        return
    if _worker.keeper is not None:
        _worker.keeper.ask_to_stop()
    with _worker.heartbeat.lock:
        for attempt in _worker.heartbeat.attempts.values():
            attempt.stop("released")


@worker_shutdown.connect
def await_keeper(**_: object) -> None:
    """Let the servers of endpoints end that an orderly stop ends."""
    if _worker is not None and _worker.keeper is not None:
        _worker.keeper.join(STOP_SECONDS)


@worker_ready.connect
def register(**_: object) -> None:
    """Register the node when the worker starts to listen: no doorbell rings for a node that is not registered."""
    threading.Thread(target=register_until_done, name="register", daemon=True).start()


def report_environment(worker: Worker) -> None:
    """Record the packages, drivers and firmware of this node; one that cannot list them works all the same."""
    try:
        document = collect_environment(worker.node.gpus)
    except Exception:
        log.exception("the environment of this node is not recorded")
    else:
        record_environment(actor=worker.actor, node=worker.node, document=document)


def register_until_done() -> None:
    """Register the node and record its environment. A database that is away at the start is waited for: the broker may
    be there, and doorbells are no proof."""
    while not STOPPING.is_set():
        try:
            worker = get_worker()
            if worker.bundles is None:
                worker.bundles = BundleRunner(actor=worker.actor, stopping=STOPPING)
                worker.bundles.start()
            report_environment(worker)
            return
        except DatabaseError as failure:
            log.warning("not registered yet: %s", failure)
        except Exception:
            log.exception("not registered yet")
        finally:
            connection.close()
        STOPPING.wait(REGISTER_SECONDS)
