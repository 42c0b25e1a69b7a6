"""The plane's own key to its repositories of snapshots: a file of the home, of the host that runs the dispatcher."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.conf import settings

from apps.core.errors import Unavailable
from deepseek.messages import N_
from deepseek.snapshots.keys import KEY_BYTES, generate_key
from deepseek.snapshots.storage import sync_path


def get_key_path() -> Path:
    return Path(settings.PLANE_HOME) / "keys" / "snapshot.key"


def load_plane_key() -> bytes:
    """The key. Raises Unavailable `snapshot_key_missing` where this home has none."""
    try:
        key = bytes.fromhex(get_key_path().read_text().strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Unavailable(
            "This home has no key for snapshots.",
            code="snapshot_key_missing",
            field="keys/snapshot.key",
            hint=N_("Run `plane snapshot prepare` here, or give the recovery key: --recovery-key-file."),
        )
    return key


def ensure_plane_key() -> bytes:
    """The key, made where there is none. It appears under its name whole, and never replaces another."""
    path = get_key_path()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(generate_key().hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(staged, path)
        except FileExistsError:  # another process was faster
            pass
        finally:
            staged.unlink()
        sync_path(path.parent)  # a repository is wrapped for it next
    return load_plane_key()
