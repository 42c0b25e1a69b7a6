"""Which messages a cell takes: plain ones of this study, from the peer that sent them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nvflare.fuel.f3.cellnet.core_cell import Message, MessageHeaderKey

from deepseek.federated.transport import StudyCell

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
