"""The files that say who may ask a service, and by which certificate it answers: read again without a stop."""

import ssl
from pathlib import Path

from deepseek.serve.server import load_certificate
from deepseek.serve.tokens import TokenSet, read_tokens


class AccessFiles:
    """A file of tokens, a certificate and its key; each may be missing. Raises EngineError for one that is at fault."""

    def __init__(self, token_file: Path | None, certificate: Path | None, key: Path | None) -> None:
        self._token_file, self._certificate, self._key = token_file, certificate, key
        self.context: ssl.SSLContext | None = load_certificate(certificate, key) if certificate else None
        self.tokens: TokenSet | None = read_tokens(token_file) if token_file else None

    def reload(self) -> None:
        """Take the tokens and the certificate that the files have now; none of them where one is at fault.

        Connections that are open go on with the certificate they began with.
        """
        digests = read_tokens(self._token_file) if self._token_file else None
        if self._certificate and self.context is not None:
            load_certificate(self._certificate, self._key)  # one whose key does not fit would stay in the other
            self.context.load_cert_chain(self._certificate, self._key, password=lambda: "")
        if digests is not None and self.tokens is not None:
            self.tokens.replace(digests)
