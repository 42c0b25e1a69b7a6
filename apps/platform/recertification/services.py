"""Every write of recertification: a campaign over all grants, decisions on them, its end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.errors import Conflict, Invalid, Refused
from apps.core.request_values import validate_choice
from apps.platform.accounts.confirmations import exclude_expired, require_confirmed
from apps.platform.accounts.models import ApiToken, Membership, ServiceAccount, User
from apps.platform.accounts.row_operations import end_sessions, revoke_all
from apps.platform.accounts.validation import check_fields
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import draft, record, seal_now
from apps.platform.recertification.models import (
    OPEN,
    Campaign,
    Decision,
    GrantKind,
    GrantReview,
    GrantReviewQuerySet,
)
from deepseek.messages import N_

DAYS = (1, 366)
MAX_REASON_LENGTH = 2000  # characters
BATCH = 2000  # rows of one insert
ACTIONS = {
    Decision.CONFIRMED.value: "recertification.confirm",
    Decision.REVOKED.value: "recertification.revoke",
    Decision.SUSPENDED.value: "recertification.suspend",
}


def start_campaign(*, actor: Actor, name: str, days: int) -> Campaign:
    """A review of every grant there is now: roles in projects, system roles, working tokens, active service accounts.

    Conflict (`campaign_open`) while another is open; Invalid for a bad name or number of days.
    """
    policy.require(actor, "recertification.start")
    require_confirmed(actor, "recertification.start")
    if not DAYS[0] <= days <= DAYS[1]:
        raise Invalid(
            "A campaign lasts {low} to {high} days, not {found}.",
            low=DAYS[0],
            high=DAYS[1],
            found=days,
            code="out_of_range",
            field="days",
            limit=DAYS[1],
        )
    campaign = Campaign(name=name.strip(), started_by=actor.label[:200], due_at=timezone.now() + timedelta(days=days))
    check_fields(campaign, "name")
    with transaction.atomic():
        try:
            with transaction.atomic():
                campaign.save()
        except IntegrityError:
            raise Conflict(
                "A campaign is open.", code="campaign_open", field="name", hint=N_("Close it first.")
            ) from None
        reviews = list(collect_grants(campaign))
        GrantReview.objects.bulk_create(reviews, batch_size=BATCH)
        record(
            actor=actor,
            action="recertification.start",
            obj=campaign,
            after={"name": campaign.name, "grants": len(reviews), "due_at": campaign.due_at.isoformat()},
        )
        seal_now()
    return campaign


def collect_grants(campaign: Campaign) -> Iterable[GrantReview]:
    """A review of each grant; four queries."""
    memberships = Membership.objects.order_by("pk").values_list(
        "pk", "role", "project_id", "user_id", "user__username", "service_account__name"
    )
    for pk, role, project_id, user_id, username, account in memberships.iterator():
        yield build_review(campaign, GrantKind.MEMBERSHIP, pk, user_id, username or account, project_id, role)
    people = User.objects.exclude(system_role="").order_by("pk").values_list("pk", "username", "system_role")
    for pk, username, role in people:
        yield build_review(campaign, GrantKind.SYSTEM_ROLE, pk, pk, username, None, role)
    tokens = ApiToken.objects.filter(revoked_at=None, expires_at__gt=timezone.now()).order_by("pk")
    columns = ("pk", "name", "scopes", "project_id", "user_id", "user__username", "service_account__name")
    for pk, name, scopes, project_id, user_id, username, account in tokens.values_list(*columns).iterator():
        text = f"{name}: {', '.join(scopes)}"[:300]
        yield build_review(campaign, GrantKind.TOKEN, pk, user_id, username or account, project_id, text)
    accounts = ServiceAccount.objects.filter(is_active=True).order_by("pk").values_list("pk", "name", "project_id")
    for pk, name, project_id in accounts:
        yield build_review(campaign, GrantKind.SERVICE_ACCOUNT, pk, None, name, project_id, name)


def build_review(
    campaign: Campaign,
    kind: GrantKind,
    object_id: int,
    user_id: int | None,
    holder: str,
    project_id: int | None,
    description: str,
) -> GrantReview:
    return GrantReview(
        campaign=campaign,
        kind=kind,
        object_id=object_id,
        user_id=user_id,
        holder=holder,
        project_id=project_id,
        description=description,
    )


def decide_grants(
    *, actor: Actor, campaign: Campaign, rows: GrantReviewQuerySet | None, decision: str, reason: str = ""
) -> int:
    """Confirm or revoke the open reviews among `rows` (None: all) that are the actor's to decide; how many.

    A revoked grant is gone at once: the role is taken, the token revoked, the service account disabled; a record for
    each. One that was suspended comes back when it is confirmed. Raises Invalid for another decision, or without a
    reason to revoke; Conflict (`campaign_closed`, `last_administrator`); Refused where rows are named and none is the
    actor's to decide.
    """
    policy.require(actor, "recertification.decide")
    require_confirmed(actor, "recertification.decide")
    if actor.emergency_id is not None:
        raise Refused(
            "Emergency access decides about no grants.", code="borrowed_role", action="recertification.decide"
        )
    validate_choice("decision", decision, (Decision.CONFIRMED, Decision.REVOKED), required=True)
    reason = reason.replace("\x00", "").strip()
    if len(reason) > MAX_REASON_LENGTH or (decision == Decision.REVOKED and not reason):
        raise Invalid("Say why.", field="reason", limit=f"1 to {MAX_REASON_LENGTH} characters")
    with transaction.atomic():
        locked = Campaign.objects.select_for_update().get(pk=campaign.pk)
        if locked.closed_at is not None:
            raise Conflict("The campaign is closed.", code="campaign_closed", field="campaign")
        own = GrantReview.objects.decidable_by(actor).filter(campaign=locked, decision__in=OPEN)
        chosen = own if rows is None else own.filter(pk__in=rows.order_by().values("pk"))
        reviews = list(chosen.order_by("pk"))
        if not reviews and rows is not None:
            raise Refused(
                "None of these grants is open and yours to decide.",
                code="not_reviewer",
                action="recertification.decide",
                object_type="campaign",
                object_id=locked.pk,
                hint=N_("Another reviewer decides about one's own grants."),
            )
        suspended = [review for review in reviews if review.decision == Decision.SUSPENDED]
        if decision == Decision.REVOKED:
            revoke_grants(reviews)
            revoke_tokens_of_suspended(suspended)
        else:
            restore_grants(actor, suspended, reason)
        save_decisions(actor, reviews, decision, reason)
        seal_now()
    return len(reviews)


def save_decisions(actor: Actor, reviews: Sequence[GrantReview], decision: str, reason: str) -> None:
    """The decisions by one statement, their records by another; the locked campaign keeps others out."""
    now = timezone.now()
    decided = {"decision": decision, "decided_by": actor.label[:200], "decided_at": now, "reason": reason}
    if decision == Decision.SUSPENDED:
        decided["suspended_at"] = now
    action = ACTIONS[decision]
    for start in range(0, len(reviews), BATCH):
        batch = reviews[start : start + BATCH]
        GrantReview.objects.filter(pk__gte=batch[0].pk, pk__lte=batch[-1].pk, pk__in=[row.pk for row in batch]).update(
            **decided
        )
        AuditRecord.objects.bulk_create(
            draft(
                actor=actor,
                action=action,
                obj=review,
                reason=reason,
                after={
                    "kind": review.kind,
                    "holder": review.holder,
                    "grant": review.description,
                    "object": review.object_id,
                },
            )
            for review in batch
        )


def revoke_grants(reviews: Iterable[GrantReview]) -> None:
    """Take the grants away; what is gone already stays gone."""
    by_kind: dict[str, list[GrantReview]] = {}
    for review in reviews:
        by_kind.setdefault(review.kind, []).append(review)
    ids = {kind: [row.object_id for row in rows] for kind, rows in by_kind.items()}
    revoke_all(ApiToken.objects.filter(pk__in=ids.get(GrantKind.TOKEN, ())))
    accounts = ids.get(GrantKind.SERVICE_ACCOUNT, [])
    ServiceAccount.objects.filter(pk__in=accounts).update(is_active=False, is_suspended=False)
    revoke_all(ApiToken.objects.filter(service_account__in=accounts))
    remove_memberships(ids.get(GrantKind.MEMBERSHIP, []))
    reviewed = {row.object_id: row.description for row in by_kind.get(GrantKind.SYSTEM_ROLE, ())}
    for user in User.objects.select_for_update().filter(pk__in=reviewed).order_by("pk"):
        if user.system_role == reviewed[user.pk]:  # another one since was not reviewed, perhaps not this reviewer's
            take_system_role(user)


def remove_memberships(keys: Collection[int]) -> None:
    """Take the roles; who has none left in the project loses the tokens there too."""
    rows = list(Membership.objects.filter(pk__in=keys))
    Membership.objects.filter(pk__in=[row.pk for row in rows]).delete()
    for row in rows:
        owner = {"user_id": row.user_id, "service_account_id": row.service_account_id}
        if not Membership.objects.filter(project_id=row.project_id, **owner).exists():
            revoke_all(ApiToken.objects.filter(project_id=row.project_id, **owner))


def take_system_role(user: User) -> None:
    """End the administrator's role, sessions and tokens; Conflict for the last security administrator."""
    others = exclude_expired(User.objects.filter(system_role=SystemRole.SECURITY_ADMIN)).exclude(pk=user.pk)
    if user.system_role == SystemRole.SECURITY_ADMIN and not others.exists():
        raise Conflict(
            "{user_username} is the last security administrator.",
            user_username=user.username,
            code="last_administrator",
            field="decision",
            hint=N_("Give the role to somebody else first."),
        )
    user.system_role = ""
    user.save(update_fields=["system_role"])
    revoke_all(ApiToken.objects.filter(user=user))
    end_sessions(user)


# -- overdue --------------------------------------------------------------------------------------------------------
def suspend_overdue(*, actor: Actor) -> int:
    """Take away what nobody has decided by the due date of its campaign, with a record of each; how many.

    A reviewer gives it back by confirming it, or revokes it. The last administrator of each kind who can log in keeps
    the role: somebody has to be there to decide. With RECERTIFICATION_OVERDUE=keep nothing is taken.
    """
    policy.require(actor, "recertification.suspend")
    if settings.ENV.recertification_overdue != "suspend":
        return 0
    count = 0
    for campaign in Campaign.objects.filter(closed_at=None, due_at__lte=timezone.now()):
        with transaction.atomic():
            locked = Campaign.objects.select_for_update().get(pk=campaign.pk)
            pending = locked.reviews.filter(decision=Decision.PENDING).order_by("pk")
            taken = [] if locked.closed_at else suspend_grants(list(pending))
            if taken:
                save_decisions(actor, taken, Decision.SUSPENDED, f"open on the due date, {locked.due_at:%Y-%m-%d}")
                seal_now()
        count += len(taken)
    return count


def suspend_grants(reviews: Sequence[GrantReview]) -> list[GrantReview]:
    """Take these grants away so that they can come back; those that were there."""
    by_kind: dict[str, dict[int, GrantReview]] = {kind: {} for kind in GrantKind.values}
    for review in reviews:
        by_kind[review.kind][review.object_id] = review
    now = timezone.now()
    members = Membership.objects.filter(pk__in=by_kind[GrantKind.MEMBERSHIP])
    tokens = ApiToken.objects.filter(pk__in=by_kind[GrantKind.TOKEN], revoked_at=None, expires_at__gt=now)
    accounts = ServiceAccount.objects.filter(pk__in=by_kind[GrantKind.SERVICE_ACCOUNT], is_active=True)
    present = {
        GrantKind.MEMBERSHIP: list(members.values_list("pk", flat=True)),
        GrantKind.TOKEN: list(tokens.values_list("pk", flat=True)),
        GrantKind.SERVICE_ACCOUNT: list(accounts.values_list("pk", flat=True)),
        GrantKind.SYSTEM_ROLE: suspend_system_roles(by_kind[GrantKind.SYSTEM_ROLE]),
    }
    Membership.objects.filter(pk__in=present[GrantKind.MEMBERSHIP]).delete()
    ApiToken.objects.filter(pk__in=present[GrantKind.TOKEN]).update(revoked_at=now, is_suspended=True)
    suspended_accounts = ServiceAccount.objects.filter(pk__in=present[GrantKind.SERVICE_ACCOUNT])
    suspended_accounts.update(is_active=False, is_suspended=True)
    taken = [by_kind[kind][pk] for kind, keys in present.items() for pk in keys]
    return sorted(taken, key=lambda review: review.pk)


def suspend_system_roles(reviews: Mapping[int, GrantReview]) -> list[int]:
    taken = []
    for user in User.objects.select_for_update().filter(pk__in=reviews).order_by("pk"):
        role = user.system_role
        others = exclude_expired(User.objects.filter(system_role=role)).exclude(pk=user.pk)
        if role and role == reviews[user.pk].description and others.exists():
            User.objects.filter(pk=user.pk).update(system_role="")
            end_sessions(user)
            taken.append(user.pk)
    return taken


def restore_grants(actor: Actor, reviews: Sequence[GrantReview], reason: str) -> None:
    """Give back what was suspended, with a record of each; what the holder may not have any more stays away."""
    for review in reviews:
        if not restore_grant(review):
            continue
        review.restored_at = timezone.now()
        review.save(update_fields=["object_id", "restored_at"])
        after = {"kind": review.kind, "holder": review.holder, "grant": review.description, "object": review.object_id}
        record(actor=actor, action="recertification.restore", obj=review, reason=reason, after=after)


def restore_grant(review: GrantReview) -> bool:
    """Whether it came back: an administrator gets no role in a project, a member no administrator's, and what somebody
    has revoked or disabled since is gone for good. A token may come before its service account does."""
    if review.kind == GrantKind.TOKEN:
        tokens = ApiToken.objects.filter(pk=review.object_id, is_suspended=True, expires_at__gt=timezone.now())
        tokens = tokens.filter(Q(user=None) | Q(user__is_active=True))
        return bool(tokens.update(revoked_at=None, is_suspended=False))
    if review.kind == GrantKind.SERVICE_ACCOUNT:
        accounts = ServiceAccount.objects.filter(pk=review.object_id, is_suspended=True)
        return bool(accounts.update(is_active=True, is_suspended=False))
    if review.kind == GrantKind.SYSTEM_ROLE:
        people = User.objects.filter(pk=review.object_id, system_role="", memberships=None)
        return bool(people.update(system_role=review.description))
    owner: dict[str, Any] = {"project_id": review.project_id, "role": review.description}
    if review.user_id is not None:
        if User.objects.filter(pk=review.user_id).exclude(system_role="").exists():
            return False
        owner["user_id"] = review.user_id
    else:
        accounts = ServiceAccount.objects.filter(project=review.project_id, name=review.holder)
        owner["service_account_id"] = accounts.values_list("pk", flat=True).get()
    row, _made = Membership.objects.get_or_create(**owner)
    review.object_id = row.pk
    return True


def revoke_tokens_of_suspended(reviews: Iterable[GrantReview]) -> None:
    """What goes with a role for good: the tokens of a person without one left in the project, an administrator's."""
    for review in reviews:
        if review.kind == GrantKind.SYSTEM_ROLE:
            revoke_all(ApiToken.objects.filter(user=review.object_id))
        elif review.kind == GrantKind.MEMBERSHIP and review.user_id is not None:
            here = {"project_id": review.project_id, "user_id": review.user_id}
            if not Membership.objects.filter(**here).exists():
                revoke_all(ApiToken.objects.filter(**here))


def end_suspensions(campaign: Campaign) -> None:
    """Tokens and service accounts that are suspended are revoked and disabled from now on."""
    suspended = campaign.reviews.filter(decision=Decision.SUSPENDED)
    for kind, model in ((GrantKind.TOKEN, ApiToken), (GrantKind.SERVICE_ACCOUNT, ServiceAccount)):
        ids = suspended.filter(kind=kind).values("object_id")
        model.objects.filter(pk__in=ids, is_suspended=True).update(is_suspended=False)


def close_campaign(*, actor: Actor, campaign: Campaign, reason: str = "") -> Campaign:
    """End a campaign. What is open stays open in it, as evidence that nobody has decided; what is suspended stays away,
    since nobody decides about it any more."""
    policy.require(actor, "recertification.close")
    require_confirmed(actor, "recertification.close")
    with transaction.atomic():
        ended = {"closed_at": timezone.now(), "closed_by": actor.label[:200]}
        if not Campaign.objects.filter(pk=campaign.pk, closed_at=None).update(**ended):
            raise Conflict("The campaign is closed.", code="campaign_closed", field="campaign")
        campaign.refresh_from_db()
        end_suspensions(campaign)
        open_grants = campaign.reviews.filter(decision__in=OPEN).count()
        record(
            actor=actor, action="recertification.close", obj=campaign, reason=reason[:2000], after={"open": open_grants}
        )
        seal_now()
    return campaign
