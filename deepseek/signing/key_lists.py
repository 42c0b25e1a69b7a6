"""The lists of keys that releases are signed with: each version is signed by a key of the one before.

Version 1 is trusted when a device meets its plane: it came over the connection of the enrolment, or its fingerprint was
compared by a person. From there on the chain alone decides. A list never goes back to a lower version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from deepseek.signing.documents import KEY_ID, Fields, compute_digest, encode_canonical, read_json_object
from deepseek.signing.dsse import MAX_PAYLOAD_BYTES, Envelope, sign, verify
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import PublicKey, Signer, compute_key_id, decode_public_key, encode_public_key
from deepseek.signing.statements import RELEASE_TYPE, ReleaseStatement

KEY_LIST_TYPE = "application/vnd.plane.keys+json"
MAX_KEYS = 50
MAX_REVOKED_KEYS = 1000
MAX_REVOKED_RELEASES = 10_000
WHAT = "The list of keys"


@dataclass(frozen=True)
class ListedKey:
    """A key that signs releases; `since` is when it came on the list."""

    id: str
    public_key: PublicKey
    since: str


@dataclass(frozen=True)
class RevokedKey:
    id: str
    at: str
    reason: str


@dataclass(frozen=True)
class KeyList:
    """One version of the list. A key that is revoked stands in `revoked` alone."""

    version: int
    keys: tuple[ListedKey, ...]
    revoked: tuple[RevokedKey, ...] = ()
    revoked_releases: tuple[str, ...] = ()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Raises SigningError ``document_malformed``."""
        fields = Fields(read_json_object(payload, WHAT, max_bytes=MAX_PAYLOAD_BYTES), WHAT)
        keys: dict[str, ListedKey] = {}
        for each in fields.iter_objects("keys", low=1, high=MAX_KEYS):
            key = decode_public_key(each.read_text("public_key"), f"{each.path}/public_key")
            name = each.read_text("id", pattern=KEY_ID, limit="16 hex digits in lower case")
            if name in keys or name != compute_key_id(key):
                raise each.build_error("id", "it stands twice, or is another key's", name, compute_key_id(key))
            keys[name] = ListedKey(name, key, each.read_time("from"))
        revoked: dict[str, RevokedKey] = {}
        for each in fields.iter_objects("revoked", high=MAX_REVOKED_KEYS):
            name = each.read_text("id", pattern=KEY_ID, limit="16 hex digits in lower case")
            if name in keys or name in revoked:
                raise each.build_error("id", "it stands twice, or among the keys too", name, "every key once")
            reason = each.read_text("reason", min_length=0, max_length=2000)
            revoked[name] = RevokedKey(name, each.read_time("at"), reason)
        return cls(
            version=fields.read_integer("version", low=1),
            keys=tuple(keys.values()),
            revoked=tuple(revoked.values()),
            revoked_releases=fields.read_digests("revoked_releases", high=MAX_REVOKED_RELEASES),
        )

    def to_document(self) -> dict[str, Any]:
        return {
            "project": None,
            "version": self.version,
            "keys": [
                {"id": each.id, "public_key": encode_public_key(each.public_key), "from": each.since}
                for each in self.keys
            ],
            "revoked": [{"id": each.id, "at": each.at, "reason": each.reason} for each in self.revoked],
            "revoked_releases": list(self.revoked_releases),
        }

    def encode(self) -> bytes:
        """The bytes that are signed."""
        return encode_canonical(self.to_document())

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text. Of version 1 it is the fingerprint of a plane."""
        return compute_digest(self.encode())

    @property
    def public_keys(self) -> dict[str, PublicKey]:
        """Key id -> key, of those that count."""
        return {each.id: each.public_key for each in self.keys}


@dataclass(frozen=True)
class SignedKeyList:
    """A list, and the envelope that it came in."""

    envelope: Envelope
    content: KeyList

    @classmethod
    def parse(cls, document: Any) -> Self:
        """The list in the JSON object of an envelope; no signature is looked at yet. Raises SigningError."""
        envelope = Envelope.from_document(document)
        content = KeyList.parse(envelope.payload)
        if content.encode() != envelope.payload:
            raise Fields({}, WHAT).build_error("payload", "it is not canonical JSON", "other bytes", "canonical JSON")
        return cls(envelope, content)


def sign_key_list(content: KeyList, signers: Sequence[Signer]) -> Envelope:
    """The list, signed; it is read back, so that none is signed that a device would not read."""
    payload = content.encode()
    KeyList.parse(payload)
    return sign(KEY_LIST_TYPE, payload, signers)


def parse_key_lists(document: Any, *, is_page: bool = False) -> list[SignedKeyList]:
    """The lists of ``{"version", "lists": [...]}``, as a plane gives them and a carried folder holds them. A page may
    end before `version`: the plane has more."""
    fields = Fields(document, WHAT)
    lists = [SignedKeyList.parse(each.values) for each in fields.iter_objects("lists", high=10_000)]
    version = fields.read_integer("version", low=1)
    if lists and lists[-1].content.version != version and not (is_page and lists[-1].content.version < version):
        limit = f"the version of the newest list, {lists[-1].content.version}"
        raise fields.build_error("version", "the newest list is of another", version, limit)
    return lists


def verify_key_lists(
    lists: Sequence[SignedKeyList], *, trusted: KeyList | None = None, fingerprint: str = ""
) -> KeyList:
    """The newest list that counts: the chain is followed from `trusted`, or from version 1 where nothing is trusted.

    `lists` are in order of version, without gaps. Those up to the version of `trusted` may be among them. With a
    `fingerprint`, version 1 must have it. Raises SigningError ``fingerprint_wrong``, ``keys_downgrade``,
    ``keys_chain_broken``, or what `verify` raises.
    """
    current = trusted
    for each in lists:
        content = each.content
        if content.digest != each.envelope.digest:
            raise _build_chain_error(f"Version {content.version} is not what its envelope holds", content.version)
        if current is None:
            _require_first(each, fingerprint)
        elif content.version < current.version:
            continue
        elif content.version == current.version:
            if content.digest != current.digest:
                raise _build_chain_error(f"Version {content.version} is not the list that is trusted", content.version)
            continue
        elif content.version != current.version + 1:
            raise _build_chain_error(f"Version {current.version + 1} of the list lacks", content.version)
        else:
            _require_successor(each, current)
        current = content
    if current is None:
        raise _build_chain_error("There is no list of keys", 0)
    if trusted is not None and lists and lists[-1].content.version < trusted.version:
        raise SigningError(
            "keys_downgrade",
            f"The list of keys is of version {lists[-1].content.version}, and {trusted.version} was seen before.",
            field="version",
            value=str(lists[-1].content.version),
            limit=trusted.version,
            hint="The plane was set back, or this is another one: look before this device trusts it.",
        )
    return current


def _require_first(first: SignedKeyList, fingerprint: str) -> None:
    if first.content.version != 1:
        raise _build_chain_error("Version 1 of the list lacks", first.content.version)
    if fingerprint and first.content.digest != fingerprint:
        raise SigningError(
            "fingerprint_wrong",
            "The list of keys is not that of the plane whose fingerprint was given.",
            field="fingerprint",
            value=first.content.digest,
            limit=fingerprint,
            hint="Compare it with `manage.py release_keys list` on the plane.",
        )
    verify(first.envelope, first.content.public_keys, payload_type=KEY_LIST_TYPE)


def _require_successor(after: SignedKeyList, before: KeyList) -> None:
    """Raise SigningError unless a key of `before` signed `after`, and what was revoked stays so."""
    verify(after.envelope, {**after.content.public_keys, **before.public_keys}, payload_type=KEY_LIST_TYPE)
    if not {each.key_id for each in after.envelope.signatures} & set(before.public_keys):
        raise _build_chain_error(f"No key of version {before.version} has signed the next", after.content.version)
    revoked = {each.id for each in before.revoked} - {each.id for each in after.content.revoked}
    if revoked or set(before.revoked_releases) - set(after.content.revoked_releases):
        raise _build_chain_error("The list takes a revocation back", after.content.version)


def _build_chain_error(text: str, version: int) -> SigningError:
    return SigningError(
        "keys_chain_broken",
        f"{text}.",
        field="lists",
        value=f"version {version}",
        limit="every version from 1 on, each signed by a key of the one before",
        hint="Fetch all lists again. If that changes nothing, somebody has altered them.",
    )


@dataclass(frozen=True)
class VerifiedRelease:
    """A release whose signature counts. `digest` names it: in receipts, in the list of what is revoked."""

    statement: ReleaseStatement
    digest: str


def verify_release(envelope: Envelope, keys: KeyList) -> VerifiedRelease:
    """The release, signed by a key of the list and not revoked. Raises SigningError ``release_revoked``,
    ``key_revoked``, or as `verify` and `ReleaseStatement.parse` do.

    Architecture and sequence are the device's to check: they depend on what it is and has.
    """
    revoked = {each.id: each for each in keys.revoked}
    for each in envelope.signatures:
        if each.key_id in revoked:
            match = revoked[each.key_id]
            raise SigningError(
                "key_revoked",
                f"The release is signed by the key {match.id}, which was revoked.",
                field="/signatures",
                value=match.id,
                limit="a key that is not revoked",
                hint="Have the plane issue the release again.",
            )
    statement = ReleaseStatement.parse(verify(envelope, keys.public_keys, payload_type=RELEASE_TYPE))
    if envelope.digest in keys.revoked_releases:
        raise SigningError(
            "release_revoked",
            f"The release {envelope.digest[:12]} of {statement.model} was revoked.",
            field="/payload",
            value=envelope.digest,
            limit="a release that is not revoked",
            hint="Have the plane issue another one.",
        )
    return VerifiedRelease(statement, envelope.digest)
