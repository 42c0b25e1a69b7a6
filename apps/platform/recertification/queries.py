"""Queries on campaigns and their reviews."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.recertification.models import OPEN, Campaign, Decision, GrantReview, GrantReviewQuerySet


def list_campaigns(actor: Actor) -> QuerySet[Campaign]:
    policy.require(actor, "recertification.view")
    return Campaign.objects.all()


def get_campaign(actor: Actor, pk: int) -> Campaign:
    campaign = list_campaigns(actor).filter(pk=pk).first()
    if campaign is None:
        raise NotFound("There is no such campaign.", field="campaign")
    return campaign


def list_reviews(actor: Actor, campaign: Campaign) -> GrantReviewQuerySet:
    """The reviews of a campaign that the actor may see, with their projects."""
    policy.require(actor, "recertification.view")
    return GrantReview.objects.visible_to(actor).filter(campaign=campaign).select_related("project")


def count_decisions(actor: Actor, campaign: Campaign) -> dict[str, int]:
    """{decision: number} of what the actor may see, and `mine`: what is open and theirs to decide."""
    rows = list_reviews(actor, campaign).order_by()
    counts = rows.aggregate(
        pending=Count("pk", filter=Q(decision=Decision.PENDING)),
        confirmed=Count("pk", filter=Q(decision=Decision.CONFIRMED)),
        revoked=Count("pk", filter=Q(decision=Decision.REVOKED)),
        suspended=Count("pk", filter=Q(decision=Decision.SUSPENDED)),
    )
    mine = GrantReview.objects.decidable_by(actor).filter(campaign=campaign, decision__in=OPEN)
    return {**counts, "mine": mine.count() if policy.is_allowed(actor, "recertification.decide") else 0}
