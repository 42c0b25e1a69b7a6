"""Every byte of a bundle counts, and two different people sign it."""

import json
from dataclasses import replace
from functools import partial

import pytest

from deepseek.bundles.errors import TransferError
from deepseek.bundles.signatures import TrustedSigner, verify_signatures
from deepseek.bundles.spec import BUNDLE_TYPE, ENVELOPE_FILE, MANIFEST_FILE, BundleManifest
from deepseek.bundles.verification import verify_bundle
from deepseek.bundles.volumes import verify_volume
from deepseek.signing.documents import encode_canonical
from deepseek.signing.dsse import Envelope, Signature
from deepseek.signing.errors import SigningError
from tests.deepseek.bundles.conftest import KEYS, build_signers, sign_folder

ADA_BO = build_signers("Ada", "Bo")


def find_fault(call):
    """The code of the error that it raises; "" for none."""
    try:
        call()
    except (TransferError, SigningError) as error:
        return error.code
    return ""


def refuse(folder, signers=ADA_BO):
    return find_fault(lambda: verify_bundle(folder, signers))


def test_a_bundle_verifies(bundle, stored_objects):
    folder, manifest = bundle
    verified = verify_bundle(folder, ADA_BO)
    assert verified.signers == ("Ada", "Bo")
    assert verified.objects == len(stored_objects.data) == manifest.objects
    assert len(manifest.volumes) == 4


def test_each_volume_verifies_alone(bundle):
    folder, manifest = bundle
    for volume in manifest.volumes[1:]:
        (folder / volume.name).rename(folder / "aside.tar")
        assert verify_volume(folder / "aside.tar", volume, manifest.head.id)


def test_a_flipped_bit_anywhere_is_found(bundle):
    """In each volume: its headers, its list, its objects, its padding and its end."""
    folder, manifest = bundle
    missed = []
    for volume in manifest.volumes:
        path = folder / volume.name
        data = bytearray(path.read_bytes())
        places = [*range(0, 3000, 97), *range(3000, len(data), len(data) // 12), len(data) - 1, len(data) - 600]
        for place in places:
            data[place] ^= 1
            path.write_bytes(data)
            if find_fault(partial(verify_volume, path, volume, manifest.head.id)) != "volume_damaged":
                missed.append((volume.name, place))
            data[place] ^= 1
        path.write_bytes(data)
        verify_volume(path, volume, manifest.head.id)
    assert missed == []


def test_missing_cut_and_longer_volumes_are_refused(bundle):
    folder, manifest = bundle
    path = folder / manifest.volumes[2].name
    data = path.read_bytes()
    path.unlink()
    assert refuse(folder) == "volume_missing"
    for wrong in (data[:-1], data + b"\0", b""):
        path.write_bytes(wrong)
        assert refuse(folder) == "volume_damaged"
    path.write_bytes((folder / manifest.volumes[1].name).read_bytes())  # one in the place of another
    assert refuse(folder) == "volume_damaged"


def test_an_edited_list_is_refused(bundle):
    folder, manifest = bundle
    document = json.loads(manifest.text)
    document["contents"] = []
    (folder / MANIFEST_FILE).write_bytes(encode_canonical(document))
    assert refuse(folder) == "bundle_edited"


def test_a_manifest_of_nonsense_is_refused(bundle):
    _, manifest = bundle
    good = json.loads(manifest.text)
    cells = [
        {**good, "sequence": 0},
        {**good, "id": "../../etc"},
        {**good, "source": {"id": "x", "name": "y"}},
        {**good, "volumes": []},
        {**good, "volumes": [{**good["volumes"][0], "number": 2}]},
        {**good, "volumes": [{**good["volumes"][0], "manifest": "x"}]},
        {**good, "contents": [{"kind": "shell", "name": "a", "digest": "0" * 64}]},
        {**good, "schema": "plane/bundle/v2"},
        {key: value for key, value in good.items() if key != "inventory"},
    ]
    texts = [*map(encode_canonical, cells), b"", b"[]", b"{", manifest.text + b" ", b'{"a":1,"a":1}']
    faults = [find_fault(partial(BundleManifest.parse, text)) for text in texts]
    assert faults == ["bundle_malformed"] * len(texts)


def test_who_signed_decides(bundle):
    folder, manifest = bundle
    assert refuse(folder, build_signers("Ada")) == "key_unknown"  # revoked, or never trusted
    sign_folder(folder, manifest, "Ada")
    assert refuse(folder) == "too_few_signers"
    sign_folder(folder, manifest, "Ada", "Bo")
    same_person = {key_id: replace(signer, person="Ada") for key_id, signer in ADA_BO.items()}
    assert refuse(folder, same_person) == "too_few_signers"  # two keys of one person
    shared = TrustedSigner("Bo", KEYS["Ada"].public_key)  # one key under two names
    people = {"Ada": TrustedSigner("Ada", KEYS["Ada"].public_key), "Bo": shared}
    envelope = Envelope(BUNDLE_TYPE, manifest.text, tuple(Signature(name, b"") for name in people))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepseek.bundles.signatures.verify", lambda *_, **__: manifest.text)
        assert find_fault(partial(verify_signatures, envelope, manifest, people)) == "too_few_signers"
    (folder / ENVELOPE_FILE).unlink()
    assert refuse(folder) == "too_few_signers"


def test_a_signature_over_another_bundle_is_refused(bundle):
    folder, manifest = bundle
    document = json.loads(manifest.text)
    document["sequence"] = 2
    other = BundleManifest.parse(encode_canonical(document))
    envelope = json.loads(sign_folder(folder, other, "Ada", "Bo").to_json())
    (folder / ENVELOPE_FILE).write_text(json.dumps(envelope))
    assert refuse(folder) == "bundle_edited"
    right = json.loads(sign_folder(folder, manifest, "Ada", "Bo").to_json())
    right["signatures"][0]["sig"] = envelope["signatures"][0]["sig"]
    (folder / ENVELOPE_FILE).write_text(json.dumps(right))
    assert refuse(folder) == "signature_wrong"
