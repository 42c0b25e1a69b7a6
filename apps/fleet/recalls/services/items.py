"""The things of the plane that a recall acts on: found by what carries the subject now, and settled by the facts.

An item comes to its outcome by what is true of its object, not by what a step remembers to have done: a step that was
killed between the two finds it done.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Max, Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.fleet.recalls.carriers import Carriers, list_release_ids
from apps.fleet.recalls.models import Recall, RecallItem
from apps.fleet.recalls.queries import list_item_ids, list_ongoing_rollouts
from apps.fleet.recalls.states import ItemKind, ItemOutcome
from apps.fleet.releases.models import Release
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.states import EndpointState
from apps.ml.registry.models import Alias, ModelVersion
from apps.ml.registry.services import block_versions
from apps.platform.lineage.models import Edge


def block_carrying_versions(actor: Actor, recall: Recall, carriers: Carriers) -> int:
    """Block the versions that carry the subject and are no items yet; how many. In the caller's transaction."""
    present = set(list_item_ids(recall, ItemKind.MODEL_VERSION))
    keys = carriers.narrow(exact_only=recall.exact_only) - present
    versions = list(ModelVersion.objects.filter(pk__in=keys).select_related("model").defer("document").order_by("pk"))
    block_versions(actor=actor, project=recall.project, versions=versions, reason=describe_reason(recall))
    now = timezone.now()
    RecallItem.objects.bulk_create(
        RecallItem(
            recall=recall,
            kind=ItemKind.MODEL_VERSION,
            object_id=version.pk,
            label=str(version)[:300],
            outcome=ItemOutcome.BLOCKED,
            is_exact=version.pk in carriers.exact_version_ids,
            at=now,
        )
        for version in versions
    )
    return len(versions)


def describe_reason(recall: Recall) -> str:
    """What the records and states of everything that the recall acts on say, with who is behind it."""
    return f"recall {recall.pk} by {recall.started_by}: {recall.reason}"[:500]


def get_newest_edge() -> int:
    """The last edge of lineage that was recorded in the plane; 0 where there is none."""
    return Edge.objects.aggregate(newest=Max("pk"))["newest"] or 0


def add_items(recall: Recall) -> int:
    """Add what uses the blocked versions and is no item yet; how many. Eleven queries."""
    versions = list_item_ids(recall, ItemKind.MODEL_VERSION)
    rows: list[RecallItem] = []
    releases = Release.objects.filter(pk__in=list_release_ids(versions)).order_by("pk")
    rows += build_items(recall, ItemKind.RELEASE, ((release.pk, str(release)) for release in releases))
    aliases = list(Alias.objects.filter(version__in=versions).select_related("model").order_by("pk"))
    rows += build_items(recall, ItemKind.ALIAS, ((alias.pk, f"{alias.model.name} {alias.name}") for alias in aliases))
    rollouts = list_ongoing_rollouts(versions)
    rows += build_items(recall, ItemKind.ROLLOUT, ((rollout.pk, str(rollout)) for rollout in rollouts))
    endpoints = Endpoint.objects.exclude(state=EndpointState.DELETED).order_by("pk")
    serving = endpoints.filter(version__in=versions)
    rows += build_items(recall, ItemKind.ENDPOINT, ((endpoint.pk, endpoint.name) for endpoint in serving))
    shadowing = endpoints.filter(shadow_version__in=versions)
    rows += build_items(recall, ItemKind.SHADOW, ((endpoint.pk, endpoint.name) for endpoint in shadowing))
    RecallItem.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def build_items(recall: Recall, kind: ItemKind, objects: Iterable[tuple[int, str]]) -> list[RecallItem]:
    """Those that are no items yet, or that came back to what is recalled: then they are pending again."""
    settled = dict(recall.items.filter(kind=kind).values_list("object_id", "outcome"))
    labels = dict(objects)
    if kind in (ItemKind.ENDPOINT, ItemKind.ALIAS, ItemKind.SHADOW):
        back = [pk for pk in labels if settled.get(pk) in (ItemOutcome.ROLLED_BACK, ItemOutcome.STOPPED)]
        recall.items.filter(kind=kind, object_id__in=back).update(outcome=ItemOutcome.PENDING, at=None)
    return [
        RecallItem(recall=recall, kind=kind, object_id=pk, label=label[:300])
        for pk, label in labels.items()
        if pk not in settled
    ]


def list_unsettled(recall: Recall, kind: ItemKind) -> list[RecallItem]:
    """The items that are pending, or had nothing to go back to when they were last looked at."""
    outcomes = Q(outcome__in=(ItemOutcome.PENDING, ItemOutcome.NOTHING_BEFORE))
    return list(recall.items.filter(outcomes, kind=kind).order_by("pk"))


def settle_item(item: RecallItem, outcome: ItemOutcome, detail: str = "") -> None:
    """Keep what became of the object."""
    if item.outcome == outcome and item.detail == detail:
        return
    item.outcome, item.detail, item.at = outcome, detail[:300], timezone.now()
    item.save(update_fields=["outcome", "detail", "at"])
