"""A bundle of a few small volumes, made once, and copies of it to spoil."""

import hashlib
import os
import shutil

import pytest

from deepseek.bundles.signatures import TrustedSigner, add_signature
from deepseek.bundles.spec import ENVELOPE_FILE, BundleHead, Content, ObjectRef, PlaneRef
from deepseek.bundles.writer import write_bundle
from deepseek.signing.keys import generate_key

SOURCE, TARGET = PlaneRef("a" * 32, "source"), PlaneRef("c" * 32, "target")
KEYS = {person: generate_key() for person in ("Ada", "Bo", "Cy")}


class Objects:
    """Bytes by digest; counts how often each is opened."""

    def __init__(self, sizes=(0, 1, 511, 512, 700_000, 3_000_000)):
        self.data = {hashlib.sha256(data).hexdigest(): data for data in map(os.urandom, sizes)}
        self.opened = []

    def open(self, digest, start, end):
        self.opened.append(digest)
        return [self.data[digest][start:end]]

    @property
    def refs(self):
        return [ObjectRef(digest, len(data)) for digest, data in self.data.items()]


def build_head(refs, **changes):
    values = {
        "id": "b" * 32,
        "source": SOURCE,
        "target": TARGET,
        "sequence": 1,
        "created": "2026-11-30T09:00:00Z",
        "inventory": "0" * 64,
        "contents": (Content("run", "first", "1" * 64),),
        "catalogue": refs[0],
        "sbom": refs[1],
    }
    return BundleHead(**{**values, **changes})


def build_signers(*people):
    signers = [TrustedSigner(person, KEYS[person].public_key) for person in people]
    return {signer.key_id: signer for signer in signers}


def sign_folder(folder, manifest, *people):
    envelope = None
    for person in people:
        envelope = add_signature(manifest, envelope, KEYS[person])
    (folder / ENVELOPE_FILE).write_text(envelope.to_json())
    return envelope


@pytest.fixture(scope="session")
def stored_objects():
    return Objects()


@pytest.fixture(scope="session")
def pristine(tmp_path_factory, stored_objects):
    """(folder, manifest) of a bundle of four volumes, signed by Ada and Bo."""
    folder = tmp_path_factory.mktemp("bundle")
    head = build_head(stored_objects.refs)
    manifest = write_bundle(folder, head, stored_objects.refs, stored_objects.open, volume_bytes=1 << 20)
    sign_folder(folder, manifest, "Ada", "Bo")
    return folder, manifest


@pytest.fixture
def bundle(pristine, tmp_path):
    """(folder, manifest) of a copy that a test may spoil."""
    return shutil.copytree(pristine[0], tmp_path / "bundle"), pristine[1]
