"""The release statement, the receipt and the proof of an enrolment: read back as signed, or refused by name."""

import json

import pytest

from deepseek.signing.documents import encode_canonical
from deepseek.signing.dsse import sign
from deepseek.signing.errors import SigningError
from deepseek.signing.statements import (
    RECEIPT_TYPE,
    HealthCheck,
    Receipt,
    ReleaseStatement,
    sign_enrolment,
    sign_receipt,
    sign_release,
    verify_enrolment,
    verify_receipt,
)

AT = "2026-11-29T15:44:48Z"
RECEIPT = Receipt(
    device="17",
    project="wti",
    assignment="4",
    release="e" * 64,
    variant="b" * 64,
    counter=1,
    boot_id="5f0c",
    started_at=AT,
    agent_version="0.1.0",
    health=HealthCheck(16, 1e-6),
)


def change(document: dict, path: str, value: object) -> bytes:
    """The canonical text of `document` with the member at `path` replaced; `...` removes it."""
    changed = json.loads(json.dumps(document))
    *parents, last = path.strip("/").split("/")
    inside = changed
    for name in parents:
        inside = inside[int(name) if name.isdigit() else name]
    if value is ...:
        del inside[last]
    else:
        inside[int(last) if last.isdigit() else last] = value
    return encode_canonical(changed)


def list_wrong(parse, document: dict, cells: list[tuple[str, object]]) -> list[object]:
    """The cells whose error names another field than the one that was spoilt."""
    wrong = []
    for path, value in cells:
        with pytest.raises(SigningError) as refused:
            parse(change(document, path, value))
        named = refused.value.field or ""
        if refused.value.code != "document_malformed" or not named.startswith(path):
            wrong.append((path, value, named))
    return wrong


def test_a_release_comes_back_as_it_was_signed(statement, key) -> None:
    envelope = sign_release(statement, key)
    assert ReleaseStatement.parse(envelope.payload) == statement
    assert statement.model_file.name == "model.onnx"
    newer = change(statement.to_document(), "/predicate/colour", "of a newer plane")
    assert ReleaseStatement.parse(newer) == statement


def test_a_wrong_release_names_its_field(statement) -> None:
    document = statement.to_document()
    twice = [*document["predicate"]["files"], {"name": "MODEL.json", "size": 1, "sha256": "f" * 64}]
    cells = [
        ("/_type", "https://in-toto.io/Statement/v0.1"),
        ("/predicateType", "urn:deepseek-offline:release:v2"),
        ("/subject", []),
        ("/subject/0/digest/sha256", "f" * 64),
        ("/predicate/project", "../x"),
        ("/predicate/model", ""),
        ("/predicate/model", "a\nb"),
        ("/predicate/version", 0),
        ("/predicate/version", True),
        ("/predicate/version", 1.0),
        ("/predicate/architecture", "mips"),
        ("/predicate/sequence", ...),
        ("/predicate/sequence", 2**53),
        ("/predicate/issued_at", "yesterday"),
        ("/predicate/issued_at", "2026-13-01T00:00:00Z"),
        ("/predicate/files", twice),
        ("/predicate/files", document["predicate"]["files"][:1]),
        ("/predicate/files/0/name", "../model.json"),
        ("/predicate/files/0/name", ".hidden"),
        ("/predicate/files/1/size", -1),
        ("/predicate/files/1/sha256", "B" * 64),
        ("/predicate/samples", "other.json"),
        ("/predicate/approval", None),
        ("/predicate/approval/decisions", []),
        ("/predicate/approval/decisions/0/decision", "maybe"),
        ("/predicate/approval/facts_digest", "x"),
    ]
    wrong = list_wrong(ReleaseStatement.parse, document, cells)
    # Two of them show first where the subject no longer fits, or which files are left over.
    assert [cell for cell in wrong if cell[2] not in ("/subject", "/predicate/files")] == []


def test_a_receipt_comes_back_and_a_wrong_one_names_its_field(key, other_key) -> None:
    envelope = sign_receipt(RECEIPT, key)
    assert verify_receipt(envelope, key.public_key) == RECEIPT
    with pytest.raises(SigningError) as refused:
        verify_receipt(envelope, other_key.public_key)
    assert refused.value.code == "key_unknown"
    cells = [
        ("/device", ""),
        ("/release", ...),
        ("/counter", 0),
        ("/counter", "1"),
        ("/started_at", "2026-11-29"),
        ("/health", []),
        ("/health/rows", -1),
        ("/health/largest_difference", -0.1),
    ]
    assert list_wrong(Receipt.parse, RECEIPT.to_document(), cells) == []
    with pytest.raises(SigningError, match="largest_difference"):
        Receipt.parse(encode_canonical(RECEIPT.to_document()).replace(b"1e-06", b"1e999"))


def test_a_signature_over_one_type_does_not_count_for_another(statement, key) -> None:
    payload = encode_canonical(RECEIPT.to_document())
    with pytest.raises(SigningError) as refused:
        verify_receipt(sign("application/vnd.plane.other+json", payload, [key]), key.public_key)
    assert refused.value.code == "payload_type_wrong"
    assert verify_receipt(sign(RECEIPT_TYPE, payload, [key]), key.public_key) == RECEIPT


def test_a_proof_counts_for_its_name_token_and_key_alone(key, other_key) -> None:
    proof = sign_enrolment("line-4", "dse_secret", key)
    verify_enrolment(proof, name="line-4", token="dse_secret", public_key=key.public_key)
    cells = [
        (proof, "line-5", "dse_secret", key),
        (proof, "line-4", "dse_other", key),
        (proof, "line-4", "dse_secret", other_key),
        ("", "line-4", "dse_secret", key),
        (proof + "=", "line-4", "dse_secret", key),
        (None, "line-4", "dse_secret", key),
    ]
    codes = []
    for text, name, token, holder in cells:
        with pytest.raises(SigningError) as refused:
            verify_enrolment(text, name=name, token=token, public_key=holder.public_key)
        codes.append(refused.value.code)
        assert token not in str(refused.value)
    assert set(codes) == {"proof_wrong"}
