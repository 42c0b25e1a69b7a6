"""A bundle in a folder: its manifest, its signatures and every byte of its volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepseek.bundles.errors import TransferError
from deepseek.bundles.signatures import TrustedSigner, build_edited_error, verify_signatures
from deepseek.bundles.spec import ENVELOPE_FILE, MANIFEST_FILE, MAX_MANIFEST_BYTES, BundleManifest
from deepseek.bundles.volumes import verify_volume
from deepseek.job import Report, Silent
from deepseek.signing.dsse import MAX_ENVELOPE_BYTES, Envelope


@dataclass(frozen=True)
class VerifiedBundle:
    """`signers`: the people who signed, empty where no keys were given to check them with. `unsigned`: by nobody."""

    manifest: BundleManifest
    signers: tuple[str, ...]
    objects: int
    signatures: int


def read_manifest(folder: Path) -> BundleManifest:
    return BundleManifest.parse(read_small(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES))


def read_envelope(folder: Path) -> Envelope | None:
    """The envelope beside the manifest; None where nobody has signed yet."""
    path = folder / ENVELOPE_FILE
    return Envelope.parse(read_small(path, MAX_ENVELOPE_BYTES)) if path.is_file() else None


def read_small(path: Path, most: int) -> bytes:
    """The bytes of a file of the bundle. Raises TransferError ``bundle_malformed`` where it is absent or too long."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise TransferError(
            "bundle_malformed",
            "{path} cannot be read: {fault}.",
            path=str(path),
            fault=error.strerror or str(error),
            field=path.name,
            hint="Give the folder of a bundle; one without bundle.json was not written to its end.",
        ) from None
    if len(content) > most:
        raise TransferError(
            "bundle_malformed", "{name} is too long.", name=path.name, field=path.name, limit=f"{most} bytes"
        )
    return content


def verify_bundle(
    folder: Path, signers: Mapping[str, TrustedSigner] | None = None, *, report: Report | None = None
) -> VerifiedBundle:
    """Verify manifest, volumes and, where `signers` (by key id) are given, the signatures of two people.

    Raises TransferError and SigningError, for the first thing that is wrong.
    """
    report = report or Silent()
    manifest, envelope = read_manifest(folder), read_envelope(folder)
    if envelope is not None and envelope.payload != manifest.text:
        raise build_edited_error()
    people: tuple[str, ...] = ()
    if signers is not None:
        if envelope is None:
            raise build_unsigned_error()
        people = tuple(signer.person for signer in verify_signatures(envelope, manifest, signers))
    digests: set[str] = set()
    for volume in manifest.volumes:
        parts = verify_volume(folder / volume.name, volume, manifest.head.id)
        digests.update(part.digest for part in parts)
        report.progress(volume.number, len(manifest.volumes), "volumes")
    check_objects(manifest, len(digests))
    return VerifiedBundle(manifest, people, len(digests), len(envelope.signatures) if envelope else 0)


def check_objects(manifest: BundleManifest, count: int) -> None:
    """Raise TransferError unless the volumes hold as many objects as the manifest says."""
    if count == manifest.objects:
        return
    raise TransferError(
        "bundle_malformed",
        "The volumes hold {count} objects, and the manifest says {expected}.",
        count=count,
        expected=manifest.objects,
        field="/objects",
        value=str(count),
        limit=manifest.objects,
    )


def build_unsigned_error() -> TransferError:
    return TransferError(
        "too_few_signers",
        "Nobody has signed the bundle.",
        field=ENVELOPE_FILE,
        value="0",
        limit="2 different people",
        hint="Two people sign it: deepseek bundle sign FOLDER --key FILE",
    )
