"""The public half of a person's key as a file, which goes to the target and to whoever verifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepseek.bundles.errors import TransferError
from deepseek.bundles.signatures import TrustedSigner, compute_fingerprint
from deepseek.signing.documents import Fields, encode_canonical, read_json_object
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import PublicKey, decode_public_key, encode_public_key

SCHEMA = "plane/bundle-signer/v1"
MAX_SIGNER_BYTES = 10_000
MAX_PERSON_LENGTH = 100


def describe_signer(person: str, key: PublicKey) -> dict[str, Any]:
    fields = {"schema": SCHEMA, "person": person, "public_key": encode_public_key(key)}
    return {**fields, "fingerprint": compute_fingerprint(key)}


def encode_signer(person: str, key: PublicKey) -> bytes:
    return encode_canonical(describe_signer(person, key)) + b"\n"


def parse_signer(text: bytes | str) -> TrustedSigner:
    """Raises TransferError ``signer_malformed``; also where the fingerprint is another key's."""
    what = "The signer"
    try:
        fields = Fields(read_json_object(text, what, max_bytes=MAX_SIGNER_BYTES), what)
        fields.read_choice("schema", SCHEMA)
        person = fields.read_text("person", max_length=MAX_PERSON_LENGTH)
        key = decode_public_key(fields.read_text("public_key"), "/public_key")
        fields.read_choice("fingerprint", compute_fingerprint(key))
    except SigningError as error:
        raise TransferError(
            "signer_malformed",
            error.message,
            field=error.field,
            value=error.value,
            limit=error.limit,
            hint="Give the .pub.json file that `deepseek bundle keygen` wrote.",
        ) from None
    return TrustedSigner(person, key)


def read_signer_file(path: Path) -> TrustedSigner:
    try:
        with path.open("rb") as file:
            return parse_signer(file.read(MAX_SIGNER_BYTES + 1))
    except OSError as error:
        raise TransferError(
            "signer_malformed",
            "{path} cannot be read: {fault}.",
            path=str(path),
            fault=error.strerror or str(error),
            field="--signer",
            value=str(path),
            hint="Give the .pub.json file that `deepseek bundle keygen` wrote.",
        ) from None
