"""The outbox: what is due is leased, each outcome counts once, failures pause, and in the end somebody is told."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.notices import services
from apps.platform.notices.models import Delivery, Notice, Webhook
from apps.platform.notices.services.deliveries import MAX_ATTEMPTS, MAX_FAILURES

pytestmark = pytest.mark.services


@pytest.fixture
def take(dispatcher):
    return lambda channel="webhook": services.take_deliveries(actor=dispatcher, channel=channel, most=10)


@pytest.fixture
def fail(dispatcher):
    return lambda delivery, **more: services.record_failure(
        actor=dispatcher, delivery=delivery, error="HTTP 500", **more
    )


def make_due():
    past = timezone.now() - timedelta(seconds=1)
    Delivery.objects.update(next_at=past)
    Webhook.objects.filter(next_at__isnull=False).update(next_at=past)


def test_what_is_taken_is_leased(webhook, queue, approver, take):
    queue(approver)
    assert len(take()) == 1
    assert take() == []
    make_due()  # the lease is over: whoever had it was killed
    again = take()
    assert [each.attempts for each in again] == [0]


def test_an_outcome_counts_once(webhook, queue, approver, take, dispatcher):
    queue(approver)
    (first,) = take()
    make_due()
    (second,) = take()
    services.record_sent(actor=dispatcher, delivery=second)
    services.record_sent(actor=dispatcher, delivery=first)
    row = Delivery.objects.get()
    assert (row.state, row.attempts, row.error) == ("sent", 1, "")
    assert AuditRecord.objects.filter(action="delivery.sent").count() == 1


def test_a_failure_pauses_the_whole_webhook(webhook, queue, approver, take, fail):
    queue(approver)
    queue(approver)
    first = take()[0]
    fail(first)
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    assert take() == []
    row = Delivery.objects.get(pk=first.pk)
    assert (row.state, row.attempts, row.error) == ("failed", 1, "HTTP 500")
    make_due()
    assert len(take()) == 2


def test_what_is_sent_ends_the_pause(webhook, queue, approver, take, fail, dispatcher):
    queue(approver)
    fail(take()[0])
    make_due()
    services.record_sent(actor=dispatcher, delivery=take()[0])
    row = Webhook.objects.get()
    assert (row.failures, row.next_at) == (0, None)


def test_one_delivery_is_given_up_after_so_many_attempts(queue, approver, settings, take, fail):
    settings.MAIL_ENABLED = True
    type(approver).objects.update(email="a@bank.example")
    queue(approver)
    for _ in range(MAX_ATTEMPTS):
        make_due()
        fail(take("mail")[0])
    row = Delivery.objects.get()
    assert (row.state, row.attempts) == ("given_up", MAX_ATTEMPTS)
    make_due()
    assert take("mail") == []


def test_a_webhook_that_fails_too_often_is_disabled_and_its_administrators_are_told(
    webhook, queue, approver, take, fail
):
    queue(approver)
    queue(approver)
    for _ in range(MAX_FAILURES):
        make_due()
        fail(take()[0])
    row = Webhook.objects.get()
    assert (row.state, row.failures) == ("disabled", MAX_FAILURES)
    notice = Notice.objects.get(kind="webhook.disabled")
    assert (notice.recipient.username, notice.path) == ("secadmin", f"/p/demo/webhooks/{row.pk}")
    assert AuditRecord.objects.filter(action="webhook.disable").exists()
    make_due()
    assert take() == []


def test_a_receiver_that_is_gone_is_asked_no_more(webhook, queue, approver, take, dispatcher):
    queue(approver)
    services.disable_failed_webhook(actor=dispatcher, delivery=take()[0], error="HTTP 410")
    assert Webhook.objects.get().state == "disabled"
    assert Delivery.objects.get().state == "given_up"


def test_only_the_dispatcher_does(secadmin, actor_for):
    with pytest.raises(Refused):
        services.take_deliveries(actor=actor_for(secadmin), channel="mail", most=1)
