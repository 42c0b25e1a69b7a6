"""Verify an egress ledger: a file of JSON lines, each chained to the one before and signed by the site's key.

Standard library and `cryptography` only, and nothing else of this package: this file can be copied to a machine that
has neither plane nor engine, and run there: python ledger_verifier.py LEDGER [PUBLIC_KEY]
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DOMAIN = b"deepseek/federated/ledger/v1\0"
"""Before what is signed: a signature of the same key over another document is none of a ledger."""
FIRST = "0" * 64
"""`previous` of the first entry."""


class LedgerFault(Exception):
    """Why a ledger does not verify. `line`: from 1."""

    def __init__(self, line: int, code: str, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line, self.code, self.why = line, code, why


def encode_canonical(entry: Mapping[str, Any]) -> bytes:
    """Sorted keys, no white space, UTF-8."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def encode_signed_part(entry: Mapping[str, Any]) -> bytes:
    """What the signature of an entry is over: all of it but the signature."""
    return DOMAIN + encode_canonical({name: value for name, value in entry.items() if name != "signature"})


def compute_entry_digest(entry: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of the entry with its signature: `previous` of the next one."""
    return hashlib.sha256(encode_canonical(entry)).hexdigest()


def verify_chain(entries: Iterable[Mapping[str, Any]], *, public_key: str | None = None) -> int:
    """Check every signature and link; returns the number of entries. Raises LedgerFault.

    `public_key`: base64 of the site's key. Without it the first entry names the key, and the chain only shows that
    nobody else has changed it since.
    """
    previous, count = FIRST, 0
    first: tuple[Any, Any] | None = None
    for count, entry in enumerate(entries, 1):
        key = public_key if public_key is not None else entry.get("public_key")
        public_key = key
        first = first or (entry.get("study"), entry.get("site"))
        if entry.get("previous") != previous:
            raise LedgerFault(count, "chain_broken", "an entry before it is missing, changed or out of order")
        if (entry.get("study"), entry.get("site")) != first:
            raise LedgerFault(count, "chain_mixed", "it belongs to another study or site")
        if entry.get("public_key") != key or not is_signed(entry):
            raise LedgerFault(count, "signature_wrong", "it is not signed by the site's key, or was changed")
        previous = compute_entry_digest(entry)
    return count


def is_signed(entry: Mapping[str, Any]) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(str(entry.get("public_key")), validate=True))
        key.verify(base64.b64decode(str(entry.get("signature")), validate=True), encode_signed_part(entry))
    except (InvalidSignature, ValueError):
        return False
    return True


def parse_lines(data: bytes) -> list[dict[str, Any]]:
    """The entries of a ledger's bytes. Raises LedgerFault for a line that is no JSON object."""
    entries = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise LedgerFault(number, "not_json", "it is not a JSON object")
        entries.append(entry)
    return entries


def main(arguments: list[str]) -> int:
    """Verify the ledger named; prints the result and returns the exit code."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python ledger_verifier.py LEDGER [PUBLIC_KEY]", file=sys.stderr)  # noqa: T201
        return 2
    try:
        with open(arguments[0], "rb") as file:
            count = verify_chain(parse_lines(file.read()), public_key=arguments[1] if arguments[1:] else None)
    except OSError as error:
        print(f"{arguments[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    except LedgerFault as fault:
        print(f"{arguments[0]}: {fault}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{arguments[0]}: {count} entries verified")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
