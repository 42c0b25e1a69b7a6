"""Who signed a bundle: two different people at least, each with a key of their own, which no plane ever holds.

The signatures are a DSSE envelope over the bytes of ``bundle.json``. A key is a PEM file under a password, made and
used on the machine of the person alone.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from deepseek.bundles.errors import TransferError
from deepseek.bundles.spec import BUNDLE_TYPE, SIGNERS_NEEDED, BundleManifest
from deepseek.signing.documents import compute_digest
from deepseek.signing.dsse import Envelope, sign, verify
from deepseek.signing.keys import FileSigner, PublicKey, compute_key_id, generate_key

MIN_PASSWORD_LENGTH = 12
MAX_KEY_BYTES = 10_000


@dataclass(frozen=True)
class TrustedSigner:
    """A person's public key that a target trusts for the bundles of one source. `person` is who holds it."""

    person: str
    public_key: PublicKey

    @property
    def key_id(self) -> str:
        return compute_key_id(self.public_key)


def compute_fingerprint(key: PublicKey) -> str:
    """SHA-256 of the raw public key: what two people compare by telephone."""
    return compute_digest(key.public_bytes_raw())


def verify_signatures(
    envelope: Envelope, manifest: BundleManifest, signers: Mapping[str, TrustedSigner]
) -> list[TrustedSigner]:
    """The people who signed the manifest, by person. `signers`: by key id, of its source alone.

    Raises SigningError ``key_unknown``, ``signature_wrong``, ``payload_type_wrong``; TransferError ``bundle_edited``
    where something else was signed, ``too_few_signers`` where fewer than two people did.
    """
    keys = {key_id: signer.public_key for key_id, signer in signers.items()}
    if verify(envelope, keys, payload_type=BUNDLE_TYPE) != manifest.text:
        raise build_edited_error()
    people = {identify_person(signers[each.key_id].person): signers[each.key_id] for each in envelope.signatures}
    keys_used = {compute_fingerprint(signer.public_key) for signer in people.values()}
    count = min(len(people), len(keys_used))  # two people who share a key are one as well
    if count < SIGNERS_NEEDED:
        raise TransferError(
            "too_few_signers",
            "The bundle is signed by {people}: {count} of {needed} people.",
            people=", ".join(sorted(signer.person for signer in people.values())),
            count=count,
            needed=SIGNERS_NEEDED,
            field="/signatures",
            value=str(count),
            limit=f"{SIGNERS_NEEDED} different people",
            hint="Let a second person sign it: deepseek bundle sign FOLDER --key FILE",
        )
    return [people[person] for person in sorted(people)]


def identify_person(name: str) -> str:
    """One text for all spellings of a name that look alike: "Ada Lovelace" and "ada  lovelace" are one person."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def add_signature(manifest: BundleManifest, envelope: Envelope | None, signer: FileSigner) -> Envelope:
    """The envelope with one more signature. Raises TransferError ``bundle_edited`` where the other signatures are over
    something else, ``signed_already`` where this key signed before."""
    mine = sign(BUNDLE_TYPE, manifest.text, [signer])
    if envelope is None:
        return mine
    if envelope.payload != manifest.text or envelope.payload_type != BUNDLE_TYPE:
        raise build_edited_error()
    key_id = mine.signatures[0].key_id
    if any(each.key_id == key_id for each in envelope.signatures):
        raise TransferError(
            "signed_already",
            "The key {key_id} has signed this bundle.",
            key_id=key_id,
            field="--key",
            value=key_id,
            limit=f"{SIGNERS_NEEDED} different people",
            hint="Somebody else signs next, with a key of their own.",
        )
    return Envelope(BUNDLE_TYPE, manifest.text, (*envelope.signatures, *mine.signatures))


def build_edited_error() -> TransferError:
    return TransferError(
        "bundle_edited",
        "bundle.json is not what was signed.",
        field="bundle.json",
        limit="the bytes that the signatures are over",
        hint="Copy the bundle again. If that changes nothing, it was altered after it was signed.",
    )


# -- keys of people -------------------------------------------------------------------------------------------------
def create_key(path: Path, password: str) -> FileSigner:
    """A new key under a password, in a new file of mode 0600. Raises TransferError.

    Its codes: ``password_short``, ``key_exists``.
    """
    if len(password) < MIN_PASSWORD_LENGTH:
        raise TransferError(
            "password_short",
            "The password has {count} characters.",
            count=len(password),
            field="password",
            limit=f"{MIN_PASSWORD_LENGTH} characters at least",
            hint="Take a longer one: whoever has the file and the password signs in your name.",
        )
    signer = generate_key()
    content = signer.private_key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise build_exists_error(path) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(FileNotFoundError):
            path.unlink()
        raise
    return signer


def build_exists_error(path: Path) -> TransferError:
    return TransferError(
        "key_exists",
        "There is a file at {path}.",
        path=str(path),
        field="FILE",
        value=str(path),
        limit="a file that does not exist yet",
        hint="Take another name; a key is never overwritten.",
    )


def load_key(path: Path, password: str) -> FileSigner:
    """The key of a file. Raises TransferError ``key_unreadable``: no such file, another password, or no such key."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES)
        key = load_pem_private_key(content, password=password.encode())
    except OSError as error:
        raise build_key_error(path, error.strerror or str(error)) from None
    except (ValueError, TypeError):
        raise build_key_error(path, "wrong password, or no key under a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise build_key_error(path, "another kind of key")
    return FileSigner(key)


def build_key_error(path: Path, found: str) -> TransferError:
    return TransferError(
        "key_unreadable",
        "The key {path} cannot be used: {found}.",
        path=str(path),
        found=found,
        field="--key",
        value=found,
        limit="an Ed25519 key in PEM under a password",
        hint="Give the file that `deepseek bundle keygen` made, and its password.",
    )
