"""Settings from files: NAME_FILE names the file whose text is the value of NAME."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

FROM_FILE = (
    "database_url",
    "database_password",
    "broker_url",
    "broker_password",
    "secret_key",
    "secret_key_fallbacks",
    "encryption_keys",
    "openlineage_api_key",
    "ldap_bind_password",
    "mail_password",
    "oidc_client_secret",
    "release_pkcs11_pin",
    "snapshot_s3_secret_key",
)
"""Settings that may stand in a file which NAME_FILE names: an environment is read by whoever may see the process."""


class SecretFileSource(PydanticBaseSettingsSource):
    """NAME_FILE: the file's text, without the white space around it, is the value of NAME."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{field_name.upper()}_FILE", "")
        return (read_secret(field_name.upper(), path) if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        values = {name: self.get_field_value(fields[name], name)[0] for name in FROM_FILE}
        return {name: value for name, value in values.items() if value is not None}


def read_secret(name: str, path: str) -> str:
    """The secret in this file; exits with status 2 where there is none, or where the environment holds another."""
    setting = f"{name}_FILE={path!r}"
    try:
        value = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "it is no text"
        sys.stderr.write(f"{setting}: the file cannot be read: {reason}. See docs/settings.md.\n")
        raise SystemExit(2) from None
    if not value:
        sys.stderr.write(f"{setting}: the file is empty. `make_secrets` makes one.\n")
        raise SystemExit(2)
    if os.environ.get(name):
        sys.stderr.write(f"{setting}: {name} is set as well. Take one of the two away.\n")
        raise SystemExit(2)
    return value
