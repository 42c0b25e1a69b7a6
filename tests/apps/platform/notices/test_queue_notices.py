import json

import pytest
from django.db import transaction

from apps.platform.notices.models import Delivery, Notice, NoticePreference
from apps.platform.notices.queries import count_unread
from apps.platform.notices.states import Channel


@pytest.fixture
def mail(settings, approver):
    settings.MAIL_ENABLED = True
    type(approver).objects.filter(pk=approver.pk).update(email="approver@bank.example")


def test_each_recipient_has_a_notice_in_the_bell(queue, approver, viewer, actor_for):
    queue(approver, viewer, viewer)
    assert sorted(Notice.objects.values_list("recipient__username", "in_bell")) == [
        ("approver", True),
        ("viewer", True),
    ]
    assert count_unread(actor_for(approver)) == 1
    notice = Notice.objects.get(recipient=approver)
    assert (notice.path, notice.subject_type) == ("/p/demo/approvals/7", "project")
    assert notice.message["params"] == {"who": "engineer", "title": "Move it"}


def test_a_mail_goes_to_who_has_an_address_while_mail_is_on(queue, mail, approver, viewer, settings):
    queue(approver, viewer)
    assert list(Delivery.objects.values_list("channel", "notice__recipient__username")) == [("mail", "approver")]
    settings.MAIL_ENABLED = False
    queue(approver)
    assert Delivery.objects.count() == 1


def test_what_a_person_chose_counts(queue, mail, approver, viewer):
    for user, channel, enabled in ((approver, Channel.BELL, False), (viewer, Channel.BELL, False)):
        NoticePreference.objects.create(user=user, kind="approval.requested", channel=channel, enabled=enabled)
    NoticePreference.objects.create(user=viewer, kind="approval.requested", channel=Channel.MAIL, enabled=False)
    queue(approver, viewer)
    assert list(Notice.objects.values_list("recipient__username", "in_bell")) == [("approver", False)]
    assert Delivery.objects.count() == 1


def test_a_kind_that_is_off_by_default_reaches_nobody(queue, engineer):
    queue(engineer, kind="job.failed")
    assert not Notice.objects.exists()
    NoticePreference.objects.create(user=engineer, kind="job.failed", channel=Channel.BELL, enabled=True)
    queue(engineer, kind="job.failed")
    assert Notice.objects.count() == 1


def test_who_is_disabled_is_told_nothing(queue, approver):
    type(approver).objects.filter(pk=approver.pk).update(is_active=False)
    assert queue(approver) == []


def test_each_webhook_that_takes_the_kind_gets_one_message(queue, create, approver, viewer, settings):
    every, one, none = (
        create(name=n, kinds=k)[0] for n, k in (("a", []), ("b", ["approval.requested"]), ("c", ["job.failed"]))
    )
    queue(approver, viewer)
    assert sorted(Delivery.objects.values_list("webhook__name", flat=True)) == [every.name, one.name]
    assert none.name not in Delivery.objects.values_list("webhook__name", flat=True)
    body = json.loads(Delivery.objects.first().body)
    assert body["type"] == "approval.requested"
    assert body["data"] == {
        "message": "engineer asks for approval: Move it",
        "project": "demo",
        "subject": {"type": "project", "id": str(every.project_id)},
        "url": "/p/demo/approvals/7",
    }
    settings.NOTICE_HOSTS = []
    queue(approver)
    assert Delivery.objects.count() == 2


def test_it_lives_and_dies_with_what_caused_it(queue, webhook, approver):
    with transaction.atomic():
        queue(approver)
        transaction.set_rollback(True)
    assert not Notice.objects.exists()
    assert not Delivery.objects.exists()


def test_an_unknown_kind_is_a_defect(queue, approver):
    with pytest.raises(KeyError):
        queue(approver, kind="approval.unheard_of")
