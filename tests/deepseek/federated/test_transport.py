"""Which messages a cell takes: plain ones of this study, from the peer that sent them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nvflare.fuel.f3.cellnet.core_cell import Message, MessageHeaderKey
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.cellnet.utils import make_reply

from deepseek.federated.errors import FederationError
from deepseek.federated.transport import SiteConnection, StudyCell, answer

GOOD = {
    MessageHeaderKey.ORIGIN: "north",
    MessageHeaderKey.FROM_CELL: "north",
    MessageHeaderKey.DESTINATION: "server",
    MessageHeaderKey.CHANNEL: "study",
    MessageHeaderKey.TOPIC: "update",
    MessageHeaderKey.PAYLOAD_ENCODING: "bytes",
}


def find_refusal(payload=b"x", **headers):
    cell = SimpleNamespace(get_fqcn=lambda: "server", max_bytes=10)
    message = Message(GOOD | headers, payload)
    return StudyCell.find_refusal(cell, SimpleNamespace(name="north"), message)


def test_a_plain_message_is_taken():
    assert find_refusal() == ""
    assert find_refusal(None, **{MessageHeaderKey.PAYLOAD_ENCODING: None}) == ""


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({MessageHeaderKey.PAYLOAD_ENCODING: "fobs"}, "plain bytes"),
        ({MessageHeaderKey.SECURE: True}, "plain bytes"),
        ({MessageHeaderKey.ORIGIN: "south"}, "another cell"),
        ({MessageHeaderKey.FROM_CELL: "south"}, "another cell"),
        ({MessageHeaderKey.DESTINATION: "south"}, "for another cell"),
        ({MessageHeaderKey.CHANNEL: "cell_net", MessageHeaderKey.TOPIC: "bulk"}, "another channel"),
        ({MessageHeaderKey.CONN_URL: "tcp://127.0.0.1:1"}, "another connection"),
    ],
)
def test_what_nvflare_could_do_beyond_that_is_dropped(headers, reason):
    assert reason in find_refusal(**headers)


def test_a_large_message_is_dropped():
    assert "too large" in find_refusal(b"x" * 11)


def connect(*replies, patience=30.0):
    """A connection whose server answers so, one reply after the other."""
    remaining = list(replies)
    connection = SiteConnection.__new__(SiteConnection)
    connection.patience, connection.way_out = patience, None
    connection._cell = SimpleNamespace(
        max_bytes=10, is_backbone_ready=lambda: True, send_request=lambda *_, **__: remaining.pop(0)
    )
    return connection


def raise_for(error):
    def handle(site, request):
        raise error

    return handle


def test_what_may_pass_is_asked_again_and_what_would_not_ends_at_once():
    request = Message(GOOD, b"x")
    down = answer(request, raise_for(OSError("the disk")))
    failed = answer(request, raise_for(KeyError("a secret")))
    fine = make_reply(ReturnCode.OK, body=b"yes")
    assert connect(down, make_reply(ReturnCode.TIMEOUT), fine).request("poll", b"") == b"yes"
    with pytest.raises(FederationError, match="failed at the message update: KeyError") as caught:
        connect(failed, fine).request("update", b"")
    assert (caught.value.code, "secret" in str(caught.value)) == ("message_refused", False)
    with pytest.raises(FederationError) as caught:
        connect(make_reply(ReturnCode.AUTHENTICATION_ERROR), fine).request("poll", b"")
    assert caught.value.value == ReturnCode.AUTHENTICATION_ERROR
    with pytest.raises(FederationError) as caught:
        connect(down, down, patience=0.0).request("poll", b"")
    assert caught.value.code == "server_unreachable"
