"""Every write of recertification: a campaign over all grants, decisions on them, its end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.errors import Conflict, Invalid, Refused
from apps.core.request_values import validate_choice
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import ApiToken, Membership, ServiceAccount, User
from apps.platform.accounts.row_operations import end_sessions, revoke_all
from apps.platform.accounts.validation import check_fields
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import draft, record, seal_now
from apps.platform.recertification.models import Campaign, Decision, GrantKind, GrantReview, GrantReviewQuerySet
from deepseek.messages import N_

DAYS = (1, 366)
MAX_REASON_LENGTH = 2000  # characters
BATCH = 2000  # rows of one insert


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
    each. Raises Invalid for another decision, or without a reason to revoke; Conflict (`campaign_closed`,
    `last_administrator`); Refused where rows are named and none is the actor's to decide.
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
        own = GrantReview.objects.decidable_by(actor).filter(campaign=locked, decision=Decision.PENDING)
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
        if decision == Decision.REVOKED:
            revoke_grants(reviews)
        save_decisions(actor, reviews, decision, reason)
        seal_now()
    return len(reviews)


def save_decisions(actor: Actor, reviews: Sequence[GrantReview], decision: str, reason: str) -> None:
    """The decisions by one statement, their records by another; the locked campaign keeps others out."""
    decided = {"decision": decision, "decided_by": actor.label[:200], "decided_at": timezone.now(), "reason": reason}
    action = "recertification.revoke" if decision == Decision.REVOKED else "recertification.confirm"
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
    ServiceAccount.objects.filter(pk__in=accounts).update(is_active=False)
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
    others = User.objects.filter(system_role=SystemRole.SECURITY_ADMIN, is_active=True).exclude(pk=user.pk)
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


def close_campaign(*, actor: Actor, campaign: Campaign, reason: str = "") -> Campaign:
    """End a campaign. What is open stays open in it, as evidence that nobody has decided."""
    policy.require(actor, "recertification.close")
    require_confirmed(actor, "recertification.close")
    with transaction.atomic():
        ended = {"closed_at": timezone.now(), "closed_by": actor.label[:200]}
        if not Campaign.objects.filter(pk=campaign.pk, closed_at=None).update(**ended):
            raise Conflict("The campaign is closed.", code="campaign_closed", field="campaign")
        campaign.refresh_from_db()
        open_grants = campaign.reviews.filter(decision=Decision.PENDING).count()
        record(
            actor=actor, action="recertification.close", obj=campaign, reason=reason[:2000], after={"open": open_grants}
        )
        seal_now()
    return campaign
