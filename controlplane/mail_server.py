"""The SMTP server that MAIL_URL names."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class MailServer:
    scheme: str = "smtp"
    host: str = "localhost"
    port: int = 25
    user: str = ""


MAIL_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


def parse_mail_url(url: str) -> MailServer:
    """The SMTP server that MAIL_URL names; ValueError for another form. Empty: the default, which nobody asks."""
    if not url:
        return MailServer()
    parts = urlsplit(url)
    if parts.scheme not in MAIL_PORTS or not parts.hostname or parts.path not in ("", "/") or parts.password:
        raise ValueError("must be smtp://, smtp+starttls:// or smtps://, then user@host:port without a password in it")
    port = parts.port or MAIL_PORTS[parts.scheme]
    return MailServer(parts.scheme, parts.hostname, port, unquote(parts.username or ""))
