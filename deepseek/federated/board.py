"""Where a study stands, and what each site is told when it asks: shared by the server's threads and its controller."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deepseek.federated.errors import FederationError
from deepseek.federated.inspection import RoundTerms, Update, inspect_update, open_message, parse_evaluation
from deepseek.federated.spec import FederationServerSpec, FederationSite, LedgerEntry, StudySpec, compute_study_digest
from deepseek.federated.state import UPDATES_KEPT
from deepseek.federated.wire import encode_message, parse_object
from deepseek.job import Report
from deepseek.messages import N_

POLL_SECONDS, LINGER_SECONDS = 0.5, 10.0
MAX_REFUSALS = 1000
"""That are noted of a site; whoever sends more fills no memory."""
REASON = re.compile(r"[a-z_]{1,60}")
Phase = Literal["joining", "round", "waiting", "evaluation", "done"]


@dataclass
class SiteStatus:
    """What the server knows of one site."""

    site: FederationSite
    joined: bool = False
    connected: bool = False
    left: str = ""
    informed: bool = False  # that the study is done
    updates: int = 0
    epsilon: float | None = None
    evaluation: dict[str, Any] | None = None
    refusals: list[dict[str, Any]] = field(default_factory=list)


class Board:
    """One study's state. Every method may be called from any thread."""

    def __init__(self, spec: FederationServerSpec, report: Report) -> None:
        self.spec, self.study = spec, spec.study
        self.digest = compute_study_digest(spec.study)
        self._report = report
        self._changed = threading.Condition()
        self._sites = {site.name: SiteStatus(site) for site in spec.sites}
        self._phase: Phase = "joining"
        self._terms: RoundTerms | None = None
        self._global = (0, "", b"")
        self._updates: dict[str, Update] = {}
        self._answered: dict[str, str] = {}  # site -> digest of what it sent in this round, accepted or not
        self._skipped: set[str] = set()  # sites that take no part in this round
        self._seen: set[str] = set()
        self._counted: dict[str, list[int]] = {site.name: [] for site in spec.sites}

    # -- sites ----------------------------------------------------------------------------------------------------
    def join(self, name: str, data: bytes) -> bytes:
        """A site takes part from now on."""
        with self._changed:
            status = self._sites.get(name)
            if status is None:
                return refuse("site_unknown")
            try:
                _, payload = self._open(status, data, "join")
                require_same_code(parse_object(payload), self.study)
            except FederationError as error:
                return self._refuse(status, error)
            if not status.joined:
                self._report.log(f"{name} has joined")
            status.joined, status.connected, status.left = True, True, ""
            self._changed.notify_all()
            return encode_message({"status": "accepted"})

    def poll(self, name: str, data: bytes) -> bytes:
        """What the site is to do next."""
        with self._changed:
            status = self._sites.get(name)
            if status is None or not status.joined:
                return encode_message({"status": "join"})
            status.connected = True
            round, digest, weights = self._global
            if self._phase == "round" and name not in self._answered:
                header = {"status": "train", "round": round, "digest": digest, "counted": self._counted[name]}
                return encode_message(header, weights)
            if self._phase == "evaluation" and status.evaluation is None:
                return encode_message({"status": "evaluate", "round": round, "digest": digest}, weights)
            if self._phase == "done":
                status.informed = True
                self._changed.notify_all()
                return encode_message({"status": "done"})
            return encode_message({"status": "wait", "seconds": POLL_SECONDS})

    def submit(self, name: str, data: bytes) -> bytes:
        """A site's update of the round. The same one again is accepted again: the reply may have been lost."""
        with self._changed:
            status, terms = self._sites.get(name), self._terms
            if status is None or not status.joined:
                return encode_message({"status": "join"})
            try:
                entry, payload = self._open(status, data, "update")
                if self._answered.get(name) == entry.digest and name in self._updates:
                    return encode_message({"status": "accepted"})
                if self._phase != "round" or terms is None or name in self._answered or entry.digest in self._seen:
                    return self._refuse(status, build_late_error(entry))
                if entry.round == terms.round:
                    self._answered[name] = entry.digest
                update = inspect_update(entry, payload, terms)
            except FederationError as error:
                return self._refuse(status, error)
            self._seen.add(entry.digest)
            self._updates[name] = update
            status.updates, status.epsilon, status.connected = status.updates + 1, update.epsilon, True
            self._changed.notify_all()
            return encode_message({"status": "accepted"})

    def skip(self, name: str, data: bytes) -> bytes:
        """A site takes no part in the round that is open, and goes on with the next one: it has trained in this one
        from other weights, or was away from it, and this server was started again from an older state."""
        with self._changed:
            status, terms = self._sites.get(name), self._terms
            if status is None or not status.joined:
                return encode_message({"status": "join"})
            try:
                entry, _ = self._open(status, data, "skip")
            except FederationError as error:
                return self._refuse(status, error)
            if terms is not None and entry.round == terms.round and name not in self._answered:
                self._answered[name] = entry.digest
                self._skipped.add(name)
                self._report.log(f"{name} takes no part in round {entry.round}", level="warning")
                self._changed.notify_all()
            return encode_message({"status": "accepted"})

    def evaluate(self, name: str, data: bytes) -> bytes:
        """The quality that a site has measured, or that it leaves: of both it sends a JSON object."""
        with self._changed:
            status = self._sites.get(name)
            if status is None or not status.joined:
                return encode_message({"status": "join"})
            try:
                _, payload = self._open(status, data, "evaluation")
                status.evaluation = parse_evaluation(payload)
            except FederationError as error:
                return self._refuse(status, error)
            self._changed.notify_all()
            return encode_message({"status": "accepted"})

    def leave(self, name: str, data: bytes) -> bytes:
        """A site takes no further part."""
        with self._changed:
            status = self._sites.get(name)
            if status is None:
                return refuse("site_unknown")
            try:
                _, payload = self._open(status, data, "leave")
                status.left = parse_reason(parse_object(payload))
            except FederationError as error:
                return self._refuse(status, error)
            self._report.log(f"{name} has left: {status.left}", level="warning")
            self._changed.notify_all()
            return encode_message({"status": "accepted"})

    def disconnect(self, name: str) -> None:
        """The site's connection is gone; it may come back."""
        with self._changed:
            status = self._sites.get(name)
            if status is not None and status.connected:
                status.connected = False
                self._changed.notify_all()

    def note_round(self, round: int, sites: Iterable[str]) -> None:
        """Note whose updates were aggregated in a round; each site hears of its own last ones (state.py)."""
        for name in sites:
            if name in self._counted:
                self._counted[name] = [*self._counted[name], round][-UPDATES_KEPT:]

    # -- the controller -------------------------------------------------------------------------------------------
    def get_outcome(self) -> dict[str, Any]:
        """What the sites have said since the last round: for a server that is started again after it."""
        with self._changed:
            return {
                name: {"evaluation": status.evaluation, "left": status.left, "informed": status.informed}
                for name, status in self._sites.items()
            }

    def restore_outcome(self, sites: Mapping[str, Any]) -> None:
        """Go on from `get_outcome` of the server before: a site that knows that it is done does not come back."""
        with self._changed:
            for name, fields in sites.items():
                if name in self._sites:
                    status = self._sites[name]
                    status.evaluation, status.left = fields["evaluation"], fields["left"]
                    status.informed = bool(fields["informed"] or status.left)

    def await_sites(self, *, seconds: float, all_seconds: float) -> None:
        """Wait until every site that is not done has joined, or after `all_seconds` enough of them. Raises
        FederationError ``too_few_sites`` after `seconds`."""
        started = time.monotonic()
        with self._changed:
            while True:
                present, waited = len(self.list_active()), time.monotonic() - started
                if present >= sum(not status.informed for status in self._sites.values()):
                    return
                if present >= self.study.minimum_sites and waited >= all_seconds:
                    return
                if waited >= seconds:
                    raise build_too_few_error(present, self.study.minimum_sites)
                self._changed.wait(min(0.2, seconds))

    def open_round(self, terms: RoundTerms, weights: bytes) -> None:
        with self._changed:
            self._updates, self._answered, self._skipped = {}, {}, set()
            self._terms, self._global, self._phase = terms, (terms.round, terms.base_digest, weights), "round"

    def close_round(self, *, started: float, patience: float) -> dict[str, Update] | None:
        """The updates of the round by site, in the order of the names; None while it goes on.

        It is over when each connected site has answered, or its time is up; with fewer updates than the study needs it
        goes on until `patience` is over too. Raises FederationError ``too_few_sites`` then, and ``round_repeated`` at
        once where so many sites take no part in it that no others are left to wait for.
        """
        with self._changed:
            if self._terms and self._skipped and self._count_possible() < self.study.minimum_sites:
                raise build_repeated_error(self._terms.round, len(self._skipped))
            waited = time.monotonic() - started
            outstanding = [name for name in self.list_active() if name not in self._answered]
            is_enough = len(self._updates) >= self.study.minimum_sites
            if not (is_enough and (not outstanding or waited >= self.spec.round_seconds)):
                if waited >= self.spec.round_seconds + patience:
                    raise build_too_few_error(len(self._updates), self.study.minimum_sites)
                self._changed.wait(0.05)
                return None
            if self._terms is not None:
                self.note_round(self._terms.round, self._updates)
            self._phase, self._terms = "waiting", None
            return {name: self._updates[name] for name in sorted(self._updates)}

    def _count_possible(self) -> int:
        """How many sites may still take part in the round that is open, those that are away among them."""
        return sum(not status.left and name not in self._skipped for name, status in self._sites.items())

    def open_evaluation(self, round: int, digest: str, weights: bytes) -> None:
        with self._changed:
            self._global, self._phase = (round, digest, weights), "evaluation"

    def await_evaluations(self, seconds: float) -> None:
        """Wait for the figures of the sites that are connected, for so long at most; then the study is done."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while time.monotonic() < deadline and any(
                self._sites[name].evaluation is None for name in self.list_active()
            ):
                self._changed.wait(0.2)
            self._phase = "done"

    def linger(self) -> None:
        """Wait until the sites that are connected have heard that the study is done, for so long at most."""
        deadline = time.monotonic() + LINGER_SECONDS
        with self._changed:
            while time.monotonic() < deadline and any(not self._sites[name].informed for name in self.list_active()):
                self._changed.wait(0.2)
        time.sleep(POLL_SECONDS)  # until the last reply is on its way

    def list_active(self) -> list[str]:
        """Sites that have joined, are connected and have not left."""
        return [name for name, status in self._sites.items() if status.joined and status.connected and not status.left]

    def get_sites(self) -> Mapping[str, SiteStatus]:
        return self._sites

    def take_refusals(self, round: int) -> list[dict[str, Any]]:
        """What was refused during a round: site and code."""
        with self._changed:
            return [
                {"site": name, "code": refusal["code"]}
                for name, status in sorted(self._sites.items())
                for refusal in status.refusals
                if refusal["round"] == round
            ]

    def _open(self, status: SiteStatus, data: bytes, kind: Any) -> tuple[LedgerEntry, bytes]:
        return open_message(data, status.site, study=self.study, study_digest=self.digest, kind=kind)

    def _refuse(self, status: SiteStatus, error: FederationError) -> bytes:
        self._report.log(f"refused {status.site.name}: {error} ({error.value}; {error.limit})", level="warning")
        if len(status.refusals) < MAX_REFUSALS:
            status.refusals.append({"round": self._global[0], "code": error.code})
        self._changed.notify_all()
        return refuse(error.code, str(error))


def refuse(code: str, reason: str = "") -> bytes:
    return encode_message({"status": "refused", "code": code, "reason": reason[:500]})


def parse_reason(document: Mapping[str, Any]) -> str:
    """Why a site leaves, by its code; ``left`` for anything else: half a surrogate pair would end the server's job."""
    reason = document.get("reason")
    return reason if isinstance(reason, str) and REASON.fullmatch(reason) else "left"


def require_same_code(document: Mapping[str, Any], study: StudySpec) -> None:
    """Raise FederationError ``code_mismatch`` for a site that runs other code than the study's."""
    if document.get("code") != study.code_digest:
        raise FederationError(
            "code_mismatch",
            N_("The code of the site is not the code of the study."),
            field="/study/code_digest",
            value=str(document.get("code"))[:64],
            limit=study.code_digest,
            hint=N_("Install the release that the study was made with."),
        )


def build_late_error(entry: LedgerEntry) -> FederationError:
    return FederationError(
        "update_replayed",
        N_("The update of round {round} comes too late, or a second time."),
        field="update",
        value=f"round {entry.round}",
        limit="one update in the round that is open",
        hint=N_("It does not count. The site goes on with the next round."),
        round=entry.round,
    )


def build_repeated_error(round: int, count: int) -> FederationError:
    return FederationError(
        "round_repeated",
        N_("{count} sites have trained in round {round} already, from other weights, or after it."),
        field="/study/rounds",
        value=f"round {round}",
        limit="each round once, from one set of weights",
        hint=N_("The last state of the server was lost. Put its folder back from a backup, or begin a new study."),
        count=count,
        round=round,
    )


def build_too_few_error(present: int, minimum: int) -> FederationError:
    return FederationError(
        "too_few_sites",
        N_("Only {count} sites take part; the study needs {minimum}."),
        field="/study/minimum_sites",
        value=str(present),
        limit=minimum,
        hint=N_("The study goes on from its last round when the job is run again, once the sites are back."),
        count=present,
        minimum=minimum,
    )
