"""What a reader asks of the trail: read from a query string, the same for pages and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from apps.core.errors import Invalid
from apps.core.request_values import parse_int, validate_choice
from apps.platform.audit.models import AuditQuerySet, Result
from apps.platform.audit.naming.actions import find_actions
from deepseek.messages import N_

TEXTS = ("actor", "action", "object_type", "object_id", "result")
MAX_TEXT = 200
PARAMETERS = {  # of a query string, where it is not the name of the field
    "request_id": "request",
    "job_id": "job",
    "seq": "record",
    "project_id": "project",
    "start": "from",
    "end": "to",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Empty means every. `action`: one, several by commas, or with a dot at its end a family (`user.`),
    or without a dot a part of their names (`approve`). `end` is excluded."""

    actor: str = ""
    action: str = ""
    object_type: str = ""
    object_id: str = ""
    result: str = ""
    request_id: str = ""
    job_id: int | None = None
    seq: int | None = None
    project_id: int | None = None
    start: datetime | None = None
    end: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """What was asked for, for the record of the reading."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}

    def as_parameters(self) -> dict[str, str]:
        """What was asked for by the names of the query string, for a message; a project by its id."""
        return {
            PARAMETERS.get(name, name): value.isoformat() if isinstance(value, datetime) else str(value)
            for name, value in self.as_dict().items()
        }


def read_filters(params: Mapping[str, Any], projects: Mapping[str, int]) -> Filters:
    """Filters of a query string; `projects` maps the slugs that the reader may see to ids. Raises Invalid."""
    texts = {name: parse_text(params, name) for name in TEXTS}
    validate_choice("result", texts["result"], Result.values, N_("There is no result {found!r}."))
    slug = parse_text(params, "project")
    if slug and slug not in projects:
        raise Invalid("There is no project {slug!r}, or you may not see it.", slug=slug, field="project")
    return Filters(
        **texts,
        request_id=parse_text(params, "request"),
        job_id=parse_record_number(params, "job"),
        seq=parse_record_number(params, "record"),
        project_id=projects[slug] if slug else None,
        start=parse_moment(params, "from"),
        end=parse_moment(params, "to", whole_day=True),
    )


def parse_record_number(params: Mapping[str, Any], name: str) -> int | None:
    """A number of a job or of a record, which people may write with a # before it."""
    text = parse_text(params, name).removeprefix("#")
    if not text:
        return None
    if (number := parse_int(text)) is not None:
        return number
    raise Invalid("{name} {text!r} is no number.", name=name, text=text[:40], field=name, limit="a whole number")


def parse_text(params: Mapping[str, Any], name: str) -> str:
    text = str(params.get(name) or "").strip()
    if len(text) > MAX_TEXT or "\x00" in text:
        raise Invalid("{name} is too long or holds a NUL.", name=name, field=name, limit=MAX_TEXT)
    return text


def parse_moment(params: Mapping[str, Any], name: str, *, whole_day: bool = False) -> datetime | None:
    """A date (its beginning, or with `whole_day` its end) or a time, in the reader's zone where it names none."""
    text = parse_text(params, name)
    if not text:
        return None
    try:
        day, exact = parse_date(text), parse_datetime(text)
        if day is not None:
            exact = datetime.combine(day + timedelta(days=1) if whole_day else day, time.min)
        if exact is None:
            raise ValueError(text)
        aware = exact if timezone.is_aware(exact) else timezone.make_aware(exact)
        aware.astimezone(UTC)  # as the database keeps it: at its ends, a zone may leave the calendar
        return aware
    except (ValueError, OverflowError):
        limit = "YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ"
        raise Invalid("{name} {text!r} is no date.", name=name, text=text, field=name, limit=limit) from None


def match_action(text: str) -> dict[str, Any]:
    """The lookup for one action, several by commas, a family that ends in a dot, or a part of their names."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) > 1:
        return {"action__in": names}
    if "." not in text and (actions := find_actions(text)):
        return {"action__in": actions}
    return {"action__startswith" if text.endswith(".") else "action": text}


def apply_filters(records: AuditQuerySet, filters: Filters) -> AuditQuerySet:
    """The records that match every filter."""
    conditions: dict[str, Any] = {
        name: value
        for name in ("actor", "object_type", "object_id", "result", "request_id", "job_id", "seq")
        if (value := getattr(filters, name)) not in ("", None)
    }
    if filters.action:
        conditions |= match_action(filters.action)
    if filters.project_id is not None:
        conditions["project_id"] = filters.project_id
    if filters.start:
        conditions["at__gte"] = filters.start
    if filters.end:
        conditions["at__lt"] = filters.end
    return records.filter(**conditions)
