"""Bearer tokens: a file of them, or of their SHA-256, one a line."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path

from deepseek.job import EngineError
from deepseek.serve.responses import Refused

MIN_LENGTH = 16
MAX_TOKENS = 100
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class TokenSet:
    """The tokens of a service, as digests: the tokens themselves are not kept."""

    def __init__(self, digests: Iterable[bytes]) -> None:
        self._digests = list(digests)

    def replace(self, other: "TokenSet") -> None:
        """Take the tokens of another set in place of these."""
        self._digests = list(other._digests)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> Refused | None:
        """None if the headers carry one of the tokens, else the refusal. It takes as long for each wrong token."""
        value = next((value for name, value in headers if name == b"authorization"), None)
        if value is None:
            return _refuse("unauthenticated", "The request has no token.")
        scheme, _, token = value.partition(b" ")
        provided = hashlib.sha256(token.strip()).digest()
        matches = [hmac.compare_digest(provided, digest) for digest in self._digests]
        if scheme.lower() != b"bearer" or not any(matches):
            return _refuse("token_unknown", "The token is not one of this service.")
        return None


def read_tokens(path: Path) -> TokenSet:
    """The tokens in a file. Raises EngineError ``token_file_invalid``."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise _build_file_error(path, f"it cannot be read: {why}") from error
    digests = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if match := _DIGEST.fullmatch(text):
            digests.append(bytes.fromhex(match[1]))
        elif len(text) >= MIN_LENGTH and _TOKEN.fullmatch(text):
            digests.append(hashlib.sha256(text.encode()).digest())
        else:
            raise _build_file_error(path, f"line {number} is no token of {MIN_LENGTH} characters or more")
    if not 0 < len(digests) <= MAX_TOKENS:
        raise _build_file_error(path, f"it has {len(digests)} tokens")
    return TokenSet(digests)


def _refuse(code: str, message: str) -> Refused:
    hint = "Send the header Authorization: Bearer TOKEN."
    return Refused(EngineError(code, message, field="Authorization", limit="Bearer", hint=hint))


def _build_file_error(path: Path, why: str) -> EngineError:
    return EngineError(
        "token_file_invalid",
        f"{path} is no file of tokens: {why}.",
        field="--token-file",
        value=str(path),
        limit=f"1 to {MAX_TOKENS} lines: a token of {MIN_LENGTH} or more characters, or sha256: and its digest",
        hint="Make one: openssl rand -hex 32 > FILE; chmod 600 FILE.",
    )
