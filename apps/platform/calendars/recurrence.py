"""The times of a cron expression in a time zone. Where clocks change it follows Debian's cron (CronSim)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from apps.core.errors import Invalid
from apps.platform.accounts.models import list_time_zones
from deepseek.messages import N_

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MAX_CRON_LENGTH = 120
MAX_COUNTED = 10_000  # missed times that are counted one by one: a week of minutes


def normalize_cron(text: str, *, field: str = "cron") -> str:
    """The expression with single spaces, a nickname as its five fields. Raises Invalid for anything else."""
    cron = " ".join(text.split())
    cron = NICKNAMES.get(cron.lower(), cron)
    hint = N_("Minute, hour, day of month, month, day of week, for instance 30 2 * * mon-fri; or @daily.")
    if len(cron) > MAX_CRON_LENGTH or len(cron.split(" ")) != 5:
        raise Invalid(
            "{cron!r} is no cron expression of five fields.",
            cron=cron[:60],
            code="invalid",
            field=field,
            limit=f"5 fields, {MAX_CRON_LENGTH} characters",
            hint=hint,
        )
    try:
        next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as failure:
        raise Invalid(
            "{cron!r} is no cron expression: {failure}.",
            cron=cron[:60],
            failure=str(failure),
            code="invalid",
            field=field,
            hint=hint,
        ) from None
    except StopIteration:
        raise Invalid(
            "{cron!r} has no time within the next years.", cron=cron[:60], code="invalid", field=field, hint=hint
        ) from None
    return cron


def validate_timezone(name: str, *, field: str = "timezone") -> str:
    """An IANA name of a time zone; Invalid."""
    if name not in list_time_zones() | {"UTC"}:
        raise Invalid(
            "There is no time zone {name!r}.",
            name=name[:60],
            code="invalid",
            field=field,
            limit=N_("a name of the IANA database"),
            hint=N_("For instance Europe/Berlin, Asia/Shanghai or UTC."),
        )
    return name


def iterate_times(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """The times after `after`, in UTC, without end as long as the expression has any."""
    for time in CronSim(cron, after.astimezone(ZoneInfo(timezone))):
        yield time.astimezone(UTC)


def list_next_times(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    return list(islice(iterate_times(cron, timezone, after), count))


def find_next_time(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first time after `after`; None where none comes."""
    return next(iterate_times(cron, timezone, after), None)


def count_missed(cron: str, timezone: str, first: datetime, last: datetime) -> int:
    """How many times stand from `first` on, before `last`; at most MAX_COUNTED."""
    later = takewhile(lambda time: time < last, iterate_times(cron, timezone, first))
    return int(first < last) + sum(1 for _ in islice(later, MAX_COUNTED - 1))


def find_last_time(cron: str, timezone: str, now: datetime) -> datetime | None:
    """The last time up to `now`."""
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    last = next(CronSim(cron, minute.astimezone(ZoneInfo(timezone)), reverse=True), None)
    return last.astimezone(UTC) if last else None
