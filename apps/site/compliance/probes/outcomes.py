"""What a probe found: each violation that it attempted, and whether the plane refused it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import transaction

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


Probe = Callable[["ProbeContext"], Iterator[Attempt]]


@dataclass(slots=True)
class ProbeTable:
    """Probes by name; a module of probes fills it with its decorator."""

    probes: dict[str, Probe] = field(default_factory=dict)

    def register(self, name: str) -> Callable[[Probe], Probe]:
        def add(probe: Probe) -> Probe:
            if name in self.probes:
                raise ValueError(f"two probes are called {name}")
            self.probes[name] = probe
            return probe

        return add


def run_probe(name: str, probe: Probe, context: ProbeContext) -> ProbeOutcome:
    """Run one probe in a transaction that is rolled back. A probe that fails has not shown anything: not met."""
    started = time.monotonic()
    attempts: list[Attempt] = []
    reason: Bilingual | None = None
    try:
        with transaction.atomic():
            try:
                attempts.extend(probe(context))
            finally:
                transaction.set_rollback(True)
    except NotApplicable as nothing:
        reason = nothing.reason
    except Exception as fault:  # noqa: BLE001 - a probe of a broken plane may fail in any way; the run goes on
        attempts = [Attempt(ITSELF, False, describe_fault(fault))]
    seconds = time.monotonic() - started
    if reason is not None:
        return ProbeOutcome(name, Verdict.NOT_APPLICABLE, (), seconds, reason)
    verdict = combine_verdicts(Verdict.MET if attempt.holds else Verdict.NOT_MET for attempt in attempts)
    return ProbeOutcome(name, verdict, tuple(attempts), seconds)


def describe_fault(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {' '.join(str(fault).split())}"[:MAX_DETAIL]
