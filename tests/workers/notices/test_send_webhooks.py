"""Webhook messages on their way: signed, to listed hosts alone, again under the same id, within their time."""

from __future__ import annotations

import json
import re
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from apps.platform.notices import services
from apps.platform.notices.models import Delivery, Webhook
from tests.workers.notices.conftest import DISPATCHER
from workers.notices import webhooks
from workers.notices.sender import send_due_webhook_messages
from workers.notices.webhooks import DeliveryFailed, is_reachable, resolve_reachable_address

pytestmark = pytest.mark.django_db


def send() -> int:
    return send_due_webhook_messages(DISPATCHER)


def make_due() -> None:
    past = timezone.now() - timedelta(seconds=1)
    Delivery.objects.update(next_at=past)
    Webhook.objects.update(next_at=None)


def load_documented_receiver():
    """The function that docs/notices.md gives to whoever writes a receiver; it knows nothing of the product."""
    text = (Path(__file__).parents[3] / "docs/notices.md").read_text()
    names: dict = {}
    exec(re.search(r"```python\n(import base64.*?)```", text, re.DOTALL)[1], names)
    return names["is_genuine"]


def test_the_receiver_verifies_what_it_gets(create, receiver, queue):
    _webhook, secret = create()
    queue()
    assert send() == 1
    ((path, headers, body),) = receiver.got
    assert path == "/hooks/chat?a=1"
    is_genuine = load_documented_receiver()
    assert is_genuine(secret, headers, body)
    assert not is_genuine(secret, headers, body.replace(b"demo", b"prod"))
    stale = {name: headers[name] for name in ("webhook-id", "webhook-signature")} | {"webhook-timestamp": "1600000000"}
    assert not is_genuine(secret, stale, body)
    assert json.loads(body)["data"]["message"] == "engineer asks for approval: Move it"
    row = Delivery.objects.get()
    assert (row.state, row.attempts, headers["webhook-id"]) == ("sent", 1, row.event_id)
    assert send() == 0


def test_a_failure_is_tried_again_under_the_same_id(create, receiver, queue):
    create()
    queue()
    receiver.answers[:] = [500, 204]
    assert send() == 0
    assert (Delivery.objects.get().state, Delivery.objects.get().error) == ("failed", "HTTP 500")
    assert send() == 0
    assert len(receiver.got) == 1, "it pauses"
    make_due()
    assert send() == 1
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1


def test_a_killed_sender_is_followed_by_another(create, receiver, queue, monkeypatch):
    """Killed after the answer and before its record: the message arrives twice, under one id."""
    create()
    queue()
    with monkeypatch.context() as patch:
        patch.setattr(services, "record_sent", lambda **more: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            send()
    assert send() == 0, "the lease of who was killed runs on"
    make_due()
    assert send() == 1
    assert len(receiver.got) == 2
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1


def test_one_that_fails_is_asked_once_a_round_and_holds_up_no_other(create, receiver, queue):
    create("a"), create("b")
    queue(), queue()
    receiver.answers[:] = [500]
    assert send() == 2
    assert sorted(path[:8] for path, _, _ in receiver.got) == ["/hooks/a", "/hooks/b", "/hooks/b"]
    assert sorted(Delivery.objects.values_list("state", "attempts")) == [
        ("failed", 1),
        ("pending", 0),
        ("sent", 1),
        ("sent", 1),
    ]


def test_no_redirect_is_followed(create, receiver, queue):
    create()
    queue()
    receiver.answers[:] = [302]
    assert send() == 0
    assert len(receiver.got) == 1
    assert Delivery.objects.get().error == "HTTP 302 (redirects are not followed)"


def test_who_says_gone_is_disabled(create, receiver, queue):
    create()
    queue()
    receiver.answers[:] = [410]
    assert send() == 0
    assert (Webhook.objects.get().state, Delivery.objects.get().state) == ("disabled", "given_up")


def drip(handler) -> None:
    """A byte of the answer's head now and then: no timeout of a socket ever passes."""
    try:
        for _ in range(3000):  # a minute
            handler.wfile.write(b"H")
            time.sleep(0.02)
    except OSError:
        pass


def test_an_answer_that_drips_is_cut_off(create, receiver, queue, monkeypatch):
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.2)
    create()
    queue()
    receiver.answers[:] = [drip]
    begun = time.monotonic()
    assert send() == 0
    assert time.monotonic() - begun < 30
    assert "no answer within" in Delivery.objects.get().error


def test_a_host_that_is_listed_no_more_is_not_told(create, receiver, queue, settings):
    create()
    queue()
    settings.NOTICE_HOSTS = ["hooks.bank.example"]
    assert send() == 0
    assert receiver.got == []
    assert "not in NOTICE_HOSTS" in Delivery.objects.get().error


def test_which_addresses_a_listed_name_may_stand_for():
    cells = {
        ("10.1.2.3", "hooks"): True,
        ("192.168.0.9", "hooks"): True,
        ("fd00::1", "hooks"): True,
        ("127.0.0.1", "hooks"): False,
        ("::1", "hooks"): False,
        ("::ffff:127.0.0.1", "hooks"): False,
        ("169.254.169.254", "hooks"): False,
        ("fe80::1%eth0", "hooks"): False,
        ("0.0.0.0", "hooks"): False,
        ("224.0.0.1", "hooks"): False,
        ("8.8.8.8", "hooks"): False,
        ("8.8.8.8", "8.8.8.0/24"): True,
        ("127.0.0.1", "127.0.0.1:9"): True,
        ("127.0.0.1", "127.0.0.1:10"): False,
        ("10.1.2.3", "10.9.0.0/16"): True,
    }
    assert {cell: is_reachable(cell[0], 9, [cell[1]]) for cell in cells} == cells


def test_a_name_is_looked_up_once_and_every_address_of_it_counts(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("10.0.0.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    with pytest.raises(DeliveryFailed, match=r"127\.0\.0\.1"):
        resolve_reachable_address("hooks", 80, ["hooks"])
    found.pop()
    assert resolve_reachable_address("hooks", 80, ["hooks"]) == ("10.0.0.1", 80)
