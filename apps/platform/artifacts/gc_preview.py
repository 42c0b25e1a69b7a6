"""What a collection of garbage would take: the list of `collect_garbage --dry-run` for pages and programs, bounded."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.platform.artifacts.garbage import GRACE, Garbage, iter_garbage
from apps.platform.artifacts.stores import get_store
from deepseek.messages import N_

MOST = 10_000  # entries of one look
QUICK_SECONDS = 0.03  # of a page that nobody has asked to look for longer
SECONDS = 10.0  # that one look takes: the store of a large plane is walked for minutes, which the command does
AGE = re.compile(r"(\d{1,5})([dhm])", re.ASCII)
UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@dataclass(frozen=True, slots=True)
class GarbagePreview:
    """What would go, in the order of digests; not `complete` where the look was ended before it had seen all."""

    found: list[Garbage]
    complete: bool

    @property
    def bytes(self) -> int:
        return sum(item.size for item in self.found)


class Enough(Exception):
    """The look has taken its time, or has found as much as one answer tells."""


def preview_garbage(
    *, actor: Actor, older_than: timedelta = GRACE, most: int = MOST, seconds: float = SECONDS
) -> GarbagePreview:
    """What nothing cites and nothing has touched for `older_than`; at most `most` entries, within about `seconds`.

    Changes nothing. Raises Unavailable when the store is away.
    """
    policy.require(actor, "artifact.view_garbage")
    end = time.monotonic() + seconds

    def tick() -> None:
        if time.monotonic() > end:
            raise Enough

    garbage_rows: list[Garbage] = []
    complete = True
    try:
        for item in iter_garbage(get_store(), timezone.now() - older_than, tick):
            if len(garbage_rows) == most:
                raise Enough
            garbage_rows.append(item)
    except Enough:
        complete = False
    return GarbagePreview(sorted(garbage_rows), complete)


def read_age(text: str) -> timedelta:
    """7d, 12h or 30m; Invalid for anything else."""
    match = AGE.fullmatch(text)
    if match is None:
        raise Invalid(
            "{text!r} is no age.",
            text=text[:40],
            code="bad_age",
            field="older_than",
            limit="a number of at most five digits with d, h or m",
            hint=N_("For instance 7d."),
        )
    return timedelta(**{UNITS[match[2]]: int(match[1])})
