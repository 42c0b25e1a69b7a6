import json

import pytest

from apps.core.errors import Conflict, Refused
from apps.platform.notices.models import Delivery, Webhook
from apps.platform.notices.services import queue_test_message
from apps.platform.notices.services.webhooks import MAX_TESTS_WAITING


def test_this_webhook_alone_is_sent_one(webhook, create, secadmin, actor_for):
    create(name="b")
    delivery = queue_test_message(actor=actor_for(secadmin), webhook=webhook)
    assert Delivery.objects.get().webhook == webhook
    assert json.loads(delivery.body)["type"] == "webhook.test"


def test_so_many_wait_at_once(webhook, secadmin, actor_for):
    for _ in range(MAX_TESTS_WAITING):
        queue_test_message(actor=actor_for(secadmin), webhook=webhook)
    with pytest.raises(Conflict) as refusal:
        queue_test_message(actor=actor_for(secadmin), webhook=webhook)
    assert refusal.value.code == "webhook_tests_waiting"


def test_a_disabled_one_is_sent_none(webhook, secadmin, actor_for):
    Webhook.objects.update(state="disabled")
    with pytest.raises(Conflict) as refusal:
        queue_test_message(actor=actor_for(secadmin), webhook=webhook)
    assert refusal.value.code == "webhook_disabled"


def test_nobody_else_does(webhook, engineer, actor_for):
    with pytest.raises(Refused):
        queue_test_message(actor=actor_for(engineer), webhook=webhook)
