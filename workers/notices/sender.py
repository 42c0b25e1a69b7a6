"""Empty the outbox: take what is due, send it, record what became of it. Run by the dispatcher.

Killed between an answer and its record, it sends the same message once more, under the same id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings

from apps.core.actors import Actor
from apps.platform.notices import services
from apps.platform.notices.models import Delivery
from apps.platform.notices.states import DeliveryChannel
from workers.notices.mail import MailFailed, MailUndeliverable, open_mail_connection, send_notice_mail
from workers.notices.webhooks import DeliveryFailed, ReceiverGone, send_webhook_message

log = logging.getLogger(__name__)
BATCH = 20
ROUND_SECONDS = services.LEASE.total_seconds() / 2  # then the rest is let go of: before somebody else takes it


def send_due_webhook_messages(actor: Actor, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """One round over what is due; how many were taken by their receivers."""
    if not settings.NOTICE_HOSTS:
        return 0
    batch = services.take_deliveries(actor=actor, channel=DeliveryChannel.WEBHOOK, most=BATCH)
    failed: set[int | None] = set()  # webhooks whose receiver did not take one: each is asked once a round
    sent = 0
    for index, delivery in enumerate(iter_until(batch, stopping)):
        if delivery is None:
            services.release_deliveries(actor=actor, deliveries=batch[index:])
            break
        if delivery.webhook_id in failed:
            services.release_deliveries(actor=actor, deliveries=[delivery])
        elif send_webhook(actor, delivery):
            sent += 1
        else:
            failed.add(delivery.webhook_id)
    return sent


def send_webhook(actor: Actor, delivery: Delivery) -> bool:
    """Whether its receiver took it; the outcome is recorded."""
    try:
        send_webhook_message(delivery)
    except ReceiverGone as failure:
        services.disable_failed_webhook(actor=actor, delivery=delivery, error=str(failure))
    except DeliveryFailed as failure:
        log.warning("webhook %s: %s", delivery.webhook_id, failure)
        services.record_failure(actor=actor, delivery=delivery, error=str(failure))
    else:
        services.record_sent(actor=actor, delivery=delivery)
        return True
    return False


def send_due_mails(actor: Actor, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """One round over what is due, over one connection; how many the server took. It is left alone once it failed."""
    if not settings.MAIL_ENABLED:
        return 0
    batch = services.take_deliveries(actor=actor, channel=DeliveryChannel.MAIL, most=BATCH)
    if not batch:
        return 0
    connection = open_mail_connection()
    sent = 0
    try:
        for index, delivery in enumerate(iter_until(batch, stopping)):
            if delivery is None:
                services.release_deliveries(actor=actor, deliveries=batch[index:])
                break
            try:
                send_notice_mail(delivery, connection)
            except MailUndeliverable as failure:
                services.record_failure(actor=actor, delivery=delivery, error=str(failure), final=True)
            except MailFailed as failure:
                log.warning("mail: %s", failure)
                services.record_failure(actor=actor, delivery=delivery, error=str(failure))
                postpone(actor, batch[index + 1 :])
                break
            else:
                services.record_sent(actor=actor, delivery=delivery)
                sent += 1
    finally:
        close(connection)
    return sent


def postpone(actor: Actor, deliveries: Sequence[Delivery]) -> None:
    """The server does not answer: nobody else's mail would be taken now either, and it costs them no attempt."""
    services.release_deliveries(actor=actor, deliveries=deliveries, pause=services.SERVER_PAUSE)


def close(connection: Any) -> None:
    try:
        connection.close()
    except OSError:
        log.debug("mail: the connection was gone when it was closed")


def iter_until(taken: Sequence[Delivery], stopping: Callable[[], bool]) -> Any:
    """What was taken, one by one; None, once, when the round must end."""
    begun = time.monotonic()
    for delivery in taken:
        if stopping() or time.monotonic() - begun > ROUND_SECONDS:
            yield None
            return
        yield delivery
