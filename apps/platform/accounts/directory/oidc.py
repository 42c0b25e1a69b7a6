"""OpenID Connect: the code flow with PKCE, state and nonce, against the one issuer of the settings.

The ID token is verified by every step of OpenID Connect Core 1.0, 3.1.3.7, its signature and nonce included. (allauth's
provider takes a token that came from the token endpoint without looking at either.) Nothing that the issuer sends is
kept but its name for the person.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from django.conf import settings

from apps.core.errors import PlaneError
from deepseek.messages import N_, Message

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
SECONDS, MAX_BYTES, LEEWAY_SECONDS = 10.0, 1_000_000, 60
METADATA = "/.well-known/openid-configuration"
MAX_GROUPS, MAX_USERNAME, MAX_SUBJECT = 2000, 80, 255


class DirectoryFailed(PlaneError):
    """The directory did not say who this is. `reason` goes into the trail; the person reads the same words."""

    status = 403
    code = "directory_failed"

    def __init__(self, reason: str, **values: Any) -> None:
        self.reason = Message(reason, **values)
        super().__init__(
            N_("The directory did not sign you in: {reason}."),
            reason=self.reason,
            hint=N_("Try again, or sign in with a password of the plane."),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom the issuer names. `subject` is its own name for them, which never changes."""

    subject: str
    username: str
    name: str
    email: str
    groups: tuple[str, ...]


def begin(redirect_uri: str) -> tuple[str, dict[str, str]]:
    """(the address that the browser is sent to, what the session keeps until it comes back)."""
    metadata = fetch_metadata()
    pending = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
    challenge = base64.urlsafe_b64encode(hashlib.sha256(pending["verifier"].encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": settings.OIDC_CLIENT_ID,
        "redirect_uri": redirect_uri,
        "scope": settings.OIDC_SCOPES,
        "state": pending["state"],
        "nonce": pending["nonce"],
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    address = get_endpoint(metadata, "authorization_endpoint")
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}", pending


def complete(code: str, pending: dict[str, str], redirect_uri: str) -> Identity:
    """Exchange the code for an ID token, verify it, and read whom it names. DirectoryFailed otherwise."""
    metadata = fetch_metadata()
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "client_id": settings.OIDC_CLIENT_ID,
        "code_verifier": pending["verifier"],
    }
    secret = settings.ENV.oidc_client_secret.get_secret_value()
    if secret:
        body["client_secret"] = secret
    answer = fetch_json("POST", get_endpoint(metadata, "token_endpoint"), body)
    keys = fetch_json("GET", get_endpoint(metadata, "jwks_uri"))
    claims = verify_id_token(str(answer.get("id_token", "")), keys, pending["nonce"])
    return read_identity(claims)


def verify_id_token(token: str, keys: dict[str, Any], nonce: str) -> dict[str, Any]:
    """The claims of a token that this issuer signed for this client, now, for this very log-in."""
    import jwt  # no other page needs it

    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise DirectoryFailed("its token is signed by an algorithm that is not taken")
        listed = keys.get("keys")
        listed = [key for key in listed if isinstance(key, dict)] if isinstance(listed, list) else []
        candidates = [key for key in listed if key.get("use", "sig") == "sig"]
        candidates = [key for key in candidates if "kid" not in header or key.get("kid") == header["kid"]]
        if len(candidates) != 1:
            raise DirectoryFailed("its token names no key of its list")
        claims: dict[str, Any] = jwt.decode(
            token,
            key=jwt.PyJWK(candidates[0], algorithm=header["alg"]).key,
            algorithms=[header["alg"]],
            audience=settings.OIDC_CLIENT_ID,
            issuer=settings.OIDC_ISSUER,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "nonce"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as failure:  # cryptography's, of a key of nonsense, are the latter
        raise DirectoryFailed("its token does not hold ({fault})", fault=type(failure).__name__) from None
    if not secrets.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
        raise DirectoryFailed("its token is of another log-in")
    if claims.get("azp", settings.OIDC_CLIENT_ID) != settings.OIDC_CLIENT_ID:
        raise DirectoryFailed("its token was issued to another client")
    return claims


def read_identity(claims: dict[str, Any]) -> Identity:
    groups = claims.get(settings.OIDC_GROUPS_CLAIM, [])
    username = claims.get(settings.OIDC_USERNAME_CLAIM, "")
    if not isinstance(username, str) or not 0 < len(username) <= MAX_USERNAME or not username.isprintable():
        raise DirectoryFailed(
            "its token has no {claim} of 1 to {most} characters", claim=settings.OIDC_USERNAME_CLAIM, most=MAX_USERNAME
        )
    subject = str(claims["sub"])
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():  # cut short, it might be somebody else's
        raise DirectoryFailed("its token has no {claim} of 1 to {most} characters", claim="sub", most=MAX_SUBJECT)
    if not isinstance(groups, list) or len(groups) > MAX_GROUPS:
        raise DirectoryFailed(
            "{claim} is no list of at most {most} groups", claim=settings.OIDC_GROUPS_CLAIM, most=MAX_GROUPS
        )
    return Identity(
        subject=subject,
        username=username,
        name=str(claims.get("name", ""))[:120],
        email=str(claims.get("email", ""))[:254],
        groups=tuple(str(group) for group in groups),
    )


def fetch_metadata() -> dict[str, Any]:
    metadata = fetch_json("GET", settings.OIDC_ISSUER.rstrip("/") + METADATA)
    if metadata.get("issuer") != settings.OIDC_ISSUER:
        raise DirectoryFailed("its metadata names another issuer")
    return metadata


def get_endpoint(metadata: dict[str, Any], name: str) -> str:
    """An address of the issuer's; DirectoryFailed where it is missing or leaves its scheme."""
    address = str(metadata.get(name, ""))
    if urlsplit(address).scheme != urlsplit(settings.OIDC_ISSUER).scheme:
        raise DirectoryFailed("its {name} is no address like the issuer's", name=name)
    return address


def fetch_json(method: str, address: str, form: dict[str, str] | None = None) -> dict[str, Any]:
    """The JSON object at this address; no proxy, no redirect, at most MAX_BYTES within SECONDS for each step."""
    context = ssl.create_default_context()  # the machine's authorities, or those of SSL_CERT_FILE
    try:
        with (
            httpx.Client(verify=context, trust_env=False, timeout=SECONDS) as client,
            client.stream(method, address, data=form, headers={"Accept": "application/json"}) as answer,
        ):
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise DirectoryFailed("its answer is too long")
        if answer.status_code != httpx.codes.OK:
            raise DirectoryFailed("it answered {answered}", answered=answer.status_code)
        parsed = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL):
        raise DirectoryFailed("it does not answer") from None
    except ValueError:
        raise DirectoryFailed("its answer is no JSON") from None
    if not isinstance(parsed, dict):
        raise DirectoryFailed("its answer is no JSON object")
    return parsed
