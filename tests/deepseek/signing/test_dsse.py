"""Envelopes: what is signed, and everything that is refused before a payload is looked at."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.signing import dsse
from deepseek.signing.dsse import MAX_PAYLOAD_BYTES, Envelope, encode_pae, sign, verify
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import compute_key_id, generate_key

TYPE = "application/vnd.plane.test+json"
KEY = generate_key()
KEYS = {compute_key_id(KEY.public_key): KEY.public_key}
ENVELOPE = sign(TYPE, b'{"a": 1}', [KEY])
TEXT = ENVELOPE.to_json()


def test_what_is_signed_is_what_the_format_says() -> None:
    signed = encode_pae("http://example.com/HelloWorld", b"hello world")  # the example of its protocol.md
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_an_envelope_comes_back_as_it_was_signed() -> None:
    envelope = Envelope.parse(TEXT)
    assert envelope == ENVELOPE
    assert verify(envelope, KEYS, payload_type=TYPE) == b'{"a": 1}'


def test_several_keys_sign_and_each_must_be_trusted(other_key) -> None:
    envelope = sign(TYPE, b"x", [KEY, other_key])
    both = {**KEYS, compute_key_id(other_key.public_key): other_key.public_key}
    assert verify(envelope, both, payload_type=TYPE) == b"x"
    with pytest.raises(SigningError) as refused:
        verify(envelope, KEYS, payload_type=TYPE)
    assert (refused.value.code, refused.value.value) == ("key_unknown", compute_key_id(other_key.public_key))
    with pytest.raises(ValueError, match="different keys"):
        sign(TYPE, b"x", [KEY, KEY])


def spoil(**members: object) -> str:
    return json.dumps({**json.loads(TEXT), **members})


def spoil_signature(**members: object) -> str:
    return spoil(signatures=[{**json.loads(TEXT)["signatures"][0], **members}])


def test_what_is_not_an_envelope_is_refused_with_its_field() -> None:
    first = json.loads(TEXT)["signatures"][0]
    padded = base64.b64encode(b"ab").decode()  # YWI=
    cells = {
        "": "/",
        "[]": "/",
        "nonsense": "/",
        '{"payload": NaN}': "/",
        TEXT.replace('{"payload"', '{"payload":"eA==","payload"', 1): "payload",
        '{"a":' * 3000 + "1" + "}" * 3000: "/",
        '{"a":' * 30 + "1" + "}" * 30: "/",
        " " * (dsse.MAX_ENVELOPE_BYTES + 1): "/",
        "\ud800": "/",
        spoil(payloadType=""): "/payloadType",
        spoil(payloadType=7): "/payloadType",
        spoil(payload=""): "/payload",
        spoil(payload=padded + "\n"): "/payload",
        spoil(payload=padded.rstrip("=")): "/payload",
        spoil(payload="YWJ="): "/payload",  # bits left over that are not zero
        spoil(payload="YW-_"): "/payload",  # of another alphabet
        spoil(payload="YWI=YWI="): "/payload",
        spoil(payload=base64.b64encode(bytes(MAX_PAYLOAD_BYTES + 1)).decode()): "/payload",
        spoil(signatures=[]): "/signatures",
        spoil(signatures=None): "/signatures",
        spoil(signatures=[first] * 9): "/signatures",
        spoil(signatures=[first, first]): "/signatures/1/keyid",
        spoil(signatures=["x"]): "/signatures/0",
        spoil_signature(keyid="x"): "/signatures/0/keyid",
        spoil_signature(keyid=""): "/signatures/0/keyid",
        spoil_signature(sig=""): "/signatures/0/sig",
        spoil_signature(sig=padded): "/signatures/0/sig",
    }
    answers = {}
    for text in cells:
        with pytest.raises(SigningError) as refused:
            Envelope.parse(text)
        answers[text] = refused.value.field if refused.value.code == "document_malformed" else refused.value.code
    assert {text: answer for text, answer in answers.items() if answer != cells[text]} == {}


def test_another_type_or_key_or_payload_is_refused(other_key) -> None:
    signature = ENVELOPE.signatures[0]
    impostor = dsse.Signature(signature.key_id, other_key.sign(encode_pae(TYPE, ENVELOPE.payload)))
    cells = [
        (ENVELOPE, KEYS, "text/other", "payload_type_wrong"),
        (ENVELOPE, {}, TYPE, "key_unknown"),
        (Envelope(TYPE, b'{"a": 2}', ENVELOPE.signatures), KEYS, TYPE, "signature_wrong"),
        (
            Envelope("application/other", ENVELOPE.payload, ENVELOPE.signatures),
            KEYS,
            "application/other",
            "signature_wrong",
        ),
        (Envelope(TYPE, ENVELOPE.payload, (impostor,)), KEYS, TYPE, "signature_wrong"),
        (Envelope(TYPE, ENVELOPE.payload, ()), KEYS, TYPE, "document_malformed"),
    ]
    answers = []
    for envelope, keys, payload_type, code in cells:
        with pytest.raises(SigningError) as refused:
            verify(envelope, keys, payload_type=payload_type)
        answers.append((refused.value.code, code))
    assert [pair for pair in answers if pair[0] != pair[1]] == []


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 127))
def test_no_flipped_byte_passes(place: int, mask: int) -> None:
    data = bytearray(TEXT.encode())
    data[place] ^= mask
    try:
        envelope = Envelope.parse(bytes(data))
        payload = verify(envelope, KEYS, payload_type=TYPE)
    except SigningError:
        return
    assert (payload, envelope.payload_type) == (ENVELOPE.payload, TYPE)  # white space between members, for instance


def test_a_payload_that_nobody_would_read_is_not_signed() -> None:
    with pytest.raises(SigningError, match="too long"):
        sign(TYPE, bytes(MAX_PAYLOAD_BYTES + 1), [KEY])
