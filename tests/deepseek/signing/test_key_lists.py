"""The chain of key lists: rotation, revocation, and every way to go back or round."""

import pytest

from deepseek.signing.documents import encode_canonical
from deepseek.signing.errors import SigningError
from deepseek.signing.key_lists import (
    KeyList,
    ListedKey,
    RevokedKey,
    SignedKeyList,
    parse_key_lists,
    sign_key_list,
    verify_key_lists,
    verify_release,
)
from deepseek.signing.keys import FileSigner, compute_key_id, generate_key
from deepseek.signing.statements import sign_release

AT = "2026-11-29T15:44:48Z"


def build_list(version: int, *keys: FileSigner, revoked: tuple = (), releases: tuple = ()) -> KeyList:
    listed = tuple(ListedKey(compute_key_id(each.public_key), each.public_key, AT) for each in keys)
    gone = tuple(RevokedKey(compute_key_id(each.public_key), AT, "stolen") for each in revoked)
    return KeyList(version, listed, gone, releases)


def sign_list(content: KeyList, *signers: FileSigner) -> SignedKeyList:
    return SignedKeyList.parse(sign_key_list(content, signers).to_document())


def get_code(*lists: SignedKeyList, **options) -> str:
    with pytest.raises(SigningError) as refused:
        verify_key_lists(lists, **options)
    return refused.value.code


@pytest.fixture(scope="module")
def chain(key, other_key) -> list[SignedKeyList]:
    """The first key, a second beside it, the first revoked."""
    return [
        sign_list(build_list(1, key), key),
        sign_list(build_list(2, key, other_key), key, other_key),
        sign_list(build_list(3, other_key, revoked=(key,)), other_key),
    ]


def test_a_chain_is_followed_from_version_1_or_from_what_is_trusted(chain) -> None:
    contents = [each.content for each in chain]
    assert verify_key_lists(chain) == contents[2]
    assert verify_key_lists(chain, fingerprint=contents[0].digest) == contents[2]
    assert verify_key_lists(chain[1:], trusted=contents[0]) == contents[2]
    assert verify_key_lists(chain, trusted=contents[1]) == contents[2]
    assert verify_key_lists([], trusted=contents[1]) == contents[1]
    document = {"version": 3, "lists": [each.envelope.to_document() for each in chain]}
    assert [each.content for each in parse_key_lists(document)] == contents


def test_a_broken_chain_is_refused(chain, key, other_key) -> None:
    stranger = generate_key()
    fork = sign_list(build_list(2, key, stranger), key, stranger)
    forged = sign_list(build_list(2, stranger), stranger)
    taken_back = sign_list(build_list(4, key, other_key), other_key, key)
    by_the_revoked = sign_list(build_list(4, other_key, revoked=(key,), releases=("a" * 64,)), key)
    half = SignedKeyList(forged.envelope, chain[1].content)
    answers = {
        "none": get_code(),
        "gap": get_code(chain[0], chain[2]),
        "late start": get_code(*chain[1:]),
        "by a stranger": get_code(chain[0], forged),
        "fork": get_code(chain[0], fork, trusted=chain[1].content),
        "revocation taken back": get_code(*chain, taken_back),
        "by a revoked key": get_code(*chain, by_the_revoked),
        "payload of another": get_code(chain[0], half),
        "older": get_code(chain[0], trusted=chain[1].content),
        "other plane": get_code(*chain, fingerprint="0" * 64),
        "first not signed by itself": get_code(sign_list(build_list(1, key), stranger)),
    }
    expected = dict.fromkeys(answers, "keys_chain_broken") | {
        "by a revoked key": "key_unknown",
        "older": "keys_downgrade",
        "other plane": "fingerprint_wrong",
        "first not signed by itself": "key_unknown",
    }
    assert answers == expected


def test_a_wrong_list_names_its_field(key) -> None:
    right = build_list(1, key).to_document()
    listed = right["keys"][0]
    cells = {
        "/keys": {"keys": []},
        "/keys/0/id": {"keys": [{**listed, "id": "0" * 16}]},
        "/keys/1/id": {"keys": [listed, listed]},
        "/keys/0/public_key": {"keys": [{**listed, "public_key": "x"}]},
        "/revoked/0/id": {"revoked": [{"id": listed["id"], "at": AT, "reason": ""}]},
        "/revoked_releases/1": {"revoked_releases": ["a" * 64, "a" * 64]},
        "/version": {"version": 0},
    }
    answers = {}
    for field, members in cells.items():
        with pytest.raises(SigningError) as refused:
            KeyList.parse(encode_canonical({**right, **members}))
        answers[field] = refused.value.field
    assert answers == {field: field for field in cells}
    page = {"version": 2, "lists": [sign_list(build_list(1, key), key).envelope.to_document()]}
    with pytest.raises(SigningError, match="another"):
        parse_key_lists(page)
    assert len(parse_key_lists(page, is_page=True)) == 1
    with pytest.raises(SigningError):
        parse_key_lists({**page, "version": 0}, is_page=True)


def test_a_release_counts_until_its_key_or_itself_is_revoked(chain, statement, key, other_key) -> None:
    first, second, third = (each.content for each in chain)
    by_first, by_second = sign_release(statement, key), sign_release(statement, other_key)
    verified = verify_release(by_first, second)
    assert (verified.statement, verified.digest) == (statement, by_first.digest)
    revoked = build_list(4, other_key, revoked=(key,), releases=(by_second.digest,))
    answers = []
    for envelope, keys in ((by_second, first), (by_first, third), (by_second, revoked)):
        with pytest.raises(SigningError) as refused:
            verify_release(envelope, keys)
        answers.append(refused.value.code)
    assert answers == ["key_unknown", "key_revoked", "release_revoked"]
