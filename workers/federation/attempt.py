"""An attempt of a study's job: its folder in the sandbox, its way to the other side, and what it reports meanwhile."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError, Unavailable
from apps.ml.federation.models import SiteStudy, Study
from apps.ml.federation.queries import find_site_study_of_job, find_study_of_job
from apps.ml.federation.services.attempts import bind_home, confirm_participation, release_home
from apps.ml.federation.services.ledger import record_ledger_entries
from apps.ml.federation.services.results import record_round
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import bind_job, release_job
from apps.platform.nodes.models import Node
from deepseek.collect.hosts import find_uncovered
from deepseek.federated.spec import MAX_ROUNDS
from deepseek.federated.tunnel import LISTENER
from deepseek.messages import N_, Message
from workers.attempt_slots import AttemptSlot
from workers.federation.homes import (
    SERVER_KIND,
    SITE_KIND,
    has_ledger,
    prepare_home,
    read_ledger_lines,
    read_rounds,
    remove_keys,
    restore_ledger,
)
from workers.isolation import detect_isolation
from workers.process import EngineProcess
from workers.runner import Attempt, AttemptStopped

log = logging.getLogger(__name__)
KINDS = (SERVER_KIND, SITE_KIND)
HOME = "home"
MOVED = "moved"  # why an attempt stops that another node has to make
REPORT_SECONDS = 1.0
MAX_LINES_PER_REPORT = 500
BACKLOG = 100  # connections that wait to be accepted


class FederationAttempt(Attempt):
    """The job of a study's server, or of a site."""

    def __init__(self, job: Job, *, actor: Actor) -> None:
        super().__init__(job, actor=actor)
        self.home = Path()
        self.site_study: SiteStudy | None = None
        self.study: Study | None = None
        self.offset = 0  # of the ledger: what is before it is in the database
        self.round = 0  # the last one that is
        self.reported_at = 0.0

    # -- before ---------------------------------------------------------------------------------------------------
    def stage(self) -> dict[str, str]:
        """The inputs, and the study's folder. What was approved is compared before the keys are put there; what an
        attempt before this one recorded is reported first."""
        self.retry_until_lease_expires(lambda: confirm_participation(actor=self.actor, job=self.job))
        self.retry_until_lease_expires(self.find_rows)
        if self.site_study is not None and self.site_study.home_node not in (None, self.job.node):
            self.move_to(self.site_study.home_node)
        staged = super().stage()
        self.home = self.retry_until_lease_expires(lambda: prepare_home(self.job, actor=self.actor))
        try:
            if self.site_study is not None:
                row = self.site_study
                self.retry_until_lease_expires(lambda: restore_ledger(row, self.home, actor=self.actor))
            self.retry_until_lease_expires(self.report)
        except BaseException:
            remove_keys(self.home, self.job)
            raise
        return staged | {HOME: str(self.home)}

    def move_to(self, node: Node | None) -> None:
        """Give the job back for the node whose folder has the study's state, and no other."""
        self.retry_until_lease_expires(lambda: bind_job(actor=self.actor, job=self.job, node=node))
        self.stop(MOVED)
        raise AttemptStopped

    def report_stop(self) -> Job | None:
        if self.reason != MOVED or self.job.bound_to is None:
            return super().report_stop()
        reason = Message("The state of the study is on {node}", node=self.job.bound_to.name)
        return release_job(actor=self.actor, job=self.copy_job(), reason=reason)

    def find_rows(self) -> None:
        if self.job.kind == SITE_KIND:
            self.site_study = find_site_study_of_job(self.actor, self.job.pk)
        else:
            self.study = find_study_of_job(self.actor, self.job.pk)

    def plan(self, place: AttemptSlot) -> dict[str, Any]:
        """The sandbox, in which the folder can be written; of a site with the way to its server, and no other."""
        plan = super().plan(place)
        plan["sandbox"]["writable"] = [str(self.home)]
        spec = json.loads(self.job.spec)
        if self.job.kind == SITE_KIND:
            target = spec["proxy"] or spec["server"]
            require_server(target)
            if plan["sandbox"]["way"] != "none":
                plan["connect"] = {"wanted": [target], "allowed": settings.ENV.federation_servers}
        else:
            require_port(spec["port"])
        return plan

    def start_process(self, request: Mapping[str, Any], **options: Any) -> EngineProcess:
        """Give the engine of a server a socket that listens: it has no other part of this machine's network. From its
        start on a site's job stays on this node."""
        if self.site_study is not None:
            self.bind()
        if self.job.kind != SERVER_KIND or detect_isolation().way == "none":
            return super().start_process(request, **options)
        spec = json.loads(self.job.spec)
        with open_listener(spec["host"], spec["port"]) as listener:
            number = listener.fileno()
            options["settings"] = {**(options.get("settings") or {}), LISTENER: str(number)}
            return super().start_process(request, **options, descriptors=(number,))

    def bind(self) -> None:
        """Bind the job, and every later one of the study, to this node: a state comes into being here."""
        node = self.job.node
        if node is None:
            return
        home_node = self.retry_until_lease_expires(lambda: bind_home(actor=self.actor, job=self.job, node=node))
        if home_node != node:  # another attempt was faster
            self.move_to(home_node)
        self.retry_until_lease_expires(lambda: bind_job(actor=self.actor, job=self.job, node=node))

    def unbind(self) -> None:
        """Let another node begin where this one has come to nothing: there is no line in the ledger, so no state."""
        node = self.job.node
        if self.site_study is None or node is None or has_ledger(self.home):
            return
        release_home(actor=self.actor, job=self.job, node=node)
        bind_job(actor=self.actor, job=self.job, node=None)

    # -- during ---------------------------------------------------------------------------------------------------
    def observe_progress(self) -> None:
        if time.monotonic() - self.reported_at >= REPORT_SECONDS:
            self.tolerate_database_outage(self.report)
            self.reported_at = time.monotonic()

    def execute(self, inputs: Mapping[str, str]) -> int:
        """Run the engine; however it ended, all that it recorded is reported before the job's end is."""
        try:
            return super().execute(inputs)
        finally:
            try:
                remove_keys(self.home, self.job)
            finally:
                self.retry_until_lease_expires(self.report)
            if self.reason not in ("lost", "outage"):
                self.retry_until_lease_expires(self.unbind)

    def report(self) -> None:
        """Record the new lines of the ledger, and the new rounds."""
        if self.site_study is not None:
            self.report_ledger(self.site_study)
        if self.study is not None:
            self.report_rounds(self.study)

    def report_ledger(self, site_study: SiteStudy) -> None:
        while True:
            entries, end = read_ledger_lines(self.home, self.offset)
            if end == self.offset:
                return
            self.record_entries(site_study, entries)
            self.offset = end

    def record_entries(self, site_study: SiteStudy, entries: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(entries), MAX_LINES_PER_REPORT):
            batch = entries[start : start + MAX_LINES_PER_REPORT]
            try:
                record_ledger_entries(actor=self.actor, site_study=site_study, entries=batch)
            except Invalid as fault:  # the others of the batch are recorded
                log.warning("job %s: a line of its ledger is refused: %s", self.job.pk, fault)
                self.relay.log(f"A line of the egress ledger is not accepted: {fault}", "error")

    def report_rounds(self, study: Study) -> None:
        for each in read_rounds(self.home):
            number, epsilons = each.get("round"), each.get("epsilon")
            if not isinstance(number, int) or not self.round < number <= MAX_ROUNDS or not isinstance(epsilons, dict):
                continue
            spent = [value for value in epsilons.values() if isinstance(value, int | float) and math.isfinite(value)]
            record_round(
                actor=self.actor,
                study=study,
                number=number,
                sites_count=len(each.get("sites", [])),
                refused_count=len(each.get("refused", [])),
                metrics={"norm": each.get("norm", {}), "missing": each.get("missing", [])},
                epsilon=max(spent, default=None),
            )
            self.round = number


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises Unavailable ``port_unavailable``, after which the job is tried again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        os.set_blocking(listener.fileno(), True)
    except OSError as failure:
        listener.close()
        raise Unavailable(
            "The server of the study cannot listen on {host}:{port}: {reason}.",
            host=host,
            port=port,
            reason=failure.strerror or "",
            code="port_unavailable",
            field="/spec/port",
            limit=N_("a free port of this node"),
            hint=N_("Stop what listens there, or make a study with another port."),
        ) from None
    return listener


def require_server(target: str) -> None:
    """Raise PlaneError unless the operator lets jobs connect to the address."""
    if find_uncovered([target], settings.ENV.federation_servers):
        raise PlaneError(
            "Jobs on this node may not connect to {target}.",
            target=target,
            code="server_not_allowed",
            field="/spec/server",
            limit=", ".join(settings.ENV.federation_servers) or N_("no address"),
            hint=N_("Have the operator add it to FEDERATION_SERVERS of the worker."),
        )


def require_port(port: int) -> None:
    """Raise PlaneError unless the operator lets servers of studies listen on the port."""
    allowed = settings.ENV.federation_ports
    if port not in allowed:
        raise PlaneError(
            "Servers of studies may not listen on port {port} here.",
            port=port,
            code="port_not_allowed",
            field="/spec/port",
            limit=", ".join(map(str, allowed)) or N_("no port"),
            hint=N_("Have the operator add it to FEDERATION_PORTS of the worker."),
        )
