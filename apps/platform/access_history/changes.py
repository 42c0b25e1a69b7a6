"""Changes of grants, read from records of the trail and from revocations of recertification.

Each property of an account that a grant consists of is followed by itself: `("role", project, role)` is held or not,
`("active", None, "")` is true or false, and so on. So a record that writes several roles is several changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.queries import build_event
from apps.platform.recertification.models import GrantKind, GrantReview

Property = tuple[str, int | None, str]  # what, in which project, which role
ACTIVE: Property = ("active", None, "")
EXPIRES: Property = ("expires_at", None, "")
SYSTEM_ROLE: Property = ("system_role", None, "")
CLEARANCE: Property = ("clearance", None, "")
LABEL: Property = ("label", None, "")  # of a project
ROLES = tuple(role.value for role in ProjectRole)
SYSTEM_ROLES = tuple(role.value for role in SystemRole)
CREATIONS = frozenset({"user.create", "service_account.create"})


class Unrecorded:
    """Stands for a value that a record does not name."""

    def __repr__(self) -> str:
        return "UNRECORDED"


UNRECORDED = Unrecorded()


@dataclass(frozen=True, slots=True)
class Change:
    """The value of one property before and after `at`."""

    at: datetime
    before: Any
    after: Any


def parse_record(row: AuditRecord) -> Iterator[tuple[Property, Change]]:
    """The changes that a record of an account, or of a project's label, names; none where it names nothing."""
    body = build_event(row).body
    before: Mapping[str, Any] = body.get("before", {})
    after: Mapping[str, Any] = body.get("after", {})
    if row.action in ("member.set_roles", "member.remove", "service_account.create"):
        earlier, later = before.get("roles"), after.get("roles", [])
        if not isinstance(later, list):
            return  # tampered with
        for role in ROLES:
            value = role in earlier if isinstance(earlier, list) else UNRECORDED
            yield ("role", row.project_id, role), Change(row.at, value, role in later)
        return
    for name, key in (
        ("is_active", ACTIVE),
        ("expires_at", EXPIRES),
        ("system_role", SYSTEM_ROLE),
        ("clearance", CLEARANCE),
        ("label", LABEL),
    ):
        if name in after and is_valid_value(name, after[name]):
            earlier = before.get(name, UNRECORDED)
            yield key, Change(row.at, earlier if is_valid_value(name, earlier) else UNRECORDED, after[name])


def is_valid_value(name: str, value: Any) -> bool:
    """Whether a record that was not tampered with may have this value."""
    match name:
        case "is_active":
            return isinstance(value, bool)
        case "system_role":
            return value in ("", None) or value in SYSTEM_ROLES
        case "expires_at":
            return value is None or (isinstance(value, str) and is_aware_time(value))
    return isinstance(value, str)


def is_aware_time(text: str) -> bool:
    """Whether the text is a time in ISO 8601 with its zone."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def parse_revocation(review: GrantReview, started_at: datetime) -> Iterator[tuple[Property, Change]]:
    """The grant as the campaign saw it when it began, its suspension, return and end."""
    assert review.decided_at is not None  # noqa: S101 - a constraint of the table
    key: Property
    if review.kind == GrantKind.MEMBERSHIP:
        key, value, end = ("role", review.project_id, review.description), True, False
    elif review.kind == GrantKind.SERVICE_ACCOUNT:
        key, value, end = ACTIVE, True, False
    elif review.kind == GrantKind.SYSTEM_ROLE:
        key, value, end = SYSTEM_ROLE, review.description, ""  # type: ignore[assignment]
    else:
        return  # a token, whose row has the time of its end
    yield key, Change(started_at, value, value)
    if review.suspended_at is not None:
        yield key, Change(review.suspended_at, UNRECORDED, end)
    if review.restored_at is not None:
        yield key, Change(review.restored_at, UNRECORDED, value)
    elif review.suspended_at is None:
        yield key, Change(review.decided_at, UNRECORDED, end)


def sort_changes(changes: Iterable[Change]) -> list[Change]:
    """By time; of the same time, in the order that they were read in, which is that of the records."""
    return sorted(changes, key=lambda change: change.at)
