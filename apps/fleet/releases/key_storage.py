"""Where the private half of a release key lies: in a file of this plane's home, or in a token by PKCS #11."""

from __future__ import annotations

import logging
from pathlib import Path

from django.conf import settings

from apps.core.errors import Conflict, PlaneError, Unavailable
from apps.fleet.releases.models import ReleaseKey
from deepseek.messages import N_
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import Signer, compute_key_id, generate_key, load_private_key, save_private_key
from deepseek.signing.pkcs11 import open_signer

log = logging.getLogger(__name__)

FILE = "file"
URI_SCHEME = "pkcs11:"


def get_key_path(key_id: str) -> Path:
    return Path(settings.PLANE_HOME) / "keys" / f"release_{key_id}.pem"


def list_key_files() -> list[Path]:
    """The key files of this home, for a backup."""
    return sorted(get_key_path("").parent.glob("release_*.pem"))


def make_signer(uri: str) -> tuple[Signer, str]:
    """A new key in a file, or the one that `uri` names in a token; with its location."""
    if uri:
        return open_token(uri), uri
    signer = generate_key()
    try:
        save_private_key(get_key_path(compute_key_id(signer.public_key)), signer)
    except SigningError as error:
        raise convert_error(error) from error
    except OSError as error:
        raise Unavailable(
            "The file of the release key cannot be written: {why}.",
            why=str(error.strerror),
            code="key_file_unreadable",
            hint=N_("Run the command as the user of the plane, on the machine of its web process."),
        ) from error
    return signer, FILE


def load_signer(key: ReleaseKey) -> Signer:
    """The key, ready to sign. Raises Unavailable with the code of what is wrong with its file or token."""
    if key.location != FILE:
        signer = open_token(key.location)
    else:
        try:
            signer = load_private_key(get_key_path(key.key_id))
        except SigningError as error:
            log.warning("%s %s", error.message, error.hint)  # where the file lies is no business of who asks
            raise Unavailable(
                "The private key {key_id} cannot be used on this machine.",
                key_id=key.key_id,
                code=error.code,
                hint=N_("Have the operator run `manage.py release_keys list` here: it says what is wrong."),
            ) from error
    if compute_key_id(signer.public_key) != key.key_id:
        raise Unavailable(
            "What lies in the place of the release key {key_id} is another key.",
            key_id=key.key_id,
            code="key_file_unreadable",
            hint=N_("Put the key back from its backup."),
        )
    return signer


def open_token(uri: str) -> Signer:
    """The key that a PKCS #11 URI names. Raises Unavailable."""
    try:
        return open_signer(settings.ENV.release_pkcs11_module, uri, settings.ENV.release_pkcs11_pin.get_secret_value())
    except SigningError as error:
        raise convert_error(error) from error


def find_fault(key: ReleaseKey) -> str:
    """Why this machine cannot sign with the key, with the remedy, for its operator; "" if it can."""
    try:
        load_signer(key)
    except PlaneError as failure:
        cause = failure.__cause__
        source = cause if isinstance(cause, SigningError) else failure
        return f"{source.message} {source.hint or ''}".strip()
    return ""


def convert_error(error: SigningError) -> PlaneError:
    """What signing says, as a refusal of the plane."""
    kind = Conflict if error.code in ("key_file_exists", "document_malformed") else Unavailable
    return kind(str(error.message), code=error.code, field=error.field, limit=error.limit, hint=error.hint)
