"""What a probe found: each violation that it attempted, and whether the plane refused it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.db import OperationalError, transaction

from apps.core.db.deferred_transactions import defer_write_lock
from apps.site.compliance.states import Verdict, combine_verdicts
from apps.site.compliance.texts import Bilingual

if TYPE_CHECKING:
    from apps.site.compliance.probes.context import ProbeContext

MAX_DETAIL = 300
ITSELF = Bilingual("Run the probe", "运行探测")


class NotApplicable(Exception):
    """There is nothing here that the probe could try; with the reason in both languages."""

    def __init__(self, reason: Bilingual) -> None:
        super().__init__(reason.en)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Attempt:
    """`text`: what was tried, or looked for. `holds`: it was refused, or found in order. `detail`: the answer."""

    text: Bilingual
    holds: bool
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"text": self.text.to_dict(), "holds": self.holds, "detail": self.detail[:MAX_DETAIL]}


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    name: str
    verdict: str
    attempts: tuple[Attempt, ...]
    seconds: float
    reason: Bilingual | None = None  # why it is not applicable

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": str(self.verdict),
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "seconds": round(self.seconds, 3),
            "reason": self.reason.to_dict() if self.reason else None,
        }


class Mode(StrEnum):
    """What a probe does with SQLite's write lock, for which every other writer of the plane waits."""

    WHOLE = "whole"  # it has it from its beginning to its end
    READING = "reading"  # it writes nothing while its controls hold, and leaves the lock to others
    STAGES = "stages"  # it opens its transactions by itself, one after another: each hash of a password takes a while


Probe = Callable[["ProbeContext"], Iterator[Attempt]]


@dataclass(slots=True)
class ProbeTable:
    """Probes by name; a module of probes fills it with its decorator. `modes`: of those whose mode is not WHOLE."""

    probes: dict[str, Probe] = field(default_factory=dict)
    modes: dict[str, Mode] = field(default_factory=dict)

    def register(self, name: str, mode: Mode = Mode.WHOLE) -> Callable[[Probe], Probe]:
        def add(probe: Probe) -> Probe:
            if name in self.probes:
                raise ValueError(f"two probes are called {name}")
            self.probes[name] = probe
            if mode != Mode.WHOLE:
                self.modes[name] = mode
            return probe

        return add


def run_probe(name: str, probe: Probe, context: ProbeContext, mode: Mode = Mode.WHOLE) -> ProbeOutcome:
    """Run one probe in transactions that are rolled back. A probe that fails has not shown anything: not met."""
    started = time.monotonic()
    attempts: list[Attempt] = []
    reason: Bilingual | None = None
    try:
        attempts = COLLECTORS[mode](probe, context)
    except NotApplicable as nothing:
        reason = nothing.reason
    except Exception as fault:  # noqa: BLE001 - a probe of a broken plane may fail in any way; the run goes on
        attempts = [Attempt(ITSELF, False, describe_fault(fault))]
    seconds = time.monotonic() - started
    if reason is not None:
        return ProbeOutcome(name, Verdict.NOT_APPLICABLE, (), seconds, reason)
    verdict = combine_verdicts(Verdict.MET if attempt.holds else Verdict.NOT_MET for attempt in attempts)
    return ProbeOutcome(name, verdict, tuple(attempts), seconds)


@contextmanager
def roll_back() -> Iterator[None]:
    """A transaction of which nothing stays."""
    with transaction.atomic():
        try:
            yield
        finally:
            transaction.set_rollback(True)


def collect_attempts(probe: Probe, context: ProbeContext) -> list[Attempt]:
    """The attempts of a probe; what it wrote is rolled back."""
    with roll_back():
        return list(probe(context))


def collect_in_stages(probe: Probe, context: ProbeContext) -> list[Attempt]:
    return list(probe(context))


def collect_without_lock(probe: Probe, context: ProbeContext) -> list[Attempt]:
    """The same without SQLite's write lock; once more with it where a broken control has the probe write after all."""
    try:
        with defer_write_lock():
            return collect_attempts(probe, context)
    except OperationalError:
        return collect_attempts(probe, context)


COLLECTORS = {
    Mode.WHOLE: collect_attempts,
    Mode.READING: collect_without_lock,
    Mode.STAGES: collect_in_stages,
}


def describe_fault(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {' '.join(str(fault).split())}"[:MAX_DETAIL]
