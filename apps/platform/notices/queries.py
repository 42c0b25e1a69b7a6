"""What pages, REST and the frame read of notices and webhooks."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import Project
from apps.platform.notices.kinds import NOTICE_KINDS
from apps.platform.notices.models import Delivery, Notice, NoticePreference, NoticeQuerySet, Webhook, WebhookQuerySet
from apps.platform.notices.states import Channel
from deepseek.messages import N_

MAX_ID = 2**63 - 1
MAX_COUNTED = 100  # of the bell: more are "99+"
RECENT_DELIVERIES = 20


def count_unread(actor: Actor) -> int:
    """How many notices the actor has not read, MAX_COUNTED at most; one query."""
    return query_unread(actor).count()


def query_unread(actor: Actor) -> NoticeQuerySet:
    """What `count_unread` counts, for a statement that counts other things too."""
    return Notice.objects.visible_to(actor).filter(read_at=None)[:MAX_COUNTED]


def list_notices(actor: Actor, *, unread: bool = False, kind: str = "") -> NoticeQuerySet:
    """The actor's own notices, to be paged by `-id`. Invalid for an unknown kind."""
    policy.require(actor, "notice.view")
    validate_choice("kind", kind, NOTICE_KINDS, N_("There is no kind of notice {found!r}."))
    rows = Notice.objects.visible_to(actor).select_related("project")
    rows = rows.filter(read_at=None) if unread else rows
    return rows.filter(kind=kind) if kind else rows


def get_notice(actor: Actor, pk: int) -> Notice:
    """One of the actor's own notices; NotFound."""
    policy.require(actor, "notice.view")
    notice = Notice.objects.visible_to(actor).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if notice is None:
        raise NotFound("There is no such notice, or it is not yours.", field="id")
    return notice


def list_choices(user_id: int) -> dict[str, dict[str, bool]]:
    """{kind: {channel: whether}} of every kind: as the person chose, else as the kind has it."""
    choices = {
        key: {channel.value: channel in kind.channels for channel in Channel}
        for key, kind in sorted(NOTICE_KINDS.items())
    }
    for row in NoticePreference.objects.filter(user_id=user_id):
        if row.kind in choices:
            choices[row.kind][row.channel] = row.enabled
    return choices


def list_webhooks(actor: Actor, project: Project) -> WebhookQuerySet:
    policy.require(actor, "webhook.view", project)
    return Webhook.objects.visible_to(actor).filter(project=project).select_related("project")


def get_webhook(actor: Actor, project: Project, pk: int) -> Webhook:
    """The webhook `pk` of this project; NotFound."""
    webhook = list_webhooks(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if webhook is None:
        raise NotFound("This project has no webhook {pk}.", pk=pk, field="id")
    return webhook


def list_deliveries(webhook: Webhook) -> list[Delivery]:
    """The last ones of a webhook that the caller may see, newest first."""
    return list(Delivery.objects.filter(webhook=webhook).defer("body").order_by("-id")[:RECENT_DELIVERIES])


def shows_url(actor: Actor, obj: Project | Webhook) -> bool:
    """Whether the actor sees whole addresses, whose paths may be secrets of their receivers."""
    return actor.system_role is SystemRole.AUDITOR or policy.is_allowed(actor, "webhook.configure", obj)
