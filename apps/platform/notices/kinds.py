"""The kinds of notices. The apps that queue notices stand above this one, so they register their kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from apps.core.actors import SystemRole
from apps.core.registry import Registry
from apps.platform.notices.states import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeKind:
    """What a person chooses channels for, and a webhook subscribes to."""

    label: Any  # lazily translated
    description: Any  # when it is queued and for whom, in a sentence
    channels: frozenset[Channel]  # of a person who has not chosen
    system_role: SystemRole | None = None  # of those alone who have it; it goes to no webhook of a project then


NOTICE_KINDS: Registry[NoticeKind] = Registry("NOTICE_KINDS")
"""By kind, `object.verb`. The key is the `type` of a webhook's message."""

WEBHOOK_DISABLED = "webhook.disabled"
WEBHOOK_TEST = "webhook.test"  # sent to one webhook alone, by its test button: no kind to subscribe to
WEBHOOK_DISABLED_KIND = NoticeKind(
    label=_("Webhook disabled"),
    description=_("A webhook has failed too often and is disabled; for security administrators."),
    channels=frozenset({Channel.BELL, Channel.MAIL}),
    system_role=SystemRole.SECURITY_ADMIN,
)


def list_webhook_kinds() -> list[str]:
    """The kinds that a project's webhook can be sent, in order."""
    return sorted(key for key, kind in NOTICE_KINDS.items() if kind.system_role is None)


def list_personal_kinds(system_role: SystemRole | None) -> list[str]:
    """The kinds that can reach a person with this role, in order."""
    return sorted(key for key, kind in NOTICE_KINDS.items() if kind.system_role in (None, system_role))
