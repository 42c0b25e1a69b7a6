"""Names of versions as a person writes them: `wti-clean:v3`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepseek.client.errors import ClientError

NUMBER = re.compile(r"v?([1-9]\d{0,8})", re.ASCII)


@dataclass(frozen=True)
class VersionReference:
    """`version` is a number, a tag or a digest, as the plane takes it in an address."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:v{self.version}" if self.version.isdecimal() else f"{self.name}:{self.version}"


def parse_reference(text: str, field: str, listing: str) -> VersionReference:
    """`NAME:vN`, `NAME:N` or `NAME:TAG`. `listing` is the command that lists the names, for the error."""
    name, _, version = text.rpartition(":")
    if not name or not version:
        raise ClientError(
            "bad_reference",
            f"{text!r} does not name a version.",
            field=field,
            value=text[:200],
            limit="NAME:vN, for instance wti-clean:v1",
            hint=f"{listing} {text.rstrip(':')} lists the versions." if text.rstrip(":") else f"{listing} lists them.",
        )
    return VersionReference(name, normalise_version(version))


def normalise_version(version: str | int) -> str:
    """`3` for 3, "3" and "v3"; a tag, an alias or a digest as it is."""
    number = NUMBER.fullmatch(str(version))
    return number[1] if number else str(version)
