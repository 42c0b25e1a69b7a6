import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.notices.models import Webhook
from apps.platform.notices.services import update_webhook


def test_what_changes_is_recorded(webhook, secadmin, actor_for):
    update_webhook(actor=actor_for(secadmin), webhook=webhook, name="ops", kinds=["job.failed", "approval.ended"])
    row = Webhook.objects.get()
    assert (row.name, row.kinds, row.url) == ("ops", ["approval.ended", "job.failed"], webhook.url)
    body = AuditRecord.objects.get(action="webhook.update").body
    assert '"before":{"kinds":"","name":"chat"}' in body


def test_a_new_address_starts_anew(webhook, secadmin, actor_for):
    Webhook.objects.update(failures=4)
    update_webhook(actor=actor_for(secadmin), webhook=webhook, url="http://127.0.0.1:9/other")
    assert Webhook.objects.get().failures == 0


def test_bad_values_change_nothing(webhook, create, secadmin, actor_for):
    create(name="b")
    with pytest.raises(Conflict):
        update_webhook(actor=actor_for(secadmin), webhook=webhook, name="b")
    with pytest.raises(Invalid):
        update_webhook(actor=actor_for(secadmin), webhook=webhook, name="c", url="http://10.1.1.1/")
    assert Webhook.objects.get(pk=webhook.pk).name == "chat"


def test_the_same_again_is_no_change(webhook, secadmin, actor_for):
    update_webhook(actor=actor_for(secadmin), webhook=webhook, name="chat")
    assert not AuditRecord.objects.filter(action="webhook.update").exists()


def test_nobody_else_does(webhook, engineer, actor_for):
    with pytest.raises(Refused):
        update_webhook(actor=actor_for(engineer), webhook=webhook, name="x")
