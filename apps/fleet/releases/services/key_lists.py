"""The next version of the list of keys: what the rows say, signed by a key that devices trust already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.db import IntegrityError, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, PlaneError, StaleState
from apps.fleet.releases.key_storage import convert_error, load_signer
from apps.fleet.releases.models import KeyList, Release, ReleaseKey
from apps.fleet.releases.states import TRUSTED, KeyState, ReleaseState
from apps.platform.audit.services import record
from deepseek.messages import N_
from deepseek.signing import key_lists as signed
from deepseek.signing.dsse import Envelope
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import Signer, compute_key_id, decode_public_key


def publish_key_list(actor: Actor, *, new_signers: Sequence[Signer] = ()) -> KeyList:
    """Sign what the rows of keys and releases say now as the next version; inside the transaction of their change.

    `new_signers`: of keys that no list has yet, which sign it too. Raises Conflict `release_keys_lost` where no key of
    the version before can sign, Unavailable where a key's file or token is away.
    """
    policy.require(actor, "release_key.publish")
    previous = KeyList.objects.select_for_update().order_by("-version").first()
    content = build_key_list(previous.version + 1 if previous else 1)
    signers = [*find_signers(previous), *new_signers]
    try:
        envelope = signed.sign_key_list(content, signers)
    except SigningError as error:
        raise convert_error(error) from error
    try:
        with transaction.atomic():
            row = KeyList.objects.create(
                version=content.version,
                envelope=envelope.to_json(),
                digest=envelope.digest,
                created_by=actor.label,
            )
    except IntegrityError:
        raise StaleState(
            "The list of keys has changed meanwhile.", field="version", hint=N_("Read it again and decide anew.")
        ) from None
    record(
        actor=actor,
        action="release_key.publish",
        obj=row,
        after={"version": row.version, "signed_by": [compute_key_id(each.public_key) for each in signers]},
        digests={"key_list": row.digest},
    )
    return row


def build_key_list(version: int) -> signed.KeyList:
    """The content of the next version."""
    rows = ReleaseKey.objects.order_by("pk")
    revoked = Release.objects.filter(state=ReleaseState.REVOKED).order_by("revoked_at", "pk")
    return signed.KeyList(
        version=version,
        keys=tuple(
            signed.ListedKey(row.key_id, decode_public_key(row.public_key), format_time(row.created_at))
            for row in rows
            if row.state in TRUSTED
        ),
        revoked=tuple(
            signed.RevokedKey(row.key_id, format_time(row.revoked_at or row.created_at), row.revocation_reason)
            for row in rows
            if row.state == KeyState.REVOKED
        ),
        revoked_releases=tuple(revoked.values_list("payload_digest", flat=True)),
    )


def find_signers(previous: KeyList | None) -> list[Signer]:
    """A key of the version before, the active one if it can be had; nobody where there is no version."""
    if previous is None:
        return []
    listed = set(read_key_list(previous).public_keys)
    failures: list[PlaneError] = []
    for row in order_by_use(ReleaseKey.objects.filter(key_id__in=listed)):
        try:
            return [load_signer(row)]
        except PlaneError as failure:
            failures.append(failure)
    if failures and all(failure.status == 503 for failure in failures):
        raise failures[0]
    raise Conflict(
        "No key of the list of version {version} can sign the next one.",
        version=previous.version,
        code="release_keys_lost",
        field="key",
        hint=N_("Put a key back from its backup; without one, devices have to enrol again."),
    )


def order_by_use(rows: Iterable[ReleaseKey]) -> list[ReleaseKey]:
    """Those that sign first: the active one, then standby, retired; one that is just revoked comes last."""
    order = [KeyState.ACTIVE, KeyState.STANDBY, KeyState.RETIRED, KeyState.REVOKED]
    return sorted(rows, key=lambda row: (order.index(KeyState(row.state)), row.pk))


def read_key_list(row: KeyList) -> signed.KeyList:
    return signed.KeyList.parse(Envelope.from_document(json.loads(row.envelope)).payload)


def format_time(at: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
