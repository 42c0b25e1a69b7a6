"""Queue notices with what they tell of: rows of the bell, mails and webhook messages, all in the caller's transaction.

The apps above call this inside services that have asked the policy; what is undone there is undone here too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.canonical import encode_canonical_json
from apps.platform.accounts.models import Project, User
from apps.platform.notices.kinds import NOTICE_KINDS
from apps.platform.notices.models import Delivery, Notice, NoticePreference, Webhook
from apps.platform.notices.states import Channel, DeliveryChannel, WebhookState
from deepseek.messages import Message


def queue_notices(
    *,
    kind: str,
    message: Message,
    path: str,
    recipients: Iterable[int],
    subject: models.Model,
    project: Project | None = None,
) -> list[Notice]:
    """Tell people, each by the channels they chose, and the webhooks of the project; at most one query each.

    `path`: of the page of `subject`. `recipients`: ids of users; who is disabled is left out. The message names things
    and holds no data: it goes out by mail. Call it in the transaction of what it tells of.
    """
    notices = create_notices(
        [Notice(recipient_id=pk, **build_columns(kind, message, path, subject, project)) for pk in set(recipients)]
    )
    if project is not None:
        queue_webhook_messages(kind, message, path, subject, project)
    return notices


def build_columns(
    kind: str, message: Message, path: str, subject: models.Model, project: Project | None
) -> dict[str, object]:
    return {
        "kind": kind,
        "message": message.as_fields(),
        "path": path,
        "subject_type": subject._meta.model_name or "",
        "subject_id": str(subject.pk),
        "project": project,
    }


def create_notices(notices: Sequence[Notice]) -> list[Notice]:
    """Save those that reach somebody, with their mails."""
    if not notices:
        return []
    kind = notices[0].kind
    people = {user.pk: user for user in User.objects.filter(pk__in=[n.recipient_id for n in notices], is_active=True)}
    channels = {pk: set(NOTICE_KINDS[kind].channels) for pk in people}
    for choice in NoticePreference.objects.filter(user__in=people, kind=kind):
        (channels[choice.user_id].add if choice.enabled else channels[choice.user_id].discard)(Channel(choice.channel))
    deliverable = [notice for notice in notices if channels.get(notice.recipient_id)]
    for notice in deliverable:
        notice.in_bell = Channel.BELL in channels[notice.recipient_id]
    saved = Notice.objects.bulk_create(deliverable)
    if settings.MAIL_ENABLED:
        Delivery.objects.bulk_create(
            Delivery(channel=DeliveryChannel.MAIL, event_id=build_event_id(), kind=kind, project=n.project, notice=n)
            for n in saved
            if Channel.MAIL in channels[n.recipient_id] and people[n.recipient_id].email
        )
    return saved


def queue_webhook_messages(
    kind: str, message: Message, path: str, subject: models.Model, project: Project
) -> list[Delivery]:
    """One message for each enabled webhook of the project that subscribes to the kind."""
    if not settings.NOTICE_HOSTS:
        return []
    webhooks = Webhook.objects.filter(project=project, state=WebhookState.ENABLED)
    takers = [webhook for webhook in webhooks if not webhook.kinds or kind in webhook.kinds]
    body = build_body(kind, message, path, subject, project)
    return Delivery.objects.bulk_create(build_webhook_delivery(webhook, kind, body) for webhook in takers)


def build_webhook_delivery(webhook: Webhook, kind: str, body: str) -> Delivery:
    return Delivery(
        channel=DeliveryChannel.WEBHOOK,
        event_id=build_event_id(),
        kind=kind,
        project_id=webhook.project_id,
        webhook=webhook,
        body=body,
    )


def build_body(kind: str, message: Message, path: str, subject: models.Model, project: Project) -> str:
    """The message as Standard Webhooks lays it out: type, timestamp, data."""
    return encode_canonical_json(
        {
            "type": kind,
            "timestamp": timezone.now().isoformat(),
            "data": {
                "message": str(message),
                "project": project.slug,
                "subject": {"type": subject._meta.model_name, "id": str(subject.pk)},
                "url": build_url(path),
            },
        }
    )


def build_url(path: str) -> str:
    """The address of a page for people elsewhere; the path alone where PLANE_URL is not set."""
    return f"{settings.ENV.plane_url.rstrip('/')}{path}"


def build_event_id() -> str:
    return f"msg_{secrets.token_hex(16)}"


def settle_notices(*, kind: str, subject: models.Model, recipient_id: int | None = None) -> None:
    """Mark what is no longer to be done as read: for one person, or for everybody. In the caller's transaction."""
    rows = Notice.objects.filter(
        kind=kind, subject_type=subject._meta.model_name, subject_id=str(subject.pk), read_at=None
    )
    (rows if recipient_id is None else rows.filter(recipient_id=recipient_id)).update(read_at=Now())
