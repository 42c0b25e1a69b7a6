"""An update as a state machine: each step may be done again from its beginning, and the journal says which is next.

    downloading -> verifying -> installing -> checking -> switching -> watching -> (done)
                                                              \\           \\
                                                               +----------- +-> rolling_back -> (done)

Until `switching` the version that answers is untouched. Whatever ends the agent, it finds the old version or the new
one switched on when it starts again, and goes on or goes back from there.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from deepseek.agent.errors import AgentError, ReleaseRefused
from deepseek.agent.log import JsonLog
from deepseek.agent.serving.servers import ModelServer, ServerFactory
from deepseek.agent.serving.supervisor import START_SECONDS, Supervisor
from deepseek.agent.storage.home import Home
from deepseek.agent.storage.journal import BEFORE_SWITCH, Journal, Update
from deepseek.agent.storage.state import StateFile
from deepseek.agent.updating.downloads import Downloader, require_space
from deepseek.agent.updating.health import check_health
from deepseek.agent.updating.incoming import take_brought_files
from deepseek.agent.updating.trust import ReleaseGate, get_model_key
from deepseek.agent.updating.versions import (
    get_staged_model,
    install_staged,
    is_intact,
    link_known_files,
    load_version,
    read_envelope,
    remove_unused,
    verify_files,
    write_assignment,
)
from deepseek.client.errors import PlaneRefusal
from deepseek.job import EngineError
from deepseek.signing.dsse import Envelope
from deepseek.signing.errors import SigningError
from deepseek.signing.key_lists import verify_release
from deepseek.signing.statements import HealthCheck, ReleaseStatement

MAX_TRIES = 3
"""How often an agent may begin one step: a version that ends the machine each time is not tried for ever."""
MAX_DOWNLOADS = 3
"""How often a file is fetched that has other bytes than it should."""
WAIT_SECONDS, WATCH_STEP_SECONDS = 0.1, 1.0
PROGRESS_STEP = 0.1


class Reporter(Protocol):
    """Where an update tells how it goes."""

    def report_status(self, assignment: str, step: str, **details: Any) -> None: ...

    def report_running(self, server: ModelServer, health: HealthCheck) -> None:
        """Write the receipt of the version that answers now."""


@dataclass(frozen=True)
class UpdateOutcome:
    """How an update ended. `release` is empty where its envelope could not be read."""

    release: str
    result: Literal["running", "refused", "failed", "rolled_back", "cancelled"]
    code: str = ""
    message: str = ""


class Updater:
    """The updates of one device, one at a time."""

    def __init__(
        self,
        home: Home,
        state: StateFile,
        supervisor: Supervisor,
        factory: ServerFactory,
        reporter: Reporter,
        build_gate: Callable[[], ReleaseGate],
        log: JsonLog,
        *,
        watch_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._state, self._supervisor, self._factory = home, state, supervisor, factory
        self._reporter, self._build_gate, self._log = reporter, build_gate, log
        self._watch_seconds, self._clock = watch_seconds, clock
        self.journal = Journal(home)
        self.outcome: UpdateOutcome | None = None
        """How the last update ended, since the agent started."""
        self._begun = ""  # the step that this process has begun
        self._candidate: ModelServer | None = None
        self._watched: ModelServer | None = None
        self._deadline = 0.0
        self._downloads = 0
        self._progress = -1.0
        self._fallback_error = ""

    # -- from outside -------------------------------------------------------------------------------------------------
    def begin(
        self,
        envelope: dict[str, Any],
        assignment: str | None,
        *,
        provenance: dict[str, Any] | None = None,
        from_folder: bool = False,
    ) -> None:
        """Begin an update, unless something speaks against the release: then the assignment has failed."""
        release = ""
        try:
            release = Envelope.from_document(envelope).digest
            verified = self._build_gate().check(envelope, self._state.state, provenance)
        except EngineError as error:
            self.refuse(assignment, error, release)
            return
        running, step = self._home.read_current(), "downloading"
        if from_folder:
            step = "verifying"
        elif running == verified.digest and is_intact(self._home, verified.digest):
            step = "switching"  # it is there: only the receipt is wanted
        if step == "switching":
            write_assignment(self._home, verified.digest, assignment or "")
        self._begun = ""
        self.journal.write(
            Update(
                release=verified.digest,
                envelope=envelope,
                provenance=provenance,
                step=step,  # type: ignore[arg-type]
                assignment=assignment,
                origin="folder" if from_folder else "plane",
                previous=running,
            )
        )
        self._log.write("update_begun", release=verified.digest, assignment=assignment or "", step=step)
        self._report(step)

    def refuse(self, assignment: str | None, error: EngineError, release: str = "") -> None:
        """End an assignment whose release is not installed here."""
        self.outcome = UpdateOutcome(release, "refused", error.code, str(error.message))
        self._log.write("release_refused", "error", code=error.code, reason=str(error.message))
        if assignment is not None:
            self._reporter.report_status(assignment, "failed", code=error.code, message=str(error.message))
            self._state.end_assignment(assignment)

    def cancel(self, reason: str) -> None:
        """Give an update up that has not switched yet."""
        update = self.journal.update
        if update is None or update.step not in BEFORE_SWITCH:
            return
        self._stop_candidate()
        self._report("cancelled", message=reason)
        self._log.write("update_cancelled", release=update.release, reason=reason)
        self._close(update, UpdateOutcome(update.release, "cancelled", message=reason))

    @property
    def is_before_switch(self) -> bool:
        return self.journal.update is not None and self.journal.update.step in BEFORE_SWITCH

    def stop(self) -> None:
        """End what the update has started; the journal stays."""
        self._stop_candidate()

    def step(self, downloader: Downloader | None) -> float | None:
        """Do the next step, and return the seconds until the one after it; None where there is no update, or where it
        waits for a connection (`downloader` is None). Raises PlaneAway, PlaneRefusal for a device that is refused, and
        OSError where the disk has no room for the journal or a report; the step is done again later.
        """
        update = self.journal.update
        if update is None:
            return None
        try:
            match update.step:
                case "downloading":
                    return None if downloader is None else self._download(update, downloader)
                case "verifying":
                    return self._verify(update)
                case "installing":
                    return self._install(update)
                case "checking":
                    return self._check(update)
                case "switching":
                    return self._switch(update)
                case "watching":
                    return self._watch(update)
                case "rolling_back":
                    return self._roll_back(update)
        except PlaneRefusal as refusal:
            if refusal.status in (401, 403):
                raise
            self._fail(update, refusal.code, str(refusal.message))
        except AgentError as error:
            self._fail(update, error.code, str(error.message))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                if update.step not in BEFORE_SWITCH:
                    raise  # the version that answers does so without a disk: nothing is gained by going back
                self._fail(update, code="disk_full", message=str(error.strerror))
            else:
                self._fail(update, code="disk_failed", message=error.strerror or str(error))
        except SigningError as error:
            self._fail(update, error.code, str(error.message))
        return 0.0

    # -- the steps ----------------------------------------------------------------------------------------------------
    def _download(self, update: Update, downloader: Downloader) -> float:
        statement = parse_statement(update)
        staged = get_staged_model(self._home, update.release)
        if self._begun != "downloading":
            staged.mkdir(mode=0o700, parents=True, exist_ok=True)
            link_known_files(self._home, statement, staged)
            present = round(downloader.measure_progress(statement.files) * sum(file.size for file in statement.files))
            require_space(self._home.staging, statement.files, present)
            self._begun, self._downloads, self._progress = "downloading", 0, -1.0
        try:
            is_complete = downloader.fetch_slice(statement.files)
        except ReleaseRefused as refused:
            self._downloads += 1
            if self._downloads >= MAX_DOWNLOADS:
                raise
            self._log.write("download_damaged", "warning", reason=str(refused.message))
            return WAIT_SECONDS
        progress = downloader.measure_progress(statement.files)
        if is_complete or progress >= self._progress + PROGRESS_STEP:
            self._progress = progress
            self._report("downloading", progress=progress)
        if is_complete:
            self._advance("verifying")
        return 0.0

    def _verify(self, update: Update) -> float:
        """Once more all of it: hours may have passed, and a key or the release may have been revoked."""
        verified = self._build_gate().check(update.envelope, self._state.state, update.provenance)
        if update.origin == "folder":
            take_brought_files(self._home, update.release)
        verify_files(get_staged_model(self._home, update.release), verified.statement)
        self._advance("installing")
        return 0.0

    def _install(self, update: Update) -> float:
        if (self._home.staging / update.release).exists():
            install_staged(self._home, update.release, update.envelope, update.assignment or "", update.provenance)
        self._advance("checking")
        return 0.0

    def _check(self, update: Update) -> float:
        if self._candidate is None:
            self._count_try("health_check_failed", "The agent was ended each time that it tried this version.")
            self._candidate = self._factory.start_candidate(load_version(self._home, update.release))
            self._deadline = self._clock() + START_SECONDS
            return WAIT_SECONDS
        server = self._candidate
        if server.has_ended() or self._clock() > self._deadline:
            raise build_server_error(server, "health_check_failed")
        if not server.is_ready():
            return WAIT_SECONDS
        health = check_health(server)
        self._log.write("candidate_healthy", rows=health.rows, largest_difference=health.largest_difference)
        self._stop_candidate()
        self._advance("switching", previous=self._home.read_current())
        return 0.0

    def _switch(self, update: Update) -> float:
        if self._begun != "switching":
            self._count_try("server_failed", "The agent was ended each time that it switched to this version.")
            statement = parse_statement(update)
            self._state.record_sequence(get_model_key(statement), statement.sequence, update.release)
            self._home.write_current(update.release)
            if self._supervisor.get_serving(update.release) is None:
                version = load_version(self._home, update.release)
                self._supervisor.replace(version)
            self._begun = "switching"
            return WAIT_SECONDS
        server = self._await_server(update.release)
        if server is None:
            return WAIT_SECONDS
        health = check_health(server)
        self._reporter.report_running(server, health)
        if update.previous == update.release:
            self._finish(update)
            return 0.0
        self._advance("watching")
        return 0.0

    def _watch(self, update: Update) -> float:
        if self._begun != "watching":
            self._count_try("server_failed", "The agent was ended too often while it watched this version.")
            self._begun, self._watched = "watching", None
        server = self._await_server(update.release)
        if self._watched is None:
            self._watched, self._deadline = server, self._clock() + self._watch_seconds
        elif server is not self._watched:
            raise build_server_error(self._watched, "server_failed")
        if server is None or self._clock() < self._deadline:
            return WATCH_STEP_SECONDS if self._watch_seconds >= WATCH_STEP_SECONDS else WAIT_SECONDS
        check_health(server)
        self._state.set_previous(update.previous)
        self._finish(update)
        return 0.0

    def _roll_back(self, update: Update) -> float:
        previous = self._choose_fallback(update)
        if self._begun != "rolling_back":
            self._return_to(previous)  # first: it needs no room on the disk
            self._home.write_current(previous)
            self._begun, self._deadline = "rolling_back", self._clock() + START_SECONDS
            return WAIT_SECONDS
        if previous is not None and self._clock() < self._deadline:
            if self._supervisor.next is not None:
                return WAIT_SECONDS
            server = self._supervisor.get_serving(previous)
            if server is not None:
                self._reporter.report_running(server, check_health(server))
        message = update.message
        if self._fallback_error:
            message += f" Nothing answers now, the version before cannot be used: {self._fallback_error}"
        self._report("rolled_back", code=update.code, message=message)
        self._log.write("update_rolled_back", "error", release=update.release, code=update.code)
        self._close(update, UpdateOutcome(update.release, "rolled_back", update.code, message))
        return 0.0

    # -- what steps share ---------------------------------------------------------------------------------------------
    def _await_server(self, release: str) -> ModelServer | None:
        """The server of the release; None while it starts. Raises ReleaseRefused ``server_failed``."""
        server = self._supervisor.get_serving(release)
        if server is None and (self._supervisor.next is None or self._supervisor.next.version.release != release):
            raise ReleaseRefused(
                "server_failed",
                f"The new version does not run: {self._supervisor.error or 'its server ended'}",
                field="server",
                limit="a server that answers",
                hint="server.log in the home folder says more.",
            )
        return server

    def _return_to(self, previous: str | None) -> None:
        """Let the version before answer again, or nothing where there was none."""
        if previous is None:
            self._supervisor.stop()
        elif self._supervisor.current is not None and self._supervisor.current.version.release == previous:
            self._supervisor.drop_next()
        elif self._supervisor.next is None or self._supervisor.next.version.release != previous:
            self._supervisor.replace(load_version(self._home, previous))

    def _choose_fallback(self, update: Update) -> str | None:
        """The version to go back to. One that cannot be read, or whose release or key was revoked since, is none."""
        previous, self._fallback_error = update.previous, ""
        if previous is None or previous == update.release:
            return None
        try:
            verify_release(read_envelope(self._home, previous), self._build_gate().keys)
        except (EngineError, OSError) as error:
            self._fallback_error = str(getattr(error, "message", error))
            self._log.write("fallback_refused", "error", release=previous, reason=self._fallback_error)
            return None
        return previous

    def _count_try(self, code: str, message: str) -> None:
        if self.journal.count_try() > MAX_TRIES:
            raise ReleaseRefused(code, message, field="tries", limit=MAX_TRIES, hint="Look at the log of the machine.")

    def _advance(self, step: Any, **changes: Any) -> None:
        self._begun = ""
        self.journal.advance(step, **changes)
        if step in ("verifying", "installing", "checking", "switching"):
            self._report(step)

    def _fail(self, update: Update, code: str, message: str) -> None:
        """Before the switch the update ends here; after it, it is rolled back, where it changed the version."""
        self._stop_candidate()
        self._log.write("update_failed", "error", release=update.release, step=update.step, code=code, reason=message)
        if update.step in (*BEFORE_SWITCH, "rolling_back") or update.previous == update.release:
            step: Literal["rolled_back", "failed"] = "rolled_back" if update.step == "rolling_back" else "failed"
            outcome = UpdateOutcome(update.release, step, update.code or code, update.message or message)
            self._report(step, code=outcome.code, message=outcome.message)
            self._close(update, outcome)
        else:
            self.journal.advance("rolling_back", code=code, message=message)
            self._begun = ""

    def _finish(self, update: Update) -> None:
        self._log.write("update_finished", release=update.release, assignment=update.assignment or "")
        self._close(update, UpdateOutcome(update.release, "running"))

    def _close(self, update: Update, outcome: UpdateOutcome) -> None:
        self._state.end_assignment(update.assignment)
        self.journal.close()
        self.outcome = outcome
        self._begun = ""
        self._watched = None
        self.tidy()

    def tidy(self) -> None:
        """Remove what no version and no update needs."""
        update = self.journal.update
        keep = {self._home.read_current(), self._state.state.previous}
        if update is not None:
            keep |= {update.release, update.previous}
        remove_unused(self._home, keep, {update.release} if update is not None else set())

    def _report(self, step: str, **details: Any) -> None:
        update = self.journal.update
        if update is not None and update.assignment is not None:
            self._reporter.report_status(update.assignment, step, **details)

    def _stop_candidate(self) -> None:
        server, self._candidate = self._candidate, None
        if server is not None:
            server.stop()


def parse_statement(update: Update) -> ReleaseStatement:
    """The statement of a release that was verified when the update began."""
    return ReleaseStatement.parse(Envelope.from_document(update.envelope).payload)


def build_server_error(server: ModelServer, code: str) -> ReleaseRefused:
    reason = server.describe_end() if server.has_ended() else "it was not ready in time"
    return ReleaseRefused(
        code,
        f"The server of the new version failed: {reason}",
        field="server",
        limit="a server that answers",
        hint="server.log and candidate.log in the home folder say more.",
    )
