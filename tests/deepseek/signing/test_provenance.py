"""The provenance of a variant: read back as signed, and refused where it is not that of the release."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepseek.signing.dsse import Envelope
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import compute_key_id, generate_key
from deepseek.signing.provenance import VariantProvenance, verify_provenance
from deepseek.signing.statements import ReleaseStatement
from tests.deepseek.agent.releases import KEY, make_proven_release, make_provenance, make_release
from tests.deepseek.signing.test_statements import list_wrong

KEYS = {compute_key_id(KEY.public_key): KEY.public_key}


def test_provenance_comes_back_as_it_was_signed():
    release = make_proven_release()
    provenance = verify_provenance(release.provenance, release.statement, KEYS)
    assert provenance == VariantProvenance.parse(Envelope.from_document(release.provenance).payload)
    document = provenance.to_document()
    assert (document["_type"], document["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert document["subject"] == [
        {"name": "model.onnx", "digest": {"sha256": release.statement.model_file.sha256}},
    ]
    build = document["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {"kind": "train", "spec": {"seed": 7}}
    assert build["resolvedDependencies"][1] == {"name": "code/7", "digest": {"sha256": "c" * 64}}


def test_a_wrong_provenance_names_its_field():
    document = VariantProvenance.parse(make_provenance(make_release()).payload).to_document()
    cells = [
        ("/_type", "https://in-toto.io/Statement/v0.1"),
        ("/predicateType", "urn:deepseek-offline:release:v1"),
        ("/subject", []),
        ("/subject", document["subject"] * 2),
        ("/subject/0/name", "../model.onnx"),
        ("/subject/0/digest/sha256", "A" * 64),
        ("/predicate/buildDefinition/buildType", "https://example.org/v1"),
        ("/predicate/buildDefinition/externalParameters", "x"),
        ("/predicate/buildDefinition/resolvedDependencies/0/digest", {}),
        ("/predicate/runDetails/builder/id", ...),
        ("/predicate/runDetails/metadata/startedOn", "yesterday"),
    ]
    assert list_wrong(VariantProvenance.parse, document, cells) == []


def test_what_is_not_of_the_release_is_refused():
    proven, plain, stranger = make_proven_release(), make_release(), generate_key()
    flipped = {**proven.provenance, "payload": "A" + proven.provenance["payload"][1:]}
    unnamed = replace(proven.statement, provenance=None)
    other_model = make_provenance(plain, sha256="e" * 64)
    cells = [
        ("provenance_missing", None, proven.statement),
        ("signature_wrong", flipped, proven.statement),
        ("key_unknown", make_provenance(plain, key=stranger).to_document(), proven.statement),
        ("provenance_wrong", make_provenance(plain, invocation="job/8").to_document(), proven.statement),
        ("provenance_wrong", other_model.to_document(), replace(proven.statement, provenance=other_model.digest)),
        ("provenance_wrong", proven.provenance, unnamed),
        ("document_malformed", proven.document, proven.statement),  # the release in its place
        ("document_malformed", {}, proven.statement),
    ]
    wrong = []
    for code, document, statement in cells:
        with pytest.raises(SigningError) as refused:
            verify_provenance(document, statement, KEYS)
        if refused.value.code != code:
            wrong.append((code, refused.value.code))
    assert wrong == []


def test_a_release_that_names_none_needs_none_unless_it_is_required():
    plain = make_release()
    assert verify_provenance(None, plain.statement, KEYS) is None
    with pytest.raises(SigningError) as refused:
        verify_provenance(None, plain.statement, KEYS, is_required=True)
    assert refused.value.code == "provenance_missing"


def test_neither_document_is_read_as_the_other():
    with pytest.raises(SigningError) as refused:
        ReleaseStatement.parse(make_provenance(make_release()).payload)
    assert refused.value.field == "/predicateType"
