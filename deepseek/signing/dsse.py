"""DSSE v1: an envelope with a payload, its type and signatures over both.

The format: https://github.com/secure-systems-lab/dsse. Stricter than it has to be: an envelope with one signature that
does not count is refused as a whole, so that nothing unverified travels beside what is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from deepseek.signing.documents import (
    KEY_ID,
    Fields,
    compute_digest,
    decode_base64,
    encode_base64,
    encode_canonical,
    read_json_object,
)
from deepseek.signing.errors import SigningError, shorten
from deepseek.signing.keys import SIGNATURE_BYTES, PublicKeys, Signer, compute_key_id, is_signature

MAX_PAYLOAD_BYTES = 1 << 20
MAX_ENVELOPE_BYTES = MAX_PAYLOAD_BYTES * 4 // 3 + 16_384
MAX_SIGNATURES = 8
WHAT = "The envelope"


def encode_pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding of type and payload."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


@dataclass(frozen=True)
class Signature:
    """`value`: the 64 bytes."""

    key_id: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """A payload that was signed. Nothing in it counts before `verify`."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the payload: what names the document, whoever signed it."""
        return compute_digest(self.payload)

    @classmethod
    def parse(cls, text: bytes | str) -> Self:
        """The envelope of a JSON text. Raises SigningError ``document_malformed``."""
        return cls.from_document(read_json_object(text, WHAT, max_bytes=MAX_ENVELOPE_BYTES))

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """The envelope of a JSON object. Raises SigningError ``document_malformed``."""
        fields = Fields(document, WHAT)
        payload_type = fields.read_text("payloadType", max_length=200)
        payload = _read_base64(fields, "payload", MAX_PAYLOAD_BYTES)
        signatures: dict[str, Signature] = {}
        for each in fields.iter_objects("signatures", low=1, high=MAX_SIGNATURES):
            key_id = each.read_text("keyid", pattern=KEY_ID, limit="16 hex digits in lower case")
            value = _read_base64(each, "sig", SIGNATURE_BYTES)
            if len(value) != SIGNATURE_BYTES:
                limit = f"{SIGNATURE_BYTES} bytes"
                raise each.build_error("sig", "it has another length", f"{len(value)} bytes", limit)
            if key_id in signatures:
                raise each.build_error("keyid", "it stands twice", key_id, "every key once")
            signatures[key_id] = Signature(key_id, value)
        return cls(payload_type, payload, tuple(signatures.values()))

    def to_document(self) -> dict[str, Any]:
        return {
            "payloadType": self.payload_type,
            "payload": encode_base64(self.payload),
            "signatures": [{"keyid": each.key_id, "sig": encode_base64(each.value)} for each in self.signatures],
        }

    def to_json(self) -> str:
        return encode_canonical(self.to_document()).decode()


def sign(payload_type: str, payload: bytes, signers: Sequence[Signer]) -> Envelope:
    """The payload, signed by each of `signers`, who must be different. Raises SigningError ``document_malformed`` for a
    payload that no reader would take."""
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        fields = Fields({}, WHAT)
        raise fields.build_error("payload", "it is too long", f"{len(payload)} bytes", f"{MAX_PAYLOAD_BYTES} bytes")
    message = encode_pae(payload_type, payload)
    signatures = {(name := compute_key_id(each.public_key)): Signature(name, each.sign(message)) for each in signers}
    if not 0 < len(signatures) <= MAX_SIGNATURES or len(signatures) != len(signers):
        raise ValueError(f"1 to {MAX_SIGNATURES} different keys sign")
    return Envelope(payload_type, payload, tuple(signatures.values()))


def verify(envelope: Envelope, keys: PublicKeys, *, payload_type: str) -> bytes:
    """The payload, once it is of `payload_type` and every signature is that of one of `keys`.

    Raises SigningError ``payload_type_wrong``, ``key_unknown`` or ``signature_wrong``.
    """
    if envelope.payload_type != payload_type:
        raise SigningError(
            "payload_type_wrong",
            f"The envelope holds {shorten(envelope.payload_type)}, where {payload_type} is wanted.",
            field="/payloadType",
            value=shorten(envelope.payload_type),
            limit=payload_type,
        )
    if not envelope.signatures:
        raise Fields({}, WHAT).build_error("signatures", "nobody has signed", "0 signatures", "1 at least")
    message = encode_pae(envelope.payload_type, envelope.payload)
    for each in envelope.signatures:
        key = keys.get(each.key_id)
        if key is None:
            raise SigningError(
                "key_unknown",
                f"The envelope is signed by the key {each.key_id}, which is not trusted.",
                field="/signatures",
                value=each.key_id,
                limit=", ".join(sorted(keys)[:MAX_SIGNATURES]) or "no key",
                hint="Fetch the list of keys; a key that was revoked stays refused.",
            )
        if not is_signature(key, each.value, message):
            raise SigningError(
                "signature_wrong",
                f"The signature by the key {each.key_id} does not belong to this payload.",
                field="/signatures",
                value=each.key_id,
                limit="a signature over the payload and its type",
                hint="Fetch it again. If that changes nothing, somebody has altered it.",
            )
    return envelope.payload


def _read_base64(fields: Fields, name: str, max_bytes: int) -> bytes:
    limit = f"standard base64 of 1 to {max_bytes} bytes"
    text = fields.read_text(name, limit=limit, max_length=(max_bytes + 2) // 3 * 4)
    value = decode_base64(text)
    if value is None or not 0 < len(value) <= max_bytes:
        raise fields.build_error(name, "it is not such base64", text, limit)
    return value
