"""Who may ask a server: the digests of its tokens in a file of its own, and the certificate by which it answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.core.canonical import sha256_hex


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccess:
    """SHA-256 of each token that the server takes (none: it asks for none), and the files of certificate and key."""

    token_digests: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""

    @classmethod
    def restore(cls, fields: Mapping[str, Any]) -> ServerAccess:
        """Out of a state file."""
        digests = tuple(str(digest) for digest in fields["token_digests"])
        return cls(token_digests=digests, certificate=str(fields["certificate"]), key=str(fields["key"]))

    @property
    def flags(self) -> tuple[bool, str, str]:
        """What a server is started with: another one needs another start."""
        return bool(self.token_digests), self.certificate, self.key

    def write(self, path: Path) -> list[str]:
        """Write the file of tokens; returns the words of `deepseek serve`."""
        words = []
        if self.token_digests:
            staged = path.with_suffix(".staged")
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write("".join(f"sha256:{digest}\n" for digest in self.token_digests))
            staged.rename(path)
            words += ["--token-file", str(path)]
        if self.certificate:
            words += ["--certificate", self.certificate, *(["--key", self.key] if self.key else [])]
        return words

    def compute_fingerprint(self) -> str:
        """Changes with a token, and with a certificate that was renewed under the same name."""
        return sha256_hex(repr((self.token_digests, read_version(self.certificate), read_version(self.key))))


def read_version(path: str) -> tuple[int, ...]:
    """Size and time of a file; nothing where it is missing."""
    try:
        about = os.stat(path) if path else None
    except OSError:
        about = None
    return (about.st_size, about.st_mtime_ns, about.st_ino) if about else ()
