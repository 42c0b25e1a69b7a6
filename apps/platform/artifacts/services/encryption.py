"""Encrypting the store: new data keys, wrapping by a new key of the operator, and encrypting what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, PlaneError
from apps.platform.artifacts.encryption.store import EncryptedStore
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record
from deepseek.messages import N_

OWN_FOLDERS = frozenset({"sha256", "staging", "damaged", "encrypted", "keys"})  # of a store: no areas


@dataclass
class KeyRotation:
    """What a rotation did: data keys wrapped again, objects and bytes encrypted, and the digests of damaged objects.

    `left`: objects that it does not touch and that are not under the newest data key, by area (checkpoints of jobs,
    parts of uploads). `set_aside`: damaged files that were replaced or removed, and lie beside the store as they were.
    """

    wrapped: int = 0
    encrypted: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    set_aside: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether everything in the store is under the newest data key now."""
        return not (self.damaged or self.left or self.set_aside)


def rotate_store_keys(
    *,
    actor: Actor,
    new_data_key: bool = False,
    encrypt: bool = False,
    report: Callable[[KeyRotation], None] = lambda rotation: None,
) -> KeyRotation:
    """Wrap the data keys of the store by the first of ENCRYPTION_KEYS.

    `new_data_key`: make another, for all that comes. `encrypt`: encrypt each object that is plain, or under another
    data key than the active one; what was killed goes on where it was. `report` is called after each object.

    Raises Conflict (`store_not_encrypted`) where the settings name no cipher for it; Unavailable where the store is
    away or a key is missing.
    """
    policy.require(actor, "artifact.encrypt_store")
    at = get_store()
    if not isinstance(at, EncryptedStore) or (at.keys.cipher is None and (new_data_key or encrypt)):
        raise Conflict(
            "The artifact store is not encrypted.",
            code="store_not_encrypted",
            field="STORE_ENCRYPTION",
            limit="aes-256-gcm, sm4-gcm",
            hint=N_("Set ENCRYPTION_KEYS and STORE_ENCRYPTION, and restart the plane."),
        )
    rotation = KeyRotation(wrapped=at.keys.rewrap())
    if new_data_key:
        at.keys.create()
    if encrypt:
        encrypt_objects(at, rotation, report)
        rotation.left, rotation.set_aside = count_area_objects(at), at.plain.count_set_aside()
    active = at.keys.get_active().id.hex() if at.keys.cipher else ""
    record(
        actor=actor,
        action="artifact.rotate_store_key",
        object_type="store",
        object_id="artifacts",
        after={
            "key": at.keys.key_ring.active.id,
            "data_key": active,
            "wrapped": rotation.wrapped,
            "objects": rotation.encrypted,
            "bytes": rotation.bytes,
            "damaged": len(rotation.damaged),
            "left": sum(rotation.left.values()) + rotation.set_aside,
        },
    )
    return rotation


def encrypt_objects(at: EncryptedStore, rotation: KeyRotation, report: Callable[[KeyRotation], None]) -> None:
    """Encrypt one object after the other, in the order of the digests, each replaced in one step."""
    active = at.keys.get_active().id
    for item in at.objects():
        if at.read_key_id(item.digest) == active:
            at.plain.collect(item.digest)  # a kill may have come between the two
            continue
        try:
            rotation.bytes += at.encrypt_again(item.digest)
        except FileNotFoundError:  # collected as garbage meanwhile
            continue
        except PlaneError as error:
            if error.code != "digest_mismatch":
                raise
            rotation.damaged.append(item.digest)
            continue
        rotation.encrypted += 1
        report(rotation)


def count_area_objects(at: EncryptedStore) -> dict[str, int]:
    """Objects of each area that are plain or under another data key than the active one. They go with their owner."""
    active = at.keys.get_active().id
    counts: dict[str, int] = {}
    for top in sorted(set(at.areas()) - OWN_FOLDERS):
        for name in at.area(top).areas():
            area = cast(EncryptedStore, at.area(top, name))
            count = sum(1 for item in area.objects() if area.read_key_id(item.digest) != active)
            if count:
                counts[top] = counts.get(top, 0) + count
    return counts
