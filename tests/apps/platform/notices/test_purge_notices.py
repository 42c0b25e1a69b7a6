from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.notices.models import Delivery, Notice, Webhook
from apps.platform.notices.services import purge_notices


def test_what_is_old_goes(queue, webhook, approver, worker_actor):
    old = timezone.now() - timedelta(days=91)
    queue(approver)
    Notice.objects.update(created_at=old)
    Delivery.objects.update(ended_at=old, state="sent")
    queue(approver)
    assert purge_notices(actor=worker_actor) == 2
    assert (Notice.objects.count(), Delivery.objects.count()) == (1, 1)


def test_what_waited_too_long_for_a_disabled_webhook_goes(queue, webhook, approver, worker_actor):
    queue(approver)
    Delivery.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert purge_notices(actor=worker_actor) == 0
    Webhook.objects.update(state="disabled")
    assert purge_notices(actor=worker_actor) == 1


def test_only_a_worker_does(secadmin, actor_for):
    with pytest.raises(Refused):
        purge_notices(actor=actor_for(secadmin))
