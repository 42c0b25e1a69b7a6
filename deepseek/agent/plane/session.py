"""The conversation with the plane: enrolment, polls, keys, messages, heartbeats and predictions, each when due."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from deepseek.agent.errors import AgentError, AgentFailure, EnrolmentRefused
from deepseek.agent.log import JsonLog
from deepseek.agent.options import AgentOptions
from deepseek.agent.plane.enrolment import enrol_device, suggest_name
from deepseek.agent.plane.heartbeat import Heartbeat, measure_offset
from deepseek.agent.plane.link import Link
from deepseek.agent.plane.observations import send_labels, send_predictions
from deepseek.agent.plane.outbox import Outbox
from deepseek.agent.plane.poll_answer import PollAnswer
from deepseek.agent.plane.transport import PlaneAway, PlaneConnection
from deepseek.agent.storage.home import Home
from deepseek.agent.storage.identity import Identity, load_identity
from deepseek.agent.updating.trust import TrustStore
from deepseek.client.errors import PlaneRefusal
from deepseek.signing.errors import SigningError

DEFAULT_POLL_SECONDS = 60.0
MAX_KEY_REQUESTS = 50
"""For lists of keys, of one poll: each answer has about a megabyte at most."""
SEND_SECONDS = 10.0
"""Between two looks for recorded predictions and labels, at most; a device that polls more often looks as often."""


class PlaneSession:
    """One device and its plane. `answer` is the last poll's; it stays when the plane is away."""

    def __init__(
        self,
        home: Home,
        options: AgentOptions,
        connection: PlaneConnection,
        trust: TrustStore,
        outbox: Outbox,
        log: JsonLog,
        *,
        architecture: str,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._home, self._options, self.connection = home, options, connection
        self._trust, self._outbox, self._log, self._clock = trust, outbox, log, clock
        self._architecture = architecture
        self.link = Link(clock, draw)
        self.identity: Identity | None = load_identity(home)
        self.answer: PollAnswer | None = None
        self.state = "unknown" if self.identity else "not enrolled"
        self.keys_error: SigningError | None = None
        """Why the plane's newest list of keys is not trusted."""
        self.clock_offset = 0.0
        self.polls = 0
        self._etag = ""
        self._poll_seconds = options.poll_seconds or DEFAULT_POLL_SECONDS
        self._heartbeat_at = self._send_at = self._poll_at = clock()
        self._sent: Heartbeat | None = None
        if self.identity is not None:
            connection.token = self.identity.token
            self._poll_at += min(self._poll_seconds, options.start_seconds) * draw()

    # -- when ---------------------------------------------------------------------------------------------------------
    @property
    def is_open(self) -> bool:
        return self.link.seconds_until_open() == 0.0

    def seconds_until_due(self) -> float:
        """Until the next request is to be made."""
        if self.identity is None:
            return self.link.seconds_until_open()
        due = [self._poll_at, self._heartbeat_at]
        if len(self._outbox):
            due.append(self._clock())
        if self.answer is not None and (self.answer.recording is not None or self._has_labels()):
            due.append(self._send_at)
        return max(self.link.seconds_until_open(), min(due) - self._clock(), 0.0)

    def talk(self, heartbeat: Heartbeat, measure: Callable[[], Mapping[str, float]], models: Mapping[str, str]) -> None:
        """Make the requests that are due. `measure` gives the figures of a heartbeat, `models` the names of
        `send_predictions`.

        Raises AgentError ``not_enrolled`` without a token, and with `is_once` EnrolmentRefused; whatever else fails is
        tried again later.
        """
        if not self.is_open:
            return
        before = self.connection.answers
        try:
            if self.identity is None:
                self._enrol()
            if self._clock() >= self._poll_at:
                self._poll()
            self._outbox.send(self.connection)
            self._beat(heartbeat, measure)
            self._send_observations(models)
        except PlaneAway as away:
            self.note_away(away)
        except PlaneRefusal as refusal:
            self.note_refusal(refusal)
        except EnrolmentRefused as refused:
            if self._options.is_once:
                raise
            self.state, pause = "refused", self.link.note_refused_enrolment()
            self._log.write(
                "enrolment_refused", "error", code=refused.code, reason=str(refused.message), pause=round(pause, 1)
            )
        except AgentFailure as failure:
            pause = self.link.note_failure()
            self._log.write("plane_answer_wrong", "error", reason=str(failure.message), pause=round(pause, 1))
        except OSError as error:  # the plane's own failures are PlaneAway: this is the disk
            pause = self.link.note_failure()
            self._log.write("disk_failed", "error", reason=error.strerror or str(error), pause=round(pause, 1))
        else:
            if self.connection.answers > before:
                self.link.note_success()
        if self.seconds_until_due() > 5.0:
            self.connection.close()  # a plane cannot keep a connection for each of its devices

    def note_away(self, away: PlaneAway) -> None:
        """Leave the plane alone for a while."""
        pause = self.link.note_failure(away.retry_after)
        self._log.write("plane_away", "warning", reason=str(away.message), pause=round(pause, 1))

    def note_refusal(self, refusal: PlaneRefusal) -> None:
        """The plane does not take this device now; what runs goes on running."""
        if refusal.status in (401, 403):
            self.state = "revoked" if refusal.code == "device_revoked" else "refused"
            pause = self.link.note_refusal()
        else:
            pause = self.link.note_failure()
        self._log.write("device_refused", "error", code=refusal.code, pause=round(pause, 1))

    # -- what ---------------------------------------------------------------------------------------------------------
    def _enrol(self) -> None:
        options = self._options
        if not options.enrolment_token:
            raise AgentError(
                "not_enrolled",
                "This device has not enrolled yet.",
                field="--enrol",
                limit="an enrolment token of the plane",
                hint="Get a token from the page Devices of the plane, and give it: --enrol TOKEN.",
            )
        self.identity, poll_seconds = enrol_device(
            self._home,
            self.connection,
            self._trust,
            token=options.enrolment_token,
            name=options.name or suggest_name(get_host_name()),
            architecture=self._architecture,
            attributes=options.attributes,
        )
        self.connection.token = self.identity.token
        self._poll_seconds = options.poll_seconds or poll_seconds
        self._log.write("enrolled", name=self.identity.name, id=self.identity.device, project=self.identity.project)

    def _poll(self) -> None:
        headers = {"If-None-Match": self._etag} if self._etag else {}
        answer = self.connection.request("GET", "/poll", headers=headers)
        self.polls += 1
        if answer.status != 304:
            parsed = PollAnswer.parse(answer.document)
            self._poll_seconds = self._options.poll_seconds or parsed.poll_seconds
            if parsed.keys_version > self._trust.version:
                self._fetch_keys(parsed.keys_version)
            elif parsed.keys_version < self._trust.version:
                self._log.write("keys_older", "warning", plane=parsed.keys_version, device=self._trust.version)
            self.answer, self.state = parsed, parsed.state
            self._etag = answer.etag  # only now: what failed above is asked for again
        self._poll_at = self._clock() + self.link.draw_poll_pause(self._poll_seconds)

    def _fetch_keys(self, version: int) -> None:
        """Follow the list of keys to `version`, answer by answer. A list that is not trusted leaves the device
        with the keys that it has. Raises AgentFailure ``plane_answer_wrong`` where the plane gives not all lists."""
        for _ in range(MAX_KEY_REQUESTS):
            before = self._trust.version
            answer = self.connection.request("GET", f"/keys?from={before}")
            try:
                self._trust.accept(answer.document, is_page=True)
            except SigningError as error:
                self.keys_error = error
                self._log.write("keys_refused", "error", code=error.code, reason=str(error.message))
                return
            self.keys_error = None
            self._log.write("keys_updated", version=self._trust.version)
            if self._trust.version >= version:
                return
            if self._trust.version == before:
                break
        raise AgentFailure(
            "plane_answer_wrong",
            f"The plane gives the lists of keys to version {self._trust.version}, and has version {version}.",
            field="lists",
            value=str(self._trust.version),
            limit=version,
            hint="They are asked for again. If that changes nothing, look at the plane's log.",
        )

    def _beat(self, heartbeat: Heartbeat, measure: Callable[[], Mapping[str, float]]) -> None:
        if self._clock() < self._heartbeat_at and heartbeat == self._sent:
            return
        answer = self.connection.request("POST", "/heartbeat", heartbeat.to_body(measure()))
        offset = measure_offset(answer.document.get("now"), datetime.now(UTC))
        self.clock_offset = self.clock_offset if offset is None else offset
        self._sent = heartbeat
        self._heartbeat_at = self._clock() + self.link.draw_poll_pause(self._options.heartbeat_seconds)

    def _send_observations(self, models: Mapping[str, str]) -> None:
        """Predictions where the plane wants them; labels always: they may come long after."""
        if self.answer is None or self._clock() < self._send_at:
            return
        if self.answer.recording is not None:
            send_predictions(self.connection, self._home.recorded, self._log, models=models, offset=self.clock_offset)
        if self._has_labels():
            send_labels(self.connection, self._home.labels, self._log, offset=self.clock_offset)
        self._send_at = self._clock() + min(SEND_SECONDS, self._poll_seconds)

    def _has_labels(self) -> bool:
        return next(self._home.labels.glob("*.jsonl"), None) is not None


def get_host_name() -> str:
    """The name of this machine in its network."""
    return platform.node()
