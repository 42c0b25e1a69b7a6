"""The rules over the audit stream, as data: what counts, by whom it is counted, and from how many on it is an alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apps.platform.artifacts.download_volume import ACTION as DOWNLOAD

WORK_BEGINS, WORK_ENDS = 7, 20  # hours of the plane's TIME_ZONE
SATURDAY = 5


class Event(NamedTuple):
    """The columns of an audit record that rules look at."""

    seq: int
    at: datetime
    actor: str
    action: str
    result: str
    object_type: str
    object_id: str
    body: str = ""  # the record as it is hashed: only rules that weigh events read it


class Unit(models.TextChoices):
    EVENTS = "events", pgettext_lazy("security alarm", "events")
    GIGABYTES = "GB", "GB"


def count_one(event: Event) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class Rule:
    """`find_key`: whom or what an event counts for, or None; `threshold` of them within `minutes` are an alarm.

    `weigh`: how much an event counts, in the rule's `unit`.
    """

    label: Any  # lazily translated
    description: Any
    find_key: Callable[[Event], str | None]
    threshold: int
    minutes: int
    is_enabled: bool = True
    unit: Unit = Unit.EVENTS
    weigh: Callable[[Event], float] = count_one


ADMINISTRATION = (
    "user.",
    "member.",
    "project.",
    "approval.set_policy",
    "token.create",
    "isolation.set_policy",
    "audit.",
)
ROLE_CHANGES = frozenset({"user.set_system_role", "member.set_roles", "user.create", "user.reset_second_factor"})
EXPORTS = frozenset(
    {"list.export", "audit.export", "compliance.export", "bundle.download", "bundle.request", "bundle.export_inventory"}
)
BYTES_PER_GIGABYTE = 1_000_000_000
WEIGHED = frozenset({DOWNLOAD})  # of which events have their body
MALWARE = frozenset({"artifact.malware_found"})
VERIFICATIONS = frozenset({"audit.verify", "audit.verify_recent"})


def find_failed_log_in(event: Event) -> str | None:
    return event.object_id if event.action == "user.log_in" and event.result == "failed" else None


def find_refusal(event: Event) -> str | None:
    return event.actor if event.result == "refused" else None


def find_role_change(event: Event) -> str | None:
    return f"{event.object_type} {event.object_id}" if event.action in ROLE_CHANGES and event.result == "done" else None


def find_broken_trail(event: Event) -> str | None:
    return "" if event.action in VERIFICATIONS and event.result == "failed" else None


def find_export(event: Event) -> str | None:
    return event.actor if event.action in EXPORTS and event.result == "done" else None


def find_download(event: Event) -> str | None:
    return event.actor if event.action == DOWNLOAD and event.result == "done" else None


def weigh_download(event: Event) -> float:
    """Gigabytes of a record of downloads."""
    try:
        return float(json.loads(event.body)["after"]["bytes"]) / BYTES_PER_GIGABYTE
    except (ValueError, LookupError, TypeError):
        return 0.0


def find_malware(event: Event) -> str | None:
    return event.actor if event.action in MALWARE else None


def find_emergency(event: Event) -> str | None:
    return event.actor if event.action.startswith("emergency.") and event.result == "done" else None


def find_late_administration(event: Event) -> str | None:
    if not event.action.startswith(ADMINISTRATION) or event.action in ("user.log_in", "user.log_out", "audit.verify"):
        return None
    local = timezone.localtime(event.at, timezone.get_default_timezone())
    is_working_time = local.weekday() < SATURDAY and WORK_BEGINS <= local.hour < WORK_ENDS
    return None if is_working_time else event.actor


RULES: dict[str, Rule] = {
    "failed_log_ins": Rule(
        _("Failed log-ins"), _("Wrong passwords or codes for one account name."), find_failed_log_in, 10, 10
    ),
    "refusals": Rule(_("Refusals"), _("Attempts of one account that the policy refused."), find_refusal, 20, 10),
    "role_change": Rule(
        _("Role change"),
        _("An account was created, got another role or lost its second factor."),
        find_role_change,
        1,
        1,
    ),
    "broken_trail": Rule(
        _("Audit verification failed"), _("A check of the audit trail found a change."), find_broken_trail, 1, 1
    ),
    "exports": Rule(_("Exports"), _("Lists, trails and bundles that one account took out."), find_export, 20, 60),
    "download_volume": Rule(
        _("Download volume"),
        _("Bytes of artifacts, files of datasets and models that one account downloaded."),
        find_download,
        50,
        60,
        unit=Unit.GIGABYTES,
        weigh=weigh_download,
    ),
    "malware": Rule(_("Malware in an upload"), _("The site's scanner refused an upload."), find_malware, 1, 1),
    "emergency": Rule(
        _("Emergency rights"), _("Somebody asked for, confirmed or used emergency rights."), find_emergency, 1, 1
    ),
    "late_administration": Rule(
        _("Administration out of hours"),
        _("Administration at a weekend, or before 7 or after 20 o'clock of the plane's time zone."),
        find_late_administration,
        1,
        60,
        is_enabled=False,
    ),
}
"""By key, which is in the rows of alarms and settings: a key is never used again for something else."""
