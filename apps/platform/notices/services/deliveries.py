"""The outbox as its sender sees it: take what is due, and record what became of it.

Taking is a lease: what a sender that was killed had taken is due again after it, and is sent once more under the same
id. Every outcome is guarded by the number of attempts, so a sender that comes late changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from apps.core.actors import Actor, SystemRole
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.platform.accounts.models import User
from apps.platform.audit.services import change_state
from apps.platform.notices.kinds import WEBHOOK_DISABLED
from apps.platform.notices.models import Delivery, Notice, Webhook
from apps.platform.notices.outbox import queue_notices
from apps.platform.notices.states import OPEN_DELIVERIES, DeliveryState, WebhookState
from deepseek.messages import Message

LEASE = timedelta(seconds=120)
RETRY_SECONDS = (5, 60, 300, 1800, 7200, 18_000, 36_000)  # before the second attempt, the third, ...
MAX_ATTEMPTS = len(RETRY_SECONDS) + 1
SERVER_PAUSE = timedelta(seconds=60)  # of mails, when their server does not answer another one
MAX_FAILURES = 10  # of a webhook, one after the other, before it is disabled
NOTICE_DAYS, DELIVERY_DAYS = 90, 30
PURGE_BATCH = 1000


def take_deliveries(*, actor: Actor, channel: str, most: int) -> list[Delivery]:
    """What is due on this channel, the oldest first, leased to the caller. Of a webhook that pauses, or is disabled,
    nothing is: it waits."""
    require(actor, "notice.deliver")
    due = Delivery.objects.filter(channel=channel, state__in=OPEN_DELIVERIES, next_at__lte=Now())
    is_open = Q(webhook__next_at=None) | Q(webhook__next_at__lte=Now())
    due = due.filter(Q(webhook=None) | (Q(webhook__state=WebhookState.ENABLED) & is_open))
    if not due.exists():
        return []  # the usual case takes no lock
    with transaction.atomic():
        locked = due.select_for_update(of=("self",), skip_locked=True).order_by("next_at", "id")
        keys = [row.pk for row in locked.only("pk")[:most]]
        Delivery.objects.filter(pk__in=keys).update(next_at=Now() + LEASE)
    rows = Delivery.objects.filter(pk__in=keys).select_related("webhook", "notice__recipient", "notice__project")
    return list(rows.order_by("id"))


def release_deliveries(*, actor: Actor, deliveries: Collection[Delivery], pause: timedelta = timedelta()) -> None:
    """Let go of what was taken and not tried; it is due again after `pause`."""
    require(actor, "notice.deliver")
    rows = Delivery.objects.filter(pk__in=[each.pk for each in deliveries], state__in=OPEN_DELIVERIES)
    rows.update(next_at=Now() + pause)


def record_sent(*, actor: Actor, delivery: Delivery) -> None:
    """The other side has taken it."""
    require(actor, "notice.deliver")
    with transaction.atomic():
        try:
            change_state(
                delivery,
                DeliveryState.SENT,
                actor=actor,
                guard={"attempts": delivery.attempts},
                attempts=F("attempts") + 1,
                ended_at=Now(),
                error="",
            )
        except StaleState:  # a sender that took it when the lease was over
            return
        if delivery.webhook_id is not None:
            Webhook.objects.filter(pk=delivery.webhook_id).exclude(failures=0).update(failures=0, next_at=None)


def record_failure(*, actor: Actor, delivery: Delivery, error: str, final: bool = False) -> None:
    """It was not taken: try again later, or give up after MAX_ATTEMPTS or where another attempt is no use (`final`).

    A webhook pauses as a whole, and after MAX_FAILURES of its attempts in a row it is disabled.
    """
    require(actor, "notice.deliver")
    error = error[:500] or "failed"
    with transaction.atomic():
        webhook = lock_webhook_of(delivery)
        disabled = webhook is not None and webhook.state == WebhookState.DISABLED
        failures = webhook.failures + 1 if webhook is not None and not disabled else delivery.attempts + 1
        pause = timedelta(seconds=RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1])
        gives_up = final or delivery.attempts + 1 >= MAX_ATTEMPTS
        try:
            change_state(
                delivery,
                DeliveryState.GIVEN_UP if gives_up else DeliveryState.FAILED,
                actor=actor,
                reason=error,
                guard={"attempts": delivery.attempts},
                attempts=F("attempts") + 1,
                error=error,
                **({"ended_at": Now()} if gives_up else {"next_at": Now() + pause}),
            )
        except StaleState:
            return
        if webhook is not None and not disabled:
            Webhook.objects.filter(pk=webhook.pk).update(failures=failures, next_at=Now() + pause)
            if failures >= MAX_FAILURES:
                disable_webhook(actor, webhook, Message("{count} attempts in a row failed.", count=failures))


def disable_failed_webhook(*, actor: Actor, delivery: Delivery, error: str) -> None:
    """The receiver says that it is gone (410): give up, and send it nothing any more."""
    require(actor, "notice.deliver")
    with transaction.atomic():
        record_failure(actor=actor, delivery=delivery, error=error, final=True)
        webhook = lock_webhook_of(delivery)
        if webhook is not None and webhook.state == WebhookState.ENABLED:
            disable_webhook(actor, webhook, Message("The receiver answered 410: it is gone."))


def lock_webhook_of(delivery: Delivery) -> Webhook | None:
    webhooks = Webhook.objects.select_for_update(of=("self",)).select_related("project")
    return webhooks.filter(pk=delivery.webhook_id).first() if delivery.webhook_id else None


def disable_webhook(actor: Actor, webhook: Webhook, why: Message) -> None:
    """Inside the caller's transaction; the security administrators are told."""
    change_state(
        webhook, WebhookState.DISABLED, actor=actor, reason=why, action="webhook.disable", state_reason=why.as_fields()
    )
    administrators = User.objects.filter(system_role=SystemRole.SECURITY_ADMIN, is_active=True)
    message = Message("The webhook {name} of {project} is disabled.", name=webhook.name, project=webhook.project.slug)
    path = reverse("notices:webhook", args=[webhook.project.slug, webhook.pk])
    recipients = administrators.values_list("pk", flat=True)
    # Not to the project's other webhooks: whoever reads those cannot repair it.
    queue_notices(kind=WEBHOOK_DISABLED, message=message, path=path, recipients=recipients, subject=webhook)


def purge_notices(*, actor: Actor) -> int:
    """Remove notices older than NOTICE_DAYS, and deliveries that ended, or waited for a disabled webhook, DELIVERY_DAYS
    ago; how many."""
    require(actor, "notice.purge")
    now = timezone.now()
    waiting = Delivery.objects.filter(webhook__state=WebhookState.DISABLED, state__in=OPEN_DELIVERIES)
    old = (
        waiting.filter(created_at__lt=now - timedelta(days=DELIVERY_DAYS)).order_by("id"),
        Delivery.objects.filter(ended_at__lt=now - timedelta(days=DELIVERY_DAYS)).order_by("ended_at"),
        Notice.objects.filter(created_at__lt=now - timedelta(days=NOTICE_DAYS)).order_by("created_at"),
    )
    removed = 0
    for rows in old:
        while keys := list(rows.values_list("pk", flat=True)[:PURGE_BATCH]):
            rows.model.objects.filter(pk__in=keys).delete()
            removed += len(keys)
    return removed
