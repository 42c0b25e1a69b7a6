"""Every write on notices, webhooks and deliveries."""

from apps.platform.notices.services.deliveries import (
    LEASE,
    SERVER_PAUSE,
    disable_failed_webhook,
    purge_notices,
    record_failure,
    record_sent,
    release_deliveries,
    take_deliveries,
)
from apps.platform.notices.services.inbox import mark_all_read, mark_read, set_notice_preferences
from apps.platform.notices.services.webhooks import (
    create_webhook,
    delete_webhook,
    enable_webhook,
    queue_test_message,
    renew_webhook_secret,
    update_webhook,
)

__all__ = [
    "LEASE",
    "SERVER_PAUSE",
    "create_webhook",
    "delete_webhook",
    "disable_failed_webhook",
    "enable_webhook",
    "mark_all_read",
    "mark_read",
    "purge_notices",
    "queue_test_message",
    "record_failure",
    "record_sent",
    "release_deliveries",
    "renew_webhook_secret",
    "set_notice_preferences",
    "take_deliveries",
    "update_webhook",
]
