"""Settings of the directory by which people log in: OpenID Connect, LDAP, and the roles that its groups give."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from apps.platform.accounts.directory.mapping import parse_group_role

CommaList = Annotated[list[str], NoDecode]


class DirectoryEnv(BaseSettings):
    oidc_issuer: str = Field(
        "",
        description="Issuer of an internal directory with OpenID Connect, as its metadata names it; https, or http on"
        " this host. Empty: nobody logs in by one.",
    )
    oidc_client_id: str = Field("", validate_default=True, description="Name of the plane at OIDC_ISSUER.")
    oidc_client_secret: SecretStr = Field(
        SecretStr(""),
        description="Its secret there; better in a file: OIDC_CLIENT_SECRET_FILE. Empty: it has none.",
    )
    oidc_scopes: str = Field("openid profile email", description="Scopes that are asked for, with openid.")
    oidc_username_claim: str = Field("preferred_username", description="Claim of the ID token with the user name.")
    oidc_groups_claim: str = Field("groups", description="Claim of the ID token with the list of groups.")
    ldap_urls: CommaList = Field(
        [],
        description="Servers of one directory with LDAP, comma-separated, tried in this order: ldaps://HOST[:PORT], or"
        " ldap://HOST[:PORT] with StartTLS. Empty: nobody logs in by it. Needs the extra ldap (docs/login.md).",
    )
    ldap_start_tls: bool = Field(
        True, description="Encrypt the connection to each ldap:// server of LDAP_URLS before anything is sent."
    )
    ldap_ca_file: str = Field(
        "", description="File of the authorities (PEM) of the servers in LDAP_URLS; empty: those of this machine."
    )
    ldap_bind_dn: str = Field("", description="Account by which the plane searches in LDAP_URLS, which may only read.")
    ldap_bind_password: SecretStr = Field(
        SecretStr(""), description="Its password; better in a file: LDAP_BIND_PASSWORD_FILE."
    )
    ldap_user_base: str = Field(
        "",
        validate_default=True,
        description="Where people stand in the directory, for instance ou=people,dc=works,dc=example.",
    )
    ldap_user_filter: str = Field(
        "(uid={username})",
        description="Filter that finds one person; Active Directory: (&(objectClass=user)(sAMAccountName={username})).",
    )
    ldap_username_attribute: str = Field(
        "uid", description="Attribute with the user name; Active Directory: sAMAccountName."
    )
    ldap_subject_attribute: str = Field(
        "entryUUID",
        description="Attribute by which a person is found again whatever their name; Active Directory: objectGUID.",
    )
    ldap_group_base: str = Field(
        "", description="Where groups stand in the directory; empty: those in the person's memberOf."
    )
    ldap_group_filter: str = Field(
        "(member={dn})",
        description="Filter of a person's groups below LDAP_GROUP_BASE, whose cn DIRECTORY_ROLES names; POSIX groups:"
        " (memberUid={username}).",
    )
    directory_roles: CommaList = Field(
        [],
        description="Roles that groups of the directory give, comma-separated: GROUP=ROLE@PROJECT, or GROUP=ROLE for an"
        " administrator. The roles that stand here are given and taken at each log-in, the others stay.",
    )
    directory_sign_up: bool = Field(
        False, description="Whoever the directory knows and the plane does not gets an account, without roles."
    )

    @field_validator("oidc_issuer")
    @classmethod
    def validate_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        is_local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if value and (not parts.hostname or parts.query or parts.fragment or not (parts.scheme == "https" or is_local)):
            raise ValueError("must be an https address (http on this host), without query")
        return value

    @field_validator("oidc_client_id")
    @classmethod
    def validate_client_id(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("must name the plane as OIDC_ISSUER knows it, where that is set")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def validate_scopes(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must hold openid")
        return value

    @field_validator("ldap_urls")
    @classmethod
    def validate_ldap_urls(cls, value: list[str]) -> list[str]:
        for entry in value:
            parts = urlsplit(entry)
            if parts.scheme not in {"ldaps", "ldap"} or not parts.hostname or parts.path.strip("/") or parts.query:
                raise ValueError(f"{entry!r} is not written as ldaps://HOST[:PORT] or ldap://HOST[:PORT]")
        return value

    @field_validator("ldap_user_base")
    @classmethod
    def validate_ldap_user_base(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("ldap_urls") and not value:
            raise ValueError("must name where people stand in the directory, where LDAP_URLS is set")
        return value

    @field_validator("ldap_user_filter", "ldap_group_filter")
    @classmethod
    def validate_ldap_filter(cls, value: str, info: ValidationInfo) -> str:
        places = ["{username}"] if info.field_name == "ldap_user_filter" else ["{username}", "{dn}"]
        if not any(place in value for place in places) or value.count("(") != value.count(")"):
            raise ValueError(f"must be a filter in brackets with {' or '.join(places)}")
        return value

    @field_validator("directory_roles")
    @classmethod
    def validate_directory_roles(cls, value: list[str]) -> list[str]:
        for entry in value:
            parse_group_role(entry)
        return value

    @field_validator("directory_roles", "ldap_urls", mode="before")
    @classmethod
    def split_directory_lists(cls, value: object) -> object:
        return split_at_commas(value)


def split_at_commas(value: object) -> object:
    """The parts of a text between commas, without blanks; what is no text as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
