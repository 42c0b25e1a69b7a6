"""Encrypting the columns that hold secrets again, under the active key."""

from __future__ import annotations

from collections import Counter

from allauth.mfa.models import Authenticator

from apps.core import policy
from apps.core.actors import Actor
from apps.core.encryption.columns import (
    TextUnreadable,
    decrypt_text,
    encrypt_text,
    get_key_ring,
    is_current,
    is_encrypted,
)
from apps.core.encryption.fields import list_encrypted_fields
from apps.platform.accounts.factors.requirements import FACTOR_PURPOSE
from apps.platform.audit.services import record

ROWS_PER_READ = 500


def rotate_column_keys(*, actor: Actor) -> tuple[Counter[str], Counter[str]]:
    """Encrypt each secret that is not under the active key and cipher again; (encrypted, unreadable) by column.

    A row that changes meanwhile keeps what its writer put there, which is under the active key. Each row is a write of
    its own: a run that was killed goes on with what is left.
    """
    policy.require(actor, "plane.rotate_column_key")
    encrypted: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    for model, field in list_encrypted_fields():
        name, column = f"{model._meta.label}.{field.name}", field.attname
        rows = model._base_manager.exclude(**{column: ""}).order_by("pk").values_list("pk", column)
        for pk, stored in rows.iterator(chunk_size=ROWS_PER_READ):
            if is_current(stored):
                continue
            try:
                fresh = encrypt_text(decrypt_text(stored, field.purpose), field.purpose)
            except TextUnreadable:
                unreadable[name] += 1
                continue
            encrypted[name] += model._base_manager.filter(pk=pk, **{column: stored}).update(**{column: fresh})
    rotate_factor_keys(encrypted, unreadable)
    record(
        actor=actor,
        action="plane.rotate_column_key",
        object_type="plane",
        object_id="columns",
        after={"key": get_key_ring().active.id, "encrypted": sum(encrypted.values()), "left": sum(unreadable.values())},
    )
    return encrypted, unreadable


def rotate_factor_keys(encrypted: Counter[str], unreadable: Counter[str]) -> None:
    """The secrets of second factors, which lie in JSON of allauth's."""
    for row in Authenticator.objects.order_by("pk").iterator(chunk_size=ROWS_PER_READ):
        fresh = dict(row.data)
        for name, value in row.data.items():
            if not isinstance(value, str) or not is_encrypted(value) or is_current(value):
                continue
            try:
                fresh[name] = encrypt_text(decrypt_text(value, FACTOR_PURPOSE), FACTOR_PURPOSE)
            except TextUnreadable:
                unreadable["mfa.Authenticator.data"] += 1
        if fresh != row.data:
            changed = Authenticator.objects.filter(pk=row.pk, data=row.data).update(data=fresh)
            encrypted["mfa.Authenticator.data"] += changed
