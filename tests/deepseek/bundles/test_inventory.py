"""An inventory is read as a stream: the digests that a bundle asks for are kept, whatever the pieces."""

import hashlib
import json

import pytest

from deepseek.bundles.errors import TransferError
from deepseek.bundles.inventory import Inventory, read_inventory
from deepseek.bundles.spec import encode_inventory
from tests.deepseek.bundles.conftest import TARGET

CREATED = "2026-11-30T09:00:00Z"
DIGESTS = [hashlib.sha256(bytes([n])).hexdigest() for n in range(5)]


def cut(text, size):
    return [text[at : at + size] for at in range(0, len(text), size)]


def test_pieces_of_any_size_give_the_same():
    wrong = []
    for digests in ([], DIGESTS[:1], DIGESTS):
        text = encode_inventory(TARGET, CREATED, digests)
        for size in (1, 2, 7, 66, 67, 68, 1000):
            read = read_inventory(cut(text, size))
            if (read.plane, read.created, read.digests, read.digest) != (
                TARGET,
                CREATED,
                frozenset(digests),
                hashlib.sha256(text).hexdigest(),
            ):
                wrong.append((len(digests), size))
    assert wrong == []


def test_only_what_is_wanted_is_kept():
    text = encode_inventory(TARGET, CREATED, DIGESTS)
    assert read_inventory([text], {DIGESTS[2], "0" * 64}).digests == {DIGESTS[2]}
    assert Inventory.parse(text).digests == set(DIGESTS)


def test_what_is_no_inventory_is_refused():
    good = encode_inventory(TARGET, CREATED, DIGESTS)
    cells = {
        "nothing": b"",
        "cut off": good[:-1],
        "cut in a digest": good[:200],
        "more behind": good + b" ",
        "a digest in capitals": good.replace(DIGESTS[0].encode(), DIGESTS[0].upper().encode()),
        "a short digest": good.replace(DIGESTS[0].encode(), DIGESTS[0][1:].encode()),
        "spaces": json.dumps(json.loads(good)).encode(),
        "another schema": good.replace(b"inventory/v1", b"inventory/v2"),
        "another plane": good.replace(TARGET.id.encode(), b"x"),
        "no list": b'{"created":"' + b"x" * 100_000,
        "much behind": good[:-1] + b" " * 100_000,
    }
    codes = {name: find_fault(text) for name, text in cells.items()}
    assert codes == dict.fromkeys(cells, "inventory_malformed")


def find_fault(text):
    try:
        read_inventory(cut(text, 97))
    except TransferError as error:
        return error.code
    return ""


def test_too_many_digests_are_refused(monkeypatch):
    monkeypatch.setattr("deepseek.bundles.inventory.MAX_INVENTORY_DIGESTS", 4)
    with pytest.raises(TransferError):
        read_inventory([encode_inventory(TARGET, CREATED, DIGESTS)])
