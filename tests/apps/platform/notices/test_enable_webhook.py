import pytest

from apps.core.errors import Conflict, Refused
from apps.platform.notices.models import Delivery, Webhook
from apps.platform.notices.services import enable_webhook, take_deliveries


def test_what_waited_is_sent_then(webhook, queue, approver, secadmin, dispatcher, actor_for):
    queue(approver)
    Webhook.objects.update(state="disabled", failures=10, state_reason={"message": "10 attempts."})
    assert take_deliveries(actor=dispatcher, channel="webhook", most=9) == []
    enabled = enable_webhook(actor=actor_for(secadmin), webhook=webhook)
    assert (enabled.state, enabled.failures, enabled.state_reason) == ("enabled", 0, {})
    assert [each.pk for each in take_deliveries(actor=dispatcher, channel="webhook", most=9)] == [
        Delivery.objects.get().pk
    ]


def test_an_enabled_one_is_no_candidate(webhook, secadmin, actor_for):
    with pytest.raises(Conflict) as refusal:
        enable_webhook(actor=actor_for(secadmin), webhook=webhook)
    assert refusal.value.code == "nothing_to_change"


def test_nobody_else_does(webhook, engineer, actor_for):
    with pytest.raises(Refused):
        enable_webhook(actor=actor_for(engineer), webhook=webhook)
