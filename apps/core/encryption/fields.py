"""EncryptedTextField: a column that holds ciphertext alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models

from apps.core.encryption.columns import is_encrypted


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text encrypted by `encrypt_text`; `purpose` as there. Anything else is refused before it reaches the database.

    The attribute is the ciphertext, so neither a record of a change, a log nor a template shows the text: whoever needs
    it calls `decrypt_text`. For migrations it is a TextField.
    """

    def __init__(self, *args: Any, purpose: str = "", **kwargs: Any) -> None:
        self.purpose = purpose
        super().__init__(*args, **kwargs)

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        if isinstance(prepared, str) and prepared and not is_encrypted(prepared):
            raise ValueError(f"{self.name} takes what encrypt_text returns, never the text itself")
        return prepared

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.TextField", list(arguments), dict(options)


def list_encrypted_fields() -> Iterator[tuple[type[models.Model], EncryptedTextField]]:
    """(model, field) of every encrypted column."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedTextField):
                yield model, field
