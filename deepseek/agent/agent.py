"""The agent of one device: what it does in one turn, and when the next one is due.

A turn never waits for long: servers start and files come while the agent looks after its other work. So one thread is
enough for a device, and a few for hundreds of simulated ones.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deepseek.agent.errors import AgentError
from deepseek.agent.log import JsonLog
from deepseek.agent.options import AgentOptions
from deepseek.agent.plane.heartbeat import Heartbeat, measure_agent
from deepseek.agent.plane.observations import drop_oldest
from deepseek.agent.plane.outbox import Outbox
from deepseek.agent.plane.receipts import ReceiptWriter
from deepseek.agent.plane.session import PlaneSession
from deepseek.agent.plane.transport import PlaneAway, PlaneConnection
from deepseek.agent.serving.servers import ModelServer, ServerFactory
from deepseek.agent.serving.supervisor import Supervisor
from deepseek.agent.status import write_status
from deepseek.agent.storage.home import Home
from deepseek.agent.storage.identity import Identity, load_identity, load_or_create_key
from deepseek.agent.storage.state import StateFile
from deepseek.agent.updating.downloads import Downloader
from deepseek.agent.updating.health import check_health
from deepseek.agent.updating.incoming import find_brought
from deepseek.agent.updating.trust import ReleaseGate, TrustStore
from deepseek.agent.updating.updater import Updater
from deepseek.agent.updating.versions import (
    InstalledVersion,
    get_served_name,
    get_staged_model,
    load_version,
    read_assignment,
)
from deepseek.client.errors import PlaneRefusal
from deepseek.job import EngineError
from deepseek.signing.statements import HealthCheck

LONGEST_TURN_PAUSE = 5.0
"""Between two looks after the server."""


class Agent:
    """One device. `factory` starts its servers; `connection` is None on a device that is never connected."""

    def __init__(
        self,
        home: Home,
        options: AgentOptions,
        factory: ServerFactory,
        connection: PlaneConnection | None,
        log: JsonLog,
        *,
        architecture: str,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.home, self.options, self.log, self._clock = home, options, log, clock
        self._architecture, self._factory = architecture, factory
        self.disk_errors: dict[str, str] = {}
        """Part of a turn -> why the disk failed it last time."""
        self.state, self.trust, self.outbox = StateFile(home), TrustStore(home), Outbox(home, log)
        self.supervisor = Supervisor(factory, log, clock)
        self.session: PlaneSession | None = None
        self._offline_identity = load_identity(home) if connection is None else None
        if connection is not None:
            self.session = PlaneSession(
                home,
                options,
                connection,
                self.trust,
                self.outbox,
                log,
                architecture=architecture,
                clock=clock,
                draw=draw,
            )
        self.updater = Updater(
            home,
            self.state,
            self.supervisor,
            factory,
            self,
            self._build_gate,
            log,
            watch_seconds=options.watch_seconds,
            clock=clock,
        )
        self._start_current()

    def _start_current(self) -> None:
        """Let the version that is switched on answer. An update that has begun to switch starts its own server."""
        release, update = self.home.read_current(), self.updater.journal.update
        if release is not None and (update is None or update.step not in ("switching", "rolling_back")):
            self._serve(release)

    def _serve(self, release: str) -> None:
        """Let an installed version answer, if it can be read."""
        try:
            self.supervisor.replace(load_version(self.home, release))
        except (OSError, ValueError, EngineError) as error:
            self.supervisor.error = f"the installed version cannot be read: {error}"
            self.log.write("version_damaged", "error", release=release, reason=str(error))

    @property
    def identity(self) -> Identity | None:
        """Who the device is; None before it has enrolled."""
        return self._offline_identity if self.session is None else self.session.identity

    # -- turns --------------------------------------------------------------------------------------------------------
    def run_turn(self) -> float:
        """Do what is due, and return the seconds until the next turn. Raises AgentError as `PlaneSession.talk`."""
        pause = due = LONGEST_TURN_PAUSE
        with self._tolerate_disk("servers"):
            self.supervisor.step()
        if self.session is not None:
            with self._tolerate_disk("plane"):
                models = self._list_models() if self.session.seconds_until_due() == 0.0 else {}
                self.session.talk(self._look(), self._measure, models)
            with self._tolerate_disk("assignment"):
                self._follow_recording()
                self._follow_assignment()
        with self._tolerate_disk("update"):
            self._take_brought()
            pause = self._step_update()
        with self._tolerate_disk("reports"):
            self._keep_reported()
            drop_oldest(self.home.recorded, self.log)
        write_status(self)
        release = self.home.read_current()
        if self.disk_errors and self.supervisor.is_idle and release is not None:
            self._serve(release)  # an update that is to switch waits for room on the disk, and nothing else answers
        if self.supervisor.next is not None:
            pause = min(pause, 0.1)
        if self.session is not None and not self.disk_errors:
            due = self.session.seconds_until_due()
        return min(pause, due, LONGEST_TURN_PAUSE)

    @contextmanager
    def _tolerate_disk(self, part: str) -> Iterator[None]:
        """Go on where the disk fails a part of a turn: the next turn does it again, and what answers goes on."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if self.disk_errors.get(part) != reason:
                self.log.write("disk_failed", "error", part=part, reason=reason)
            self.disk_errors[part] = reason
        else:
            self.disk_errors.pop(part, None)

    def close(self) -> None:
        """End the servers. The journal says where to go on."""
        self.updater.stop()
        self.supervisor.stop()
        self._factory.close()
        if self.session is not None:
            self.session.connection.close()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way: the plane was asked, no update runs, and all messages are sent."""
        session = self.session
        has_polled = session is None or session.polls > 0
        waits = session is not None and len(self.outbox) > 0
        return has_polled and not waits and self.updater.journal.update is None and find_brought(self.home) is None

    # -- updates ------------------------------------------------------------------------------------------------------
    def _step_update(self) -> float:
        """One step of the update, and the seconds until the next."""
        session, update, downloader = self.session, self.updater.journal.update, None
        if update is None:
            return LONGEST_TURN_PAUSE
        if session is not None and session.is_open and session.identity is not None:
            folder = get_staged_model(self.home, update.release)
            downloader = Downloader(
                session.connection, folder, self.home.disk, seconds=self.options.slice_seconds, clock=self._clock
            )
        before = session.connection.answers if session is not None else 0
        try:
            pause = self.updater.step(downloader)
        except PlaneAway as away:
            assert session is not None  # noqa: S101  who else would be away
            session.note_away(away)
            return LONGEST_TURN_PAUSE
        except PlaneRefusal as refusal:
            assert session is not None  # noqa: S101
            session.note_refusal(refusal)
            return LONGEST_TURN_PAUSE
        if session is not None and session.connection.answers > before:
            session.link.note_success()
        if self.updater.journal.update is None:
            return 0.0
        return LONGEST_TURN_PAUSE if pause is None else pause

    def _take_brought(self) -> None:
        """Begin the update of a release that was carried here."""
        if self.updater.journal.update is not None:
            return
        brought = find_brought(self.home)
        if brought is None:
            return
        try:
            if brought.keys is not None and (self.trust.keys is not None or brought.fingerprint):
                self.trust.accept(brought.keys, fingerprint=brought.fingerprint)
            self.trust.require_keys()
        except EngineError as error:
            self.updater.refuse(None, error, brought.release)
        else:
            self.updater.begin(brought.envelope, None, provenance=brought.provenance, from_folder=True)
        if self.updater.journal.update is None:
            self.home.disk.remove_tree(self.home.incoming / brought.release)

    def _follow_assignment(self) -> None:
        """Begin or give up an update as the last poll says."""
        session = self.session
        if session is None or session.answer is None:
            return
        answer, update = session.answer, self.updater.journal.update
        wanted = answer.assignment if answer.state == "active" else None
        is_ours = update is not None and update.origin == "plane"
        if wanted is None or wanted.id in self.state.state.ended:
            if is_ours and self.updater.is_before_switch:
                self.updater.cancel("The plane took the assignment back.")
        elif is_ours and update is not None and update.assignment == wanted.id:
            if wanted.action == "cancel":
                self.updater.cancel("The plane cancelled the assignment.")
        elif wanted.action == "cancel":
            self.report_status(wanted.id, "cancelled")
            self.state.end_assignment(wanted.id)
        elif update is None or (is_ours and self.updater.is_before_switch):
            self.updater.cancel("Another release was assigned.")
            if session.keys_error is not None:
                self.updater.refuse(wanted.id, session.keys_error)
            else:
                self.updater.begin(wanted.envelope, wanted.id, provenance=wanted.provenance)

    def _build_gate(self) -> ReleaseGate:
        project = self.identity.project if self.identity is not None else ""
        keys, is_required = self.trust.require_keys(), self.options.is_provenance_required
        return ReleaseGate(keys, self._architecture, project, is_provenance_required=is_required)

    # -- reports: what the updater calls ------------------------------------------------------------------------------
    def report_status(self, assignment: str, step: str, **details: Any) -> None:
        self.outbox.add_status(assignment, step, **details)

    def report_running(self, server: ModelServer, health: HealthCheck) -> None:
        """Put the receipt of the version that answers into the outbox. A device without an identity has none yet."""
        if self.identity is None:
            return
        writer = ReceiptWriter(self.identity, load_or_create_key(self.home))
        counter, release = self.state.next_counter(), server.version.release
        assignment = read_assignment(self.home, release)
        receipt = writer.sign(
            server.version, health, assignment=assignment, counter=counter, started_at=server.started_at
        )
        self.outbox.add_receipt(receipt)
        self.state.set_reported(release)
        self.log.write("receipt_written", release=release, counter=counter, rows=health.rows)

    def _keep_reported(self) -> None:
        """Write the receipt of a version that runs without one: it was carried here before the device had enrolled."""
        release = self.home.read_current()
        if release is None or release == self.state.state.reported or self.updater.journal.update is not None:
            return
        server = self.supervisor.get_serving(release)
        if server is None or self.identity is None:
            return
        try:
            self.report_running(server, check_health(server))
        except AgentError as error:
            self.supervisor.error = str(error.message)

    # -- what the session asks for ------------------------------------------------------------------------------------
    def _look(self) -> Heartbeat:
        """The heartbeat of now. Until the receipt of another version is signed it names the last reported one: to the
        plane a heartbeat that runs ahead of its receipt is that of a device that runs what it was not given."""
        release, update = self.home.read_current(), self.updater.journal.update
        server = None if release is None else self.supervisor.get_serving(release)
        if update is not None and update.step in ("switching", "rolling_back"):
            release, server = self.state.state.reported, self.supervisor.current
        has_installed = update is not None and update.step in ("checking", "switching", "watching")
        return Heartbeat(
            running=release if server is not None else None,
            installed=update.release if has_installed and update is not None else release,
            health="unknown" if release is None else "healthy" if server and not self.supervisor.error else "failing",
        )

    def _measure(self) -> dict[str, float]:
        """The figures of a heartbeat."""
        server = self.supervisor.current
        figures = measure_agent(self.home.folder)
        figures |= {"outbox_messages": len(self.outbox), "server_restarts": self.supervisor.restarts}
        return figures if server is None else {**figures, **server.read_metrics()}

    def _list_models(self) -> dict[str, str]:
        """Name of a model in its server -> in the plane, of the versions whose predictions may wait."""
        models = {}
        for release in (self.state.state.previous, self.home.read_current()):
            version = self._load(release)
            if version is not None:
                models[get_served_name(version.statement)] = version.statement.model
        return models

    def _load(self, release: str | None) -> InstalledVersion | None:
        try:
            return None if release is None else load_version(self.home, release)
        except (OSError, ValueError, EngineError):
            return None

    def _follow_recording(self) -> None:
        """Record the share of predictions that the plane wants: another share needs another server."""
        session, server = self.session, self.supervisor.current
        if session is None or session.answer is None or self.updater.journal.update is not None:
            return
        wanted = session.answer.recording
        self.supervisor.recording = wanted
        if server is not None and self.supervisor.next is None and server.recording != wanted:
            self.log.write("recording_changed", rate=wanted.rate if wanted else 0.0)
            self.supervisor.replace(server.version)
