"""The life of a release key: made, put to use, retired, revoked. Each step is a new version of the list of keys."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, StaleState
from apps.fleet.releases.key_storage import make_signer
from apps.fleet.releases.models import ReleaseKey
from apps.fleet.releases.services.key_lists import publish_key_list
from apps.fleet.releases.states import KeyState
from apps.platform.audit.services import change_state, record
from deepseek.messages import N_
from deepseek.signing.keys import Signer, compute_key_id, encode_public_key

MAX_REASON = 2000


def create_key(*, actor: Actor, uri: str = "") -> ReleaseKey:
    """Make a key in a file, or take the one that a PKCS #11 URI names. The first one is active, a further one on
    standby: devices trust it from now on, and it can take over at once. Raises Conflict for a key that there is."""
    policy.require(actor, "release_key.create")
    signer, location = make_signer(uri)
    with transaction.atomic():
        is_first = get_active_key() is None
        key = add_key(actor, signer, location, KeyState.ACTIVE if is_first else KeyState.STANDBY)
        publish_key_list(actor, new_signers=[signer])
    return key


def rotate_key(*, actor: Actor, uri: str = "") -> ReleaseKey:
    """Let another key sign from now on: the one on standby, else a new one, or the one that `uri` names. What the old
    one has signed still counts. Returns the key that is active now. Conflict where there is none to rotate."""
    policy.require(actor, "release_key.rotate")
    old = get_active_key()
    if old is None:
        raise Conflict(
            "There is no key to rotate.", code="release_key_missing", field="key", hint=N_("Create the first one.")
        )
    standby = None if uri else get_standby_key()
    created = None if standby else make_signer(uri)
    with transaction.atomic():
        change_state(old, KeyState.RETIRED, actor=actor, action="release_key.retire")
        new = activate(actor, standby, created)
        publish_key_list(actor, new_signers=[created[0]] if created else [])
    return new


def revoke_key(*, actor: Actor, key: ReleaseKey, reason: str, uri: str = "") -> ReleaseKey:
    """Let nothing count that the key has signed. Where it was active another one takes over, as in `rotate_key`.

    Devices refuse releases that it signed once they have the new list: issue again what they are to install.
    """
    policy.require(actor, "release_key.revoke")
    check_reason(reason)
    is_active = key.state == KeyState.ACTIVE
    standby = get_standby_key() if is_active and not uri else None
    created = make_signer(uri) if is_active and standby is None else None
    with transaction.atomic():
        change_state(
            key,
            KeyState.REVOKED,
            actor=actor,
            action="release_key.revoke",
            reason=reason,
            revoked_at=timezone.now(),
            revocation_reason=reason,
        )
        if is_active:
            activate(actor, standby, created)
        publish_key_list(actor, new_signers=[created[0]] if created else [])
    return key


def activate(actor: Actor, standby: ReleaseKey | None, made: tuple[Signer, str] | None) -> ReleaseKey:
    """The key that signs from now on: that on standby, or the one just made."""
    if standby is not None:
        return change_state(standby, KeyState.ACTIVE, actor=actor, action="release_key.activate")
    assert made is not None  # noqa: S101  one of the two is there
    return add_key(actor, *made, KeyState.ACTIVE)


def add_key(actor: Actor, signer: Signer, location: str, state: KeyState) -> ReleaseKey:
    key_id = compute_key_id(signer.public_key)
    if ReleaseKey.objects.filter(key_id=key_id).exists():
        raise Conflict(
            "The key {key_id} is known already.",
            key_id=key_id,
            code="release_key_exists",
            field="uri",
            hint=N_("Make another key in the token, or name another one."),
        )
    try:
        with transaction.atomic():
            key = ReleaseKey.objects.create(
                key_id=key_id,
                public_key=encode_public_key(signer.public_key),
                location=location,
                state=state,
                created_by=actor.label,
            )
    except IntegrityError:  # two made the first one at once: the table takes one that is active
        raise StaleState(
            "Another key was made meanwhile.", field="key", hint=N_("List the keys and decide anew.")
        ) from None
    after = {"key_id": key_id, "state": str(state), "location": location, "public_key": key.public_key}
    record(actor=actor, action="release_key.create", obj=key, after=after)
    return key


def get_active_key() -> ReleaseKey | None:
    return ReleaseKey.objects.filter(state=KeyState.ACTIVE).first()


def get_standby_key() -> ReleaseKey | None:
    """The oldest on standby."""
    return ReleaseKey.objects.filter(state=KeyState.STANDBY).order_by("pk").first()


def check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise Invalid(
            "The reason must be a text of one line.",
            field="reason",
            limit=f"1 to {MAX_REASON} printable characters",
            hint=N_("Say why: everybody who reads the list of keys will see it."),
        )
