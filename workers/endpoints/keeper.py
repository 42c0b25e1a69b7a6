"""The keeper of a node: lets the servers of endpoints run as the plane wants them, and reports what they do.

The servers are sessions of their own. They survive this worker and its launcher, however these end, and go on
answering while the database is away. A new keeper adopts them by pid and start time out of its state files. Only an
orderly stop of the worker ends them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from django.db.models import Exists, OuterRef, QuerySet

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.ml.endpoints import services
from apps.ml.endpoints.access import list_token_digests
from apps.ml.endpoints.models import Endpoint, Replica
from apps.ml.endpoints.queries import list_node_replicas
from apps.ml.endpoints.states import ACTIVE
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.artifacts.models import Artifact
from apps.platform.nodes.models import Node
from deepseek.messages import Message
from workers.endpoints.access import ServerAccess
from workers.endpoints.delivery import deliver_predictions
from workers.endpoints.replica import ReplicaRunner, ReplicaTarget
from workers.endpoints.server_process import STOP_SECONDS, ForkServer
from workers.endpoints.staging import VersionFiles, remove_unused
from workers.process import is_ending

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
REPORT_SECONDS = 3.0
CLEAN_SECONDS = 60.0
DELIVERY_SECONDS = 5.0
PARENT_SECONDS = 0.3
MANIFEST, HELDOUT = "model.json", "heldout.safetensors"
PARENT = os.getppid()  # launcher or service manager: a stop after its death is none that somebody asked for


def get_keeper_folder() -> Path:
    return Path(settings.PLANE_HOME) / "endpoints" / settings.ENV.node


def is_orderly() -> bool:
    """Whether whoever started this worker still lives: a dead launcher's TERM must not end the servers.

    A killed launcher ends thread by thread. The TERM comes with the first, and it is the parent until the last, which
    may wait for a processor longer than this waits.
    """
    deadline = time.monotonic() + PARENT_SECONDS
    while os.getppid() == PARENT and not is_ending(PARENT):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


class EndpointKeeper(threading.Thread):
    """One per worker. The database is read and written in this thread alone."""

    def __init__(self, *, actor: Actor, node: Node, folder: Path) -> None:
        super().__init__(name="endpoints", daemon=True)
        self.actor, self.node, self.folder = actor, node, folder
        self.runners: dict[int, ReplicaRunner] = {}
        self.fork_server = ForkServer(folder)
        self.reports: dict[int, tuple[Any, ...]] = {}
        self.reported_at = self.cleaned_at = self.delivered_at = 0.0
        self.ended = threading.Event()
        self.ends_servers = False
        self.lock_file: IO[str] | None = None

    def run(self) -> None:
        try:
            if self.take_lock():
                self.adopt()
                while not self.ended.wait(POLL_SECONDS):
                    self.run_round()
                self.finish()
        finally:
            if self.lock_file is not None:
                self.lock_file.close()

    def run_round(self) -> None:
        try:
            self.sync()
            if all(runner.stopped.is_set() for runner in self.runners.values()):
                self.fork_server.close()
        except DatabaseError as failure:  # the servers go on, and dead ones are started again as they were
            log.warning("endpoints: %s", failure)
        except Exception:  # whatever it is: without this thread no endpoint follows its alias
            log.exception("endpoints")
        finally:
            connection.close() if connection.vendor != "sqlite" else close_old_connections()

    def take_lock(self) -> bool:
        """Wait for a predecessor that still stops; False if this worker ends before."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.lock_file = (self.folder / "keeper.lock").open("a+")
        while True:
            try:
                fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if self.ended.wait(POLL_SECONDS):
                    return False
            else:
                return True

    def adopt(self) -> None:
        """Go on with the servers of a predecessor, before the database is asked what has changed."""
        for path in self.folder.glob("replica-*.json"):
            key = path.stem.removeprefix("replica-")
            if key.isdigit():
                self.add_runner(ReplicaRunner(int(key), self.folder, fork_server=self.fork_server))

    def add_runner(self, runner: ReplicaRunner) -> None:
        self.runners[runner.key] = runner
        if runner.is_adopted:
            log.warning("replica %s: its server, process %s, is adopted", runner.key, runner.record.get("pid"))
        runner.start()

    def sync(self) -> None:
        """One round: what the plane wants goes to the runners, what these have seen goes to the plane."""
        replicas = list_node_replicas(self.actor, self.node)
        for replica in replicas:
            if replica.last_seen is None and replica.pk not in self.runners:
                self.choose_port(replica)
        targets = build_targets(self.node, replicas)
        for key, target in targets.items():
            runner = self.runners.get(key)
            if runner is not None:
                runner.set_target(target)
            elif target.is_active:
                self.add_runner(ReplicaRunner(key, self.folder, target, self.fork_server))
        for key in [key for key in self.runners if key not in targets]:
            self.drop(key)
        self.report(replicas, targets)
        if time.monotonic() - self.delivered_at > DELIVERY_SECONDS:
            self.delivered_at = time.monotonic()
            for replica in replicas:
                deliver_predictions(self.actor, replica, self.folder / f"recorded-{replica.pk}")
        if time.monotonic() - self.cleaned_at > CLEAN_SECONDS:
            self.cleaned_at = time.monotonic()
            used = {name for runner in self.runners.values() for name in runner.list_used_folders()}
            remove_unused(self.folder / "versions", used)

    def choose_port(self, replica: Replica) -> None:
        """Move a replica that has never run to a port that nothing else on this machine has."""
        serving = self.node.hardware["serving"]
        if is_free(serving["address"], replica.port):
            return
        used_ports = set(Replica.objects.filter(node=self.node).values_list("port", flat=True))
        first, last = serving["ports"]
        free = (port for port in range(first, last + 1) if port not in used_ports and is_free(serving["address"], port))
        port = next(free, None)
        if port is None:
            return  # its server will say so
        try:
            services.move_replica(actor=self.actor, replica=replica, port=port)
        except StaleState:
            return  # the next round reads it again

    def drop(self, key: int) -> None:
        """End the server of a replica that the plane has forgotten."""
        runner = self.runners.pop(key)
        runner.ended.set()
        runner.join()
        runner.stop_server()
        runner.state_file.unlink(missing_ok=True)
        runner.token_file.unlink(missing_ok=True)
        self.reports.pop(key, None)

    def report(self, replicas: Iterable[Replica], targets: dict[int, ReplicaTarget]) -> None:
        """Tell of each replica what has changed at once, the rest every few seconds."""
        is_due = time.monotonic() - self.reported_at > REPORT_SECONDS
        if is_due:
            self.reported_at = time.monotonic()
        for replica in replicas:
            runner = self.runners.get(replica.pk)
            is_ended = runner is None or runner.stopped.is_set()
            if replica.is_removed and is_ended and not targets[replica.pk].is_active:
                if runner is not None:
                    self.drop(replica.pk)
                services.forget_replica(actor=self.actor, replica=replica)
            elif runner is not None:
                self.report_runner(replica, runner, is_due=is_due)

    def report_runner(self, replica: Replica, runner: ReplicaRunner, *, is_due: bool) -> None:
        report = runner.build_report()
        changes = (report.state, report.version_id, report.error, report.process_id)
        if not is_due and self.reports.get(replica.pk) == changes:
            return
        try:
            services.report_replica(actor=self.actor, replica=replica, report=report)
        except StaleState:  # the next round reads it again
            return
        self.reports[replica.pk] = changes

    # -- the end ----------------------------------------------------------------------------------------------------
    def ask_to_stop(self) -> None:
        """The worker stops. Its servers end with it if that is an orderly stop. May be called in a signal handler."""
        self.ends_servers = is_orderly()
        if self.ends_servers:
            for runner in list(self.runners.values()):
                runner.ask_to_end()
        self.ended.set()

    def finish(self) -> None:
        """Wait for the servers that an orderly stop ends, and say so; leave them all as they are."""
        for runner in self.runners.values():
            runner.ended.set()
        self.fork_server.close()
        if not self.ends_servers:
            return
        deadline = time.monotonic() + STOP_SECONDS
        for runner in self.runners.values():
            runner.join(max(0.0, deadline - time.monotonic()))
            runner.stop_server()
        try:
            for replica in list_node_replicas(self.actor, self.node):
                if replica.pk in self.runners:
                    self.report_runner(replica, self.runners[replica.pk], is_due=True)
        except (DatabaseError, StaleState) as failure:
            log.warning("endpoints: %s", failure)
        finally:
            connection.close()


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there."""
    try:
        socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET).close()
    except OSError:
        return False
    return True


def build_targets(node: Node, replicas: Collection[Replica]) -> dict[int, ReplicaTarget]:
    """What the plane wants of each replica of the node. One query more, for the files of the versions."""
    endpoints = {replica.endpoint_id: replica.endpoint for replica in replicas}.values()
    versions = {key for row in endpoints for key in (row.version_id, row.shadow_version_id) if key is not None}
    names = {endpoint.variant for endpoint in endpoints}
    rows = select_variants().filter(version__in=versions, name__in=names) if versions else ()
    forms = {(variant.version_id, variant.name): list_files(variant) for variant in rows}
    return {replica.pk: build_target(node, replica, replica.endpoint, forms) for replica in replicas}


def build_target(
    node: Node, replica: Replica, endpoint: Endpoint, forms: dict[tuple[int, str], VersionFiles]
) -> ReplicaTarget:
    def find(version: ModelVersion | None) -> VersionFiles | None:
        return forms.get((version.pk, endpoint.variant)) if version is not None else None

    version = find(endpoint.version)
    why = Message("{version} has no variant {name!r}.", version=endpoint.version, name=endpoint.variant)
    return ReplicaTarget(
        endpoint=endpoint.name,
        address=node.hardware["serving"]["address"],
        port=replica.port,
        is_active=endpoint.state in ACTIVE and not replica.is_removed,
        version=version,
        why="" if version else why,
        shadow=find(endpoint.shadow_version),
        shadow_rate=endpoint.shadow_rate,
        sampling_rate=endpoint.sampling_rate,
        access=build_access(endpoint, node.hardware["serving"]["address"]),
    )


def build_access(endpoint: Endpoint, address: str) -> ServerAccess:
    env = settings.ENV
    digests = list_token_digests(endpoint.pk, endpoint.token_digest, address)
    certificate, key = (
        str(Path(path).resolve()) if path else "" for path in (env.endpoint_certificate, env.endpoint_certificate_key)
    )
    return ServerAccess(token_digests=tuple(digests), certificate=certificate, key=key)


def select_variants() -> QuerySet[Variant]:
    """Variants as `list_files` takes them.

    A version that came in a bundle names held-out rows that stayed on its source: servers check themselves on others.
    """
    is_here = Exists(Artifact.objects.filter(digest=OuterRef("heldout")))
    return Variant.objects.select_related("version").annotate(has_heldout=is_here)


def list_files(variant: Variant) -> VersionFiles:
    """The files of a form, as `deepseek serve` takes them in one folder."""
    files = [(MANIFEST, variant.manifest_id), (variant.file, variant.artifact_id)]
    if variant.has_heldout:  # type: ignore[attr-defined]
        files.append((HELDOUT, variant.heldout))
    return VersionFiles(variant.version_id, variant.version.number, tuple(files))
