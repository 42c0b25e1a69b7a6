"""Which plane to talk to, and with which token: arguments, then the environment, then the file of `deepseek login`.

The file lies in `$XDG_CONFIG_HOME/deepseek/credentials.json` (`~/.config` by default), mode 0600 in a folder of 0700.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deepseek.client.errors import ClientError

TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class Login:
    """A plane, a token and the project that the token belongs to; `project` is empty where it is not known yet."""

    url: str
    token: str = field(repr=False)
    project: str = ""
    ca: str = ""


def find_login(url: str = "", token: str = "", ca: str = "") -> Login:
    """The login to use. Raises ClientError ``no_plane`` or ``no_token`` where there is none.

    A token from the environment goes only to the plane that the environment or the caller names beside it.
    """
    given_url, given_token = url or os.environ.get("DEEPSEEK_URL", ""), token or os.environ.get("DEEPSEEK_TOKEN", "")
    ca = ca or os.environ.get("DEEPSEEK_CA", "")
    if given_token and not given_url:
        raise ClientError(
            "no_plane",
            "There is a token, and nothing says which plane it is for.",
            field="DEEPSEEK_URL",
            limit="the address of the plane, for instance https://plane.example",
            hint="Set DEEPSEEK_URL beside DEEPSEEK_TOKEN.",
        )
    stored = {} if given_token else read_credentials()
    address = given_url or str(stored.get("default") or "")
    if not address:
        raise ClientError(
            "no_plane",
            "No plane is named.",
            field="DEEPSEEK_URL",
            limit="the address of the plane, for instance https://plane.example",
            hint="Log in: deepseek login URL. Programs set DEEPSEEK_URL and DEEPSEEK_TOKEN.",
        )
    address = normalise_url(address)
    if given_token:
        return Login(address, check_token(given_token, "DEEPSEEK_TOKEN" if not token else "token"), ca=ca)
    entry = stored.get("planes", {}).get(address)
    if not entry:
        raise ClientError(
            "no_token",
            f"There is no token for {address}.",
            field="DEEPSEEK_TOKEN",
            value="not set",
            limit="a token of one project of this plane",
            hint=f"Log in: deepseek login {address}. Programs set DEEPSEEK_URL and DEEPSEEK_TOKEN.",
        )
    token = check_token(str(entry.get("token", "")), str(get_credentials_path()))
    return Login(address, token, str(entry.get("project", "")), ca or str(entry.get("ca", "")))


def normalise_url(text: str, field: str = "URL") -> str:
    """The address without a slash at its end. Raises ClientError ``bad_url``; never repeats what may be a secret."""
    try:
        parts = urlsplit(text.strip())
        has_password = parts.username is not None or parts.password is not None
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, has_password, is_address = None, "@" in text, False
    if parts is None or has_password or not is_address or parts.query or parts.fragment:
        raise ClientError(
            "bad_url",
            "This is not the address of a plane.",
            field=field,
            value="an address with a user or a password in it" if has_password else text[:200],
            limit="http:// or https://, a host, perhaps a port",
            hint="Give it as a browser shows it, for instance https://plane.example.",
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def is_clear_text(url: str) -> bool:
    """Whether a token would cross a network unencrypted."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


def check_token(token: str, field: str) -> str:
    """The token, if it can be one; the error does not repeat it."""
    if not TOKEN.fullmatch(token):
        raise ClientError(
            "bad_token",
            "The token is empty, too long, or holds a space, a line end or a letter outside ASCII.",
            field=field,
            limit="up to 512 printable ASCII characters",
            hint="Copy it again, whole: tokens begin with dso_.",
        )
    return token


# -- the file -------------------------------------------------------------------------------------------------------
def get_credentials_path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(folder) / "deepseek" / "credentials.json"


def read_credentials() -> dict[str, Any]:
    """{"default": url, "planes": {url: {"token", "project", "ca"}}}; empty where nobody has logged in."""
    path = get_credentials_path()
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise _build_file_error(
                path, f"others may read {path}", f"Run: chmod 600 {path}", f"mode {mode & 0o777:04o}"
            )
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise _build_file_error(
            path, f"{path} cannot be read: {reason}", "Remove it and log in again.", str(path)
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("planes", {}), dict):
        raise _build_file_error(path, f"{path} does not hold credentials", "Remove it and log in again.", str(path))
    return document


def store_login(login: Login) -> Path:
    """Keep the login, as the default from now on. The file is replaced whole, and is never readable for others."""
    document = read_credentials()
    entry = {"token": login.token, "project": login.project, **({"ca": login.ca} if login.ca else {})}
    document = {"default": login.url, "planes": {**document.get("planes", {}), login.url: entry}}
    _write(document)
    return get_credentials_path()


def remove_login(url: str) -> bool:
    """Forget the token of a plane; False where there was none."""
    document = read_credentials()
    planes: dict[str, Any] = dict(document.get("planes", {}))
    if planes.pop(url, None) is None:
        return False
    default = document.get("default")
    _write({"default": default if default in planes else next(iter(planes), ""), "planes": planes})
    return True


def _write(document: Mapping[str, Any]) -> None:
    path = get_credentials_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path.parent, 0o700)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
        os.replace(staged, path)
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()


def _build_file_error(path: Path, message: str, hint: str, value: str) -> ClientError:
    return ClientError(
        "bad_credentials_file",
        f"The credentials are not used: {message}.",
        field=path.name,
        value=value,
        limit="a JSON file of mode 0600",
        hint=hint,
    )
