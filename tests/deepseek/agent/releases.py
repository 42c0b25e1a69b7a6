"""Signed releases and lists of keys, made in a test."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace

from deepseek.signing.dsse import sign
from deepseek.signing.key_lists import KeyList, ListedKey, sign_key_list
from deepseek.signing.keys import compute_key_id, generate_key
from deepseek.signing.provenance import Dependency, VariantProvenance, sign_provenance
from deepseek.signing.statements import (
    Decision,
    ReleaseApproval,
    ReleaseFile,
    ReleaseStatement,
    sign_release,
)

AT = "2026-11-29T15:44:48Z"
ROWS = [[1.0, 2.0], [3.0, 4.5]]
KEY = generate_key()
"""The release key of the plane; making one for each test proves nothing more."""


@dataclass(frozen=True)
class SignedRelease:
    statement: ReleaseStatement
    contents: dict[str, bytes]
    document: dict
    provenance: dict | None = None

    @property
    def digest(self):
        return hashlib.sha256(base64.b64decode(self.document["payload"])).hexdigest()

    def write(self, folder, key_lists=None):
        """A carried folder."""
        folder.mkdir(parents=True)
        (folder / "release.json").write_text(json.dumps(self.document))
        if self.provenance is not None:
            (folder / "provenance.json").write_text(json.dumps(self.provenance))
        if key_lists is not None:
            (folder / "keys.json").write_text(json.dumps({"version": len(key_lists), "lists": key_lists}))
        for name, content in self.contents.items():
            (folder / name).write_bytes(content)
        return folder


def make_release(sequence=1, *, scale=2.0, behaviour="", key=KEY, size=2000, **changes):
    """A release of a model that answers the sum of a row times `scale`.

    `behaviour`: what its server does wrong (servers.py). `changes`: of the statement.
    """
    model = json.dumps({"scale": scale, "behaviour": behaviour, "fill": "x" * size}).encode()
    answers = [sum(row) * scale for row in ROWS]
    contents = {"model.json": b"{}", "model.onnx": model, "samples.json": encode_samples(ROWS, answers)}
    return sign_contents(contents, key=key, sequence=sequence, version=sequence, **changes)


def make_provenance(release, *, key=KEY, **changes):
    """The envelope of the provenance of a release's model; `changes`: of its members."""
    model = release.statement.model_file
    provenance = VariantProvenance(
        file_name=model.name,
        sha256=model.sha256,
        builder="urn:deepseek-offline:plane:" + "a" * 64,
        parameters={"kind": "train", "spec": {"seed": 7}},
        dependencies=(Dependency("dataset_version/12", "b" * 64), Dependency("code/7", "c" * 64)),
        invocation="job/7",
        started_at=AT,
        finished_at=AT,
    )
    return sign_provenance(replace(provenance, **changes), key)


def make_proven_release(sequence=1, **changes):
    """A release that names its provenance, with it beside."""
    plain = make_release(sequence, **changes)
    envelope = make_provenance(plain, key=changes.get("key", KEY))
    release = make_release(sequence, provenance=envelope.digest, **changes)
    return replace(release, provenance=envelope.to_document())


def encode_samples(rows, predictions):
    """The file samples.json, as the plane makes it (deepseek/health)."""
    return json.dumps({"tolerance": 1e-4, "rows": rows, "predictions": predictions}).encode()


def sign_contents(contents, *, key=KEY, **changes):
    files = tuple(
        ReleaseFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in sorted(contents.items())
    )
    statement = ReleaseStatement(
        project="wti",
        model="price",
        version=1,
        variant="int8",
        format="onnx",
        architecture="any",
        sequence=1,
        issued_at=AT,
        files=files,
        samples="samples.json",
        approval=ReleaseApproval(12, "promotion", "d" * 64, (Decision("ada", "approve", AT),)),
    )
    statement = replace(statement, **changes)
    return SignedRelease(statement, contents, sign_release(statement, key).to_document())


def make_key_lists(*versions):
    """Documents of a chain of lists: for each version its keys, or a KeyList's members; each is signed by the first key
    of the one before, and by its own."""
    lists, before = [], None
    for number, version in enumerate(versions or ([KEY],), start=1):
        keys, more = version if isinstance(version, tuple) else (version, {})
        content = KeyList(number, tuple(ListedKey(compute_key_id(key.public_key), key.public_key, AT) for key in keys))
        signers = [keys[0]] if before in (None, keys[0]) else [before, keys[0]]
        lists.append(sign_key_list(replace(content, **more), signers).to_document())
        before = keys[0]
    return lists


def sign_payload(payload, payload_type, key=KEY):
    return sign(payload_type, payload, [key]).to_document()
