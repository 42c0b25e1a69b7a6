"""LDAP v3: find the person by the plane's own account there, then log in as the person, over TLS and nothing else.

The library ldap3 is an extra of the installation (`ldap`): only `backend.py` and the checks import this module, where
LDAP_URLS names a server.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import ldap3
from django.conf import settings
from ldap3.core.exceptions import (
    LDAPException,
    LDAPInvalidCredentialsResult,
    LDAPNoSuchObjectResult,
    LDAPOperationResult,
    LDAPStartTLSError,
)
from ldap3.core.results import RESULT_SIZE_LIMIT_EXCEEDED, RESULT_SUCCESS
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn

from apps.platform.accounts.directory.oidc import MAX_GROUPS, MAX_SUBJECT, MAX_USERNAME, DirectoryFailed, Identity
from apps.platform.accounts.known_devices import normalise_username

SECONDS = 5  # to connect, and for each answer
BINARY_SUBJECTS = frozenset({"objectguid"})  # Active Directory's, 16 bytes with the first fields little-endian
PORTS = {"ldaps": 636, "ldap": 389}


class VerifiedTls(ldap3.Tls):  # type: ignore[misc]  # untyped
    """Python's own verification of chain and name; ldap3 compares names by a copy of what Python 3.12 removed."""

    def wrap_socket(self, connection: Any, do_handshake: bool = True) -> None:
        context = ssl.create_default_context(cafile=settings.LDAP_CA_FILE or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        connection.socket = context.wrap_socket(connection.socket, server_hostname=connection.server.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A person as the directory has them."""

    dn: str
    identity: Identity


def log_in(username: str, password: str) -> Identity | None:
    """Whom the directory knows by this name and password; None for a wrong one. DirectoryFailed where it cannot say.

    A bind without a password is anonymous in LDAP and succeeds, so none is ever sent.
    """
    if not password or not 0 < len(username) <= MAX_USERNAME or not username.isprintable():
        return None
    with connect() as connection:
        bind(connection, settings.LDAP_BIND_DN, get_bind_password())
        entry = find_person(connection, username)
    if entry is None:
        return None
    with connect() as connection:
        try:
            bind(connection, entry.dn, password)
        except LDAPInvalidCredentialsResult:
            return None
    return entry.identity


def get_bind_password() -> str:
    return str(settings.ENV.ldap_bind_password.get_secret_value())


@contextmanager
def connect() -> Iterator[Any]:
    """A connection under TLS to the first server of LDAP_URLS that answers; no referral is followed, since that would
    send a password to whatever host the answer names."""
    connection = None
    try:
        connection = open_first()
        yield connection
    except LDAPInvalidCredentialsResult:
        raise DirectoryFailed("it refuses the account of the plane") from None
    except LDAPOperationResult as failure:
        raise DirectoryFailed("it answered {answered}", answered=failure.description) from None
    except (LDAPException, OSError):
        raise DirectoryFailed("it does not answer") from None
    finally:
        if connection is not None:
            with suppress(LDAPException, OSError):
                connection.unbind()


def open_first() -> Any:
    failure: Exception | None = None
    for address in settings.LDAP_URLS:
        parts = urlsplit(address)
        if not is_encrypted(address):
            raise DirectoryFailed("the plane is set up to reach it without TLS")
        server = ldap3.Server(
            parts.hostname,
            port=parts.port or PORTS[parts.scheme],
            use_ssl=parts.scheme == "ldaps",
            tls=VerifiedTls(),
            get_info=ldap3.NONE,
            connect_timeout=SECONDS,
        )
        connection = ldap3.Connection(
            server, receive_timeout=SECONDS, raise_exceptions=True, auto_referrals=False, read_only=True
        )
        try:
            connection.open()
            if parts.scheme == "ldap" and not connection.start_tls(read_server_info=False):
                raise LDAPStartTLSError(connection.last_error)
            return connection
        except (LDAPException, OSError) as fault:
            failure = fault
            with suppress(LDAPException, OSError):
                connection.unbind()
    raise DirectoryFailed("it does not answer") from failure


def is_encrypted(address: str) -> bool:
    return urlsplit(address).scheme == "ldaps" or bool(settings.LDAP_START_TLS)


def bind(connection: Any, dn: str, password: str) -> None:
    """LDAPInvalidCredentialsResult for a wrong password; DirectoryFailed for every other answer but success.

    ldap3 raises nothing for some answers that are no success, a referral or a time limit among them.
    """
    if not dn or not password:
        raise DirectoryFailed("the plane has no account there")
    connection.user, connection.password, connection.authentication = dn, password, ldap3.SIMPLE
    if not connection.bind():
        raise DirectoryFailed("it answered {answered}", answered=connection.result["description"])


def find_person(connection: Any, username: str) -> Entry | None:
    """The one person of this user name; None for nobody, or more than one.

    The directory compares more loosely than the plane (white space, width, invisible characters): a spelling that the
    lock-out would count as another name is nobody.
    """
    values = [
        settings.LDAP_USERNAME_ATTRIBUTE,
        settings.LDAP_SUBJECT_ATTRIBUTE,
        "displayName",
        "cn",
        "mail",
        "memberOf",
    ]
    query = settings.LDAP_USER_FILTER.replace("{username}", escape_filter_chars(username))
    entries = search(connection, settings.LDAP_USER_BASE, query, values, limit=2)
    if len(entries) != 1:
        return None
    dn, raw = str(entries[0]["dn"]), {name.lower(): value for name, value in entries[0]["raw_attributes"].items()}
    name = read_text(raw, settings.LDAP_USERNAME_ATTRIBUTE)
    if normalise_username(name) != normalise_username(username):
        return None
    groups = list_groups(connection, dn, name, raw)
    identity = Identity(
        subject=read_subject(raw),
        username=name,
        name=(read_text(raw, "displayName") or read_text(raw, "cn"))[:120],
        email=read_text(raw, "mail")[:254],
        groups=tuple(groups),
    )
    return Entry(dn=dn, identity=identity)


def search(connection: Any, base: str, query: str, attributes: list[str], limit: int) -> list[Mapping[str, Any]]:
    """The entries below `base`, at most `limit`: references to other servers are left out.

    DirectoryFailed where the server stopped before: a part of somebody's groups would take their roles.
    """
    try:
        connection.search(base, query, attributes=attributes, size_limit=limit, time_limit=SECONDS)
    except LDAPNoSuchObjectResult:
        return []
    entries = [entry for entry in connection.response if entry["type"] == "searchResEntry"]
    result = connection.result["result"]
    if result != RESULT_SUCCESS and (result != RESULT_SIZE_LIMIT_EXCEEDED or len(entries) < limit):
        raise DirectoryFailed("it answered {answered}", answered=connection.result["description"])
    return entries


def read_text(raw: Mapping[str, list[bytes]], attribute: str) -> str:
    """The first value, or ""."""
    return next((value.decode(errors="replace") for value in raw.get(attribute.lower(), ())), "")


def read_subject(raw: Mapping[str, list[bytes]]) -> str:
    """The directory's own name for the person, which never changes; DirectoryFailed where it gives none."""
    attribute = settings.LDAP_SUBJECT_ATTRIBUTE.lower()
    values = raw.get(attribute, [])
    value = values[0] if len(values) == 1 else b""
    is_binary = attribute in BINARY_SUBJECTS and len(value) == 16
    subject = str(uuid.UUID(bytes_le=value)) if is_binary else value.decode(errors="replace")
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise DirectoryFailed(
            "its entry has no {attribute} of 1 to {most} characters",
            attribute=settings.LDAP_SUBJECT_ATTRIBUTE,
            most=MAX_SUBJECT,
        )
    return subject


def list_groups(connection: Any, dn: str, username: str, raw: Mapping[str, list[bytes]]) -> list[str]:
    """The names (cn) of the person's groups: by a search where LDAP_GROUP_BASE names a place, else of memberOf."""
    if settings.LDAP_GROUP_BASE:
        query = settings.LDAP_GROUP_FILTER.replace("{dn}", escape_filter_chars(dn))
        query = query.replace("{username}", escape_filter_chars(username))
        entries = search(connection, settings.LDAP_GROUP_BASE, query, ["cn"], limit=MAX_GROUPS + 1)
        groups = [
            value.decode(errors="replace") for entry in entries for value in entry["raw_attributes"].get("cn", ())
        ]
    else:
        groups = list(read_common_names(raw.get("memberof", ())))
    if len(groups) > MAX_GROUPS:
        raise DirectoryFailed("{claim} is no list of at most {most} groups", claim="memberOf", most=MAX_GROUPS)
    return groups


def read_common_names(names: Iterable[bytes]) -> Iterator[str]:
    for name in names:
        with suppress(LDAPException):
            attribute, value, _separator = parse_dn(name.decode(errors="replace"))[0]
            if attribute.lower() == "cn":
                yield value
