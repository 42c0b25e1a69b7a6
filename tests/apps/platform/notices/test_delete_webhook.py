import pytest

from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.notices.models import Delivery, Webhook
from apps.platform.notices.services import delete_webhook


def test_it_goes_with_what_waits(webhook, queue, approver, secadmin, actor_for):
    queue(approver)
    delete_webhook(actor=actor_for(secadmin), webhook=webhook, reason="Not used.")
    assert not Webhook.objects.exists()
    assert not Delivery.objects.exists()
    assert '"reason":"Not used."' in AuditRecord.objects.get(action="webhook.delete").body


def test_nobody_else_does(webhook, auditor, actor_for):
    with pytest.raises(Refused):
        delete_webhook(actor=actor_for(auditor), webhook=webhook)
