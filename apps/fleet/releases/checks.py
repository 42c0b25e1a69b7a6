"""A deployment is told when the key that signs releases is away, or may be read by others."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DatabaseError

from apps.fleet.releases.key_storage import find_fault
from apps.fleet.releases.models import ReleaseKey
from apps.fleet.releases.states import KeyState


@register(Tags.security, deploy=True)
def check_release_keys(**kwargs: Any) -> list[CheckMessage]:
    """releases.W001: this machine cannot sign with a key that is active or on standby: it is gone, or wide open."""
    try:
        keys = list(ReleaseKey.objects.filter(state__in=(KeyState.ACTIVE, KeyState.STANDBY)).order_by("pk"))
    except DatabaseError:  # before the first migration
        return []
    faults = [(key, find_fault(key)) for key in keys]
    hint = "A machine that issues no releases needs no key."
    return [
        Warning(f"Release key {key.key_id}: {fault}", hint=hint, id="releases.W001") for key, fault in faults if fault
    ]
