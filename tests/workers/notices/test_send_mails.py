"""Notices by mail, to a real server on a loopback port."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.platform.accounts.models import User
from apps.platform.notices.models import Delivery
from tests.workers.notices.conftest import DISPATCHER
from workers.notices.sender import send_due_mails

pytestmark = pytest.mark.django_db


def send() -> int:
    return send_due_mails(DISPATCHER)


def make_due() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


@pytest.fixture(autouse=True)
def _address(settings):
    settings.ENV = settings.ENV.model_copy(update={"plane_url": "https://plane.bank.example/"})


def test_a_mail_names_what_it_is_about_and_holds_a_link(mail_server, queue, reachable):
    queue(reachable)
    assert send() == 1
    (mail,) = mail_server.mails
    assert (mail["To"], mail["From"]) == ("approver@bank.example", "plane@bank.example")
    assert mail["Subject"] == "engineer asks for approval: Move it"
    row = Delivery.objects.get()
    assert (row.state, mail["Message-ID"]) == ("sent", f"<{row.event_id}@bank.example>")
    assert mail.get_content_type() == "text/plain"
    lines = mail.get_content().splitlines()
    assert lines[:3] == [
        "engineer asks for approval: Move it",
        "",
        "https://plane.bank.example/p/demo/approvals/7",
    ]
    assert "https://plane.bank.example/account/notices" in mail.get_content()
    assert send() == 0


def test_it_is_in_the_language_of_the_reader(mail_server, queue, reachable):
    User.objects.update(language="zh-hans")
    queue(reachable)
    assert send() == 1
    assert mail_server.mails[0]["Subject"] == "engineer 请求审批：Move it"


def test_a_name_with_line_breaks_becomes_no_header(mail_server, queue, reachable):
    queue(reachable, title="Move it\r\nBcc: everybody@bank.example\u2028X-Header: 1\x00")
    assert send() == 1
    ((_sender, recipients, _data),) = mail_server.envelopes
    (mail,) = mail_server.mails
    assert recipients == ["TO:<approver@bank.example>"]
    assert (mail["Bcc"], mail["X-Header"]) == (None, None)
    assert mail["Subject"] == "engineer asks for approval: Move it Bcc: everybody@bank.example X-Header: 1"


def test_a_server_that_is_away_is_asked_again_later(mail_server, queue, reachable):
    mail_server.answers["RCPT"] = "451 try again later"
    queue(reachable), queue(reachable)
    assert send() == 0
    assert sorted(Delivery.objects.values_list("state", "attempts")) == [("failed", 1), ("pending", 0)]
    assert send() == 0, "both wait"
    mail_server.answers.clear()
    make_due()
    assert send() == 2


def test_a_server_that_does_not_answer_is_named(queue, reachable, settings):
    settings.MAIL_ENABLED, settings.EMAIL_HOST, settings.EMAIL_PORT = True, "127.0.0.1", 9
    queue(reachable)
    assert send() == 0
    assert "refused" in Delivery.objects.get().error


def test_a_recipient_that_does_not_exist_is_given_up(mail_server, queue, reachable):
    mail_server.answers["RCPT"] = "550 no such user"
    queue(reachable)
    assert send() == 0
    row = Delivery.objects.get()
    assert (row.state, row.error) == ("given_up", "the server refused the recipient: 550")


def test_who_has_left_the_project_is_told_no_more(mail_server, queue, reachable):
    queue(reachable)
    reachable.memberships.all().delete()
    assert send() == 0
    assert (Delivery.objects.get().state, mail_server.envelopes) == ("given_up", [])


def test_while_mail_is_off_nothing_is_sent(mail_server, queue, reachable, settings):
    queue(reachable)
    settings.MAIL_ENABLED = False
    assert send() == 0
    assert mail_server.envelopes == []
