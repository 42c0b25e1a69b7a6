"""Where a compiled model was proven, from what its job says of ``verify.json``: for the pages of job and run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from apps.core.messages import translate_message
from apps.platform.jobs.models import JobOutput

SLOT = "verification"
MAX_SEEDS = 20
SIGNIFICANT_DIGITS = 2


@dataclass(frozen=True, slots=True)
class VerificationSummary:
    """`state`: of the badge. `reason`: why it could not run. `seeds`: of each its number, rows and differences."""

    state: str
    verdict: str
    triple: str
    largest: str
    relative: str
    tolerance: str
    reason: str
    emulated: bool
    seeds: list[tuple[int, int, str, str]]
    artifact: str


def find_verification(outputs: Iterable[JobOutput]) -> VerificationSummary | None:
    """The summary out of a job's outputs; None where it made no compiled model, or an older release did."""
    output = next((output for output in outputs if output.slot == SLOT and isinstance(output.meta, Mapping)), None)
    if output is None or "ran" not in output.meta:
        return None
    document = output.meta
    emulated, arch = document.get("emulated") is True, str(document.get("arch", ""))
    if document["ran"] is not True:
        state, verdict = "warn", _("Not run")
    elif emulated:
        state, verdict = "succeeded", _("Proven on %(arch)s under emulation") % {"arch": arch}
    else:
        state, verdict = "succeeded", _("Proven on the host")
    return VerificationSummary(
        state=state,
        verdict=verdict,
        triple=str(document.get("triple", "")),
        largest=format_difference(document.get("largest_difference")),
        relative=format_difference(document.get("largest_relative_difference")),
        tolerance=format_difference(document.get("tolerance")),
        reason=translate_message(document, "reason"),
        emulated=emulated,
        seeds=list_seeds(document.get("seeds")),
        artifact=output.artifact_id or "",
    )


def list_seeds(records: Any) -> list[tuple[int, int, str, str]]:
    """The comparisons of each seed, as many as a page shows."""
    return [
        (
            record.get("seed"),
            record.get("rows"),
            format_difference(record.get("max_abs_difference")),
            format_difference(record.get("max_rel_difference")),
        )
        for record in (records if isinstance(records, list) else [])[:MAX_SEEDS]
        if isinstance(record, Mapping)
    ]


def format_difference(value: Any) -> str:
    """A small number, as 1.2e-07."""
    existing = isinstance(value, int | float) and math.isfinite(value)
    return f"{value:.{SIGNIFICANT_DIGITS}g}" if existing else "–"
