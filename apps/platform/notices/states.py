"""The states of webhooks and deliveries, and every legal move between them; the channels."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Channel(models.TextChoices):
    """Where a person is told. Projects have webhooks beside that."""

    BELL = "bell", _("Bell")
    MAIL = "mail", _("Mail")


class DeliveryChannel(models.TextChoices):
    WEBHOOK = "webhook", _("Webhook")
    MAIL = "mail", _("Mail")


class WebhookState(models.TextChoices):
    ENABLED = "enabled", _("Enabled")
    DISABLED = "disabled", _("Disabled")


class DeliveryState(models.TextChoices):
    PENDING = "pending", _("Pending")
    FAILED = "failed", _("Failed")  # tried, and tried again at next_at
    SENT = "sent", _("Sent")
    GIVEN_UP = "given_up", _("Given up")


OPEN_DELIVERIES: frozenset[str] = frozenset({DeliveryState.PENDING, DeliveryState.FAILED})
WEBHOOK_MOVES: dict[str, frozenset[str]] = {
    WebhookState.ENABLED: frozenset({WebhookState.DISABLED}),
    WebhookState.DISABLED: frozenset({WebhookState.ENABLED}),
}
DELIVERY_MOVES: dict[str, frozenset[str]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.FAILED, DeliveryState.SENT, DeliveryState.GIVEN_UP}),
    DeliveryState.FAILED: frozenset({DeliveryState.FAILED, DeliveryState.SENT, DeliveryState.GIVEN_UP}),
    DeliveryState.SENT: frozenset(),
    DeliveryState.GIVEN_UP: frozenset(),
}
