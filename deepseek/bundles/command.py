"""What ``deepseek bundle`` does with no plane: keygen, sign and verify."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from deepseek.bundles.errors import TransferError
from deepseek.bundles.signatures import add_signature, build_exists_error, compute_fingerprint, create_key, load_key
from deepseek.bundles.signer_files import MAX_PERSON_LENGTH, encode_signer, read_signer_file
from deepseek.bundles.spec import ENVELOPE_FILE, BundleManifest
from deepseek.bundles.verification import read_envelope, read_manifest, verify_bundle
from deepseek.bundles.writer import write_durably
from deepseek.console import ConsoleReport


def create_personal_key(words: Sequence[str]) -> int:
    """Make a key pair: FILE under a password, FILE.pub.json for the target."""
    parser = build_parser(
        "keygen",
        "Make your own key for signing bundles: FILE, under a password, stays with you; FILE.pub.json goes to the\n"
        "target, whose approvers compare the fingerprint with you before they trust it.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the private key, in a file that does not exist yet")
    parser.add_argument("--person", required=True, help="who you are, as the target's approvers know you")
    arguments = parser.parse_args(words)
    person = arguments.person.strip()
    if not 1 <= len(person) <= MAX_PERSON_LENGTH or not person.isprintable():
        raise TransferError(
            "person_malformed",
            "{person!r} cannot be the name of a person.",
            person=person[:40],
            field="--person",
            value=person[:40],
            limit=f"1 to {MAX_PERSON_LENGTH} printable characters",
            hint="Give your name.",
        )
    public_path = arguments.file.with_name(f"{arguments.file.name}.pub.json")
    if public_path.exists():  # of a key that lies elsewhere now: nothing else could make it again
        raise build_exists_error(public_path)
    signer = create_key(arguments.file, read_password(f"New password for {arguments.file}: ", repeat=True))
    write_durably(public_path, encode_signer(person, signer.public_key))
    print(f"{arguments.file}: private key, under the password")
    print(f"{public_path}: public key of {person}")
    print(f"fingerprint {compute_fingerprint(signer.public_key)}")
    return 0


def sign_bundle(words: Sequence[str]) -> int:
    """Add a signature to a bundle, after showing what is signed."""
    parser = build_parser("sign", "Sign bundle.json with your own key. Two different people sign.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of the bundle; its volumes need not be there")
    parser.add_argument("--key", metavar="FILE", type=Path, required=True, help="your key, of `deepseek bundle keygen`")
    arguments = parser.parse_args(words)
    manifest, envelope = read_manifest(arguments.folder), read_envelope(arguments.folder)
    print_manifest(manifest)
    signed = add_signature(manifest, envelope, load_key(arguments.key, read_password(f"Password of {arguments.key}: ")))
    write_durably(arguments.folder / ENVELOPE_FILE, signed.to_json().encode())
    print(f"signatures: {len(signed.signatures)}")
    return 0


def verify_folder(words: Sequence[str]) -> int:
    """Verify every byte, and with --signer who signed."""
    parser = build_parser("verify", "Verify every byte of a bundle, and with --signer that two people signed it.")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    help_text = "the .pub.json of somebody whose signature counts; once for each"
    parser.add_argument("--signer", metavar="FILE", type=Path, action="append", default=[], help=help_text)
    arguments = parser.parse_args(words)
    signers = {signer.key_id: signer for signer in map(read_signer_file, arguments.signer)}
    report = ConsoleReport()
    try:
        verified = verify_bundle(arguments.folder, signers if arguments.signer else None, report=report)
    finally:
        report.close()
    print_manifest(verified.manifest)
    print(f"verified: {verified.objects} objects in {len(verified.manifest.volumes)} volumes")
    if arguments.signer:
        print(f"signed by: {', '.join(verified.signers)}")
    else:
        print(f"signatures: {verified.signatures}, not checked: name the signers with --signer FILE")
    return 0


# -- shared ---------------------------------------------------------------------------------------------------------
def build_parser(action: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"deepseek bundle {action}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def read_password(prompt: str, *, repeat: bool = False) -> str:
    """Ask for a password, or read it from the first line of standard input; it is never an argument."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(prompt)
    if repeat and getpass.getpass("Again: ") != password:
        raise TransferError("passwords_differ", "The two passwords differ.", field="password", hint="Try again.")
    return password


def print_manifest(manifest: BundleManifest) -> None:
    head = manifest.head
    print(f"bundle {head.id} ({manifest.digest})")
    print(f"from {head.source.name} to {head.target.name}, number {head.sequence}, of {head.created}")
    print(f"{manifest.objects} objects, {manifest.size / 1e6:,.1f} MB in {len(manifest.volumes)} volumes")
    for content in head.contents:
        print(f"  {content.kind} {content.name} {content.digest[:12]}")
