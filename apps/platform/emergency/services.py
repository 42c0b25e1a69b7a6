"""Every write of emergency grants. Two people, for some hours, never the auditor's role; audited and sealed."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.errors import Conflict, Invalid, Refused, StaleState
from apps.core.request_values import validate_choice
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Membership, Project, User
from apps.platform.accounts.services import reset_password
from apps.platform.accounts.validation import check_active
from apps.platform.audit.models import Result
from apps.platform.audit.services import change_state, record, seal_now
from apps.platform.emergency import notices
from apps.platform.emergency.keys import compute_key_digest, generate_key
from apps.platform.emergency.models import PLANE_ROLES, PROJECT_ROLES, REQUEST_LIFETIME, EmergencyGrant, EmergencyKey
from apps.platform.emergency.queries import can_confirm, can_end, list_current_keys
from apps.platform.emergency.states import EXPIRED, GrantState
from deepseek.messages import N_, Message

MAX_REASON_LENGTH = 2000  # characters
SLOTS = (1, 2)


def request_grant(*, actor: Actor, project: Project | None, role: str, reason: str, hours: int) -> EmergencyGrant:
    """Ask for a role in `project`, or on the plane (None), for oneself; it lends nothing until somebody confirms it.

    Raises Refused for an auditor and by a token, Invalid for a bad role, reason or number of hours, Conflict
    (`role_held`, `grant_open`).
    """
    policy.require(actor, "emergency.request")
    if actor.user_id is None or actor.scopes is not None:
        raise Refused("Only a person at a browser asks for emergency access.", action="emergency.request")
    reason = check_request(project, role, reason, hours)
    with transaction.atomic():
        person = User.objects.select_for_update().get(pk=actor.user_id)
        check_person(person, project, role, "emergency.request")
        close_expired_grant(actor, person)
        grant = insert_grant(person, project, role, reason, hours)
        record(actor=actor, action="emergency.request", obj=grant, reason=reason, after=describe(grant))
        notices.notify_requested(grant)
        seal_now()
    return grant


def confirm_grant(*, actor: Actor, grant: EmergencyGrant) -> EmergencyGrant:
    """Confirm a request as another person: an administrator of another kind than whoever asked. In force at once.

    Raises Refused (`own_request`, `wrong_administrator`, `credentials_unconfirmed`), Conflict (`request_expired`,
    `illegal_move`, `role_held`).
    """
    policy.require(actor, "emergency.confirm")
    require_confirmed(actor, "emergency.confirm")
    about: dict[str, Any] = {"action": "emergency.confirm", "object_type": "emergencygrant", "object_id": grant.pk}
    if actor.user_id == grant.user_id:
        raise Refused("You asked for it: somebody else must confirm it.", code="own_request", **about)
    if not can_confirm(actor, grant):
        raise Refused(
            "Another kind of administrator confirms this.",
            code="wrong_administrator",
            hint=N_("Who asked is an administrator of your kind."),
            **about,
        )
    with transaction.atomic():
        person = User.objects.select_for_update().get(pk=grant.user_id)
        if grant.status == EXPIRED:
            raise Conflict(
                "The request is older than 24 hours.",
                code="request_expired",
                field="grant",
                hint=N_("Ask for a new one."),
            )
        check_active(person, field="grant")
        check_person(person, grant.project, grant.role, "emergency.confirm")
        now = timezone.now()
        expires_at = now + timedelta(hours=grant.hours)
        change_state(
            grant,
            GrantState.ACTIVE,
            actor=actor,
            action="emergency.confirm",
            reason=grant.reason,
            confirmed_by_id=actor.user_id,
            confirmed_label=actor.label[:200],
            confirmed_at=now,
            expires_at=expires_at,
        )
        User.objects.filter(pk=person.pk).update(emergency_until=expires_at)
        notices.notify_granted(grant)
        seal_now()
    return grant


def end_grant(*, actor: Actor, grant: EmergencyGrant, reason: str) -> EmergencyGrant:
    """End a grant, or refuse a request: any of the three administrators, and who holds it. The rights are gone at once.

    Raises Refused for anybody else, Invalid without a reason, Conflict (`illegal_move`) for one that has ended.
    """
    policy.require(actor, "emergency.end")
    if not can_end(actor, grant):
        raise Refused(
            "Whoever holds it or an administrator ends it.",
            action="emergency.end",
            object_type="emergencygrant",
            object_id=grant.pk,
        )
    reason = validate_reason(reason)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=grant.user_id)
        close_grant(actor, grant, reason)
        notices.notify_ended(grant)
        seal_now()
    return grant


def expire_grants(*, actor: Actor) -> int:
    """Close the grants and requests whose time is over, each with a record; how many. The rights went by the clock."""
    policy.require(actor, "emergency.expire")
    count = 0
    for grant in EmergencyGrant.objects.overdue().select_related("user"):
        try:
            with transaction.atomic():
                User.objects.select_for_update().get(pk=grant.user_id)
                expire_grant(actor, grant)
                notices.notify_expired(grant)
                seal_now()
        except StaleState:  # somebody ended it, or another worker was faster
            continue
        count += 1
    return count


# -- two printed keys -----------------------------------------------------------------------------------------------
def create_key(*, actor: Actor, slot: int) -> str:
    """A new key of this slot, to be printed for one envelope; it is shown once, and the former one is void."""
    policy.require(actor, "emergency.create_keys")
    if slot not in SLOTS:
        raise Invalid("There is no key {slot}.", slot=slot, field="slot", limit="1, 2")
    key = generate_key()
    with transaction.atomic():
        replaced = EmergencyKey.objects.filter(slot=slot, spent_at=None).update(spent_at=timezone.now())
        row = EmergencyKey.objects.create(slot=slot, digest=compute_key_digest(key))
        record(actor=actor, action="emergency.create_key", obj=row, after={"slot": slot, "replaced": bool(replaced)})
        notices.notify_key_created(slot, row)
        seal_now()
    return key


def use_keys(
    *, actor: Actor, person: User, role: str, reason: str, hours: int, keys: tuple[str, str]
) -> tuple[EmergencyGrant, str]:
    """Lend a role on the plane to `person` by the two printed keys, which are spent, and a new one-time password.

    For when nobody can log in. Returns the grant and the password, which is shown once. Raises Refused
    (`wrong_keys`), recorded; Conflict where keys are missing, or the person is disabled or has the role.
    """
    policy.require(actor, "emergency.use_keys")
    reason = check_request(None, role, reason, hours)
    with transaction.atomic():
        rows = list(EmergencyKey.objects.select_for_update().filter(spent_at=None).order_by("slot"))
        has_both = len(rows) == len(SLOTS)
        is_right = has_both and match_keys(rows, keys)
        if is_right:
            person = User.objects.select_for_update().get(pk=person.pk)
            check_active(person, field="user")
            check_person(person, None, role, "emergency.use_keys")
            close_open_grants(actor, person)
            now = timezone.now()
            EmergencyKey.objects.filter(pk__in=[row.pk for row in rows]).update(spent_at=now)
            password = reset_password(actor=actor, user=person)
            grant = insert_grant(person, None, role, reason, hours, by_keys=True)
            expires_at = now + timedelta(hours=hours)
            change_state(
                grant,
                GrantState.ACTIVE,
                actor=actor,
                action="emergency.use_keys",
                reason=reason,
                confirmed_label="two printed keys",
                confirmed_at=now,
                expires_at=expires_at,
            )
            User.objects.filter(pk=person.pk).update(emergency_until=expires_at)
            notices.notify_granted(grant)
            seal_now()
    if not is_right:
        refuse_keys(actor, has_both=has_both)
    return grant, password


def match_keys(rows: list[EmergencyKey], keys: tuple[str, str]) -> bool:
    """Whether each of the two keys opens a slot of its own, in either order; all comparisons are made."""
    first, second = (compute_key_digest(key) for key in keys)
    first_digest, second_digest = (row.digest for row in rows)
    straight = hmac.compare_digest(first, first_digest) & hmac.compare_digest(second, second_digest)
    crossed = hmac.compare_digest(first, second_digest) & hmac.compare_digest(second, first_digest)
    return straight | crossed


def refuse_keys(actor: Actor, *, has_both: bool) -> NoReturn:
    """Record what was tried, for a command has no web layer that would, and raise."""
    if not has_both:
        raise Conflict(
            "There are {count} emergency keys; it takes 2.",
            count=len(list_current_keys()),
            code="keys_missing",
            field="keys",
            hint=N_("Create them before they are needed: manage.py break_glass --create-key 1, then 2."),
        )
    with transaction.atomic():
        record(actor=actor, action="emergency.use_keys", result=Result.REFUSED, reason="wrong keys")
        seal_now()
    raise Refused(
        "These are not the two keys.",
        code="wrong_keys",
        field="keys",
        action="emergency.use_keys",
        hint=N_("Type both as they are printed; hyphens and case do not count."),
    )


# -- steps ----------------------------------------------------------------------------------------------------------
def check_request(project: Project | None, role: str, reason: str, hours: int) -> str:
    """The reason, stripped; Invalid names what is wrong."""
    validate_choice("role", role, PLANE_ROLES if project is None else PROJECT_ROLES, required=True)
    limit = settings.ENV.emergency_hours
    if not 1 <= hours <= limit:
        raise Invalid(
            "Emergency access lasts 1 to {limit_hours} hours, not {hours}.",
            limit_hours=limit,
            hours=hours,
            code="out_of_range",
            field="hours",
            limit=limit,
        )
    return validate_reason(reason)


def validate_reason(reason: str) -> str:
    text = reason.replace("\x00", "").strip()
    if not text or len(text) > MAX_REASON_LENGTH:
        raise Invalid(
            Message("Say why.") if not text else Message("reason has {count} characters.", count=len(text)),
            field="reason",
            limit=f"1 to {MAX_REASON_LENGTH} characters",
            hint=N_("Recorded in the audit trail as written."),
        )
    return text


def check_person(person: User, project: Project | None, role: str, action: str) -> None:
    """Refused for an auditor, whose role is combined with none; Conflict where the person has the role anyway."""
    if person.system_role == SystemRole.AUDITOR:
        raise Refused(
            "{user_username} is an auditor, who gets no other role.",
            user_username=person.username,
            code="auditor_apart",
            action=action,
            object_type="user",
            object_id=person.pk,
        )
    holders = (
        person.system_role == role
        if project is None
        else Membership.objects.filter(project=project, user=person, role=role).exists()
    )
    if holders:
        raise Conflict(
            "{user_username} has this role already.", user_username=person.username, code="role_held", field="role"
        )


def insert_grant(
    person: User, project: Project | None, role: str, reason: str, hours: int, *, by_keys: bool = False
) -> EmergencyGrant:
    try:
        with transaction.atomic():
            return EmergencyGrant.objects.create(
                user=person, project=project, role=role, reason=reason, hours=hours, by_keys=by_keys
            )
    except IntegrityError:
        raise Conflict(
            "{user_username} has an open emergency grant or request.",
            user_username=person.username,
            code="grant_open",
            field="grant",
            hint=N_("End that one first."),
        ) from None


def close_expired_grant(actor: Actor, person: User) -> None:
    """Close the person's grant whose time is over, so that there is room for another."""
    for grant in EmergencyGrant.objects.overdue().filter(user=person):
        expire_grant(actor, grant)


def close_open_grants(actor: Actor, person: User) -> None:
    """Close a request that nobody could confirm, and a grant in force: nobody can log in to end them first."""
    for grant in EmergencyGrant.objects.filter(user=person, state__in=(GrantState.REQUESTED, GrantState.ACTIVE)):
        close_grant(actor, grant, "replaced by the printed keys")
        notices.notify_ended(grant)


def expire_grant(actor: Actor, grant: EmergencyGrant) -> None:
    """Of a request: nobody confirmed it. `ended_at` is when the time was over, not when it was noticed."""
    change_state(
        grant,
        GrantState.EXPIRED,
        actor=actor,
        action="emergency.expire",
        reason=grant.reason,
        ended_at=grant.expires_at or grant.requested_at + REQUEST_LIFETIME,
    )
    User.objects.filter(pk=grant.user_id).update(emergency_until=None)


def close_grant(actor: Actor, grant: EmergencyGrant, reason: str) -> None:
    change_state(
        grant,
        GrantState.ENDED,
        actor=actor,
        action="emergency.end",
        reason=reason,
        ended_label=actor.label[:200],
        ended_at=timezone.now(),
        end_reason=reason,
    )
    User.objects.filter(pk=grant.user_id).update(emergency_until=None)


def describe(grant: EmergencyGrant) -> dict[str, object]:
    return {
        "user": grant.user.username,
        "scope": grant.project.slug if grant.project else "plane",
        "role": grant.role,
        "hours": grant.hours,
    }
