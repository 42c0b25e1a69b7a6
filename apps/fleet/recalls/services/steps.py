"""The steps of a recall but the devices: rollouts, aliases, endpoints, releases. Each may be repeated: it goes on where
it was.

A step returns whether nothing is left of it. What it does to one object is one transaction, by the service that does
the same for people.
"""

from __future__ import annotations

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.fleet.recalls.models import Recall
from apps.fleet.recalls.queries import list_ongoing_rollouts
from apps.fleet.recalls.services.items import describe_reason, list_unsettled, settle_item
from apps.fleet.recalls.states import ItemKind, ItemOutcome
from apps.fleet.releases.models import Release
from apps.fleet.releases.services import revoke_releases
from apps.fleet.releases.states import ReleaseState
from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.services import abort_rollouts_of_version
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.services import follow_alias, stop_shadow, suspend_endpoint
from apps.ml.endpoints.states import ACTIVE, EndpointState
from apps.ml.registry.blocks import find_blocked
from apps.ml.registry.models import Alias, ModelVersion
from apps.ml.registry.services import roll_back

REVOKED_AT_ONCE = 200


def abort_rollouts(actor: Actor, recall: Recall) -> bool:
    """Abort the rollouts that would still give a blocked version to a device; which of these go back is the step of the
    devices."""
    items = {item.object_id: item for item in list_unsettled(recall, ItemKind.ROLLOUT)}
    rollouts = Rollout.objects.filter(pk__in=items)
    for version in ModelVersion.objects.filter(pk__in=rollouts.values("version")).select_related("model"):
        abort_rollouts_of_version(actor=actor, version=version, reason=describe_reason(recall))
    ongoing = set(
        list_ongoing_rollouts(list(rollouts.values_list("version_id", flat=True))).values_list("pk", flat=True)
    )
    for pk, item in items.items():
        if pk not in ongoing:
            settle_item(item, ItemOutcome.STOPPED)
    return not ongoing


def roll_aliases_back(actor: Actor, recall: Recall) -> bool:
    """Let every alias that points to a blocked version point to its previous holder that is not. Where there is none it
    stays: a blocked version is not used by it either."""
    errors: list[PlaneError] = []
    for item in list_unsettled(recall, ItemKind.ALIAS):
        alias = Alias.objects.select_related("model", "version__model").filter(pk=item.object_id).first()
        if alias is None:
            settle_item(item, ItemOutcome.REMOVED)
            continue
        if find_blocked([alias.version_id]):
            try:
                roll_back(actor=actor, model=alias.model, alias=alias.name, reason=describe_reason(recall))
            except PlaneError as error:  # the bytes of one holder are damaged: the other aliases do not wait for it
                if error.code == "nothing_to_roll_back":
                    settle_item(item, ItemOutcome.NOTHING_BEFORE)
                else:
                    errors.append(error)
                continue
            alias = Alias.objects.select_related("version__model").get(pk=alias.pk)
        settle_item(item, ItemOutcome.ROLLED_BACK, str(alias.version))
    if errors:
        raise errors[0]
    return True


def settle_endpoints(actor: Actor, recall: Recall) -> bool:
    """Let endpoints follow their aliases to where these were rolled back, suspend those that have nothing to serve, and
    stop shadows."""
    for item in list_unsettled(recall, ItemKind.SHADOW):
        if endpoint := find_endpoint(item.object_id):
            if find_blocked([endpoint.shadow_version_id or 0]):
                stop_shadow(actor=actor, endpoint=endpoint, reason=describe_reason(recall))
            settle_item(item, ItemOutcome.STOPPED)
        else:
            settle_item(item, ItemOutcome.REMOVED)
    for item in list_unsettled(recall, ItemKind.ENDPOINT):
        endpoint = find_endpoint(item.object_id)
        if endpoint is None:
            settle_item(item, ItemOutcome.REMOVED)
            continue
        move_endpoint(actor, recall, endpoint)
        endpoint.refresh_from_db(fields=["state", "version"])
        if endpoint.state == EndpointState.SUSPENDED:
            settle_item(item, ItemOutcome.SUSPENDED)
        elif not find_blocked([endpoint.version_id or 0]):
            settle_item(item, ItemOutcome.ROLLED_BACK, str(endpoint.version))
    return not list_unsettled(recall, ItemKind.ENDPOINT)


def find_endpoint(pk: int) -> Endpoint | None:
    rows = Endpoint.objects.exclude(state=EndpointState.DELETED)
    return rows.select_related("project", "model", "version__model", "shadow_version").filter(pk=pk).first()


def move_endpoint(actor: Actor, recall: Recall, endpoint: Endpoint) -> None:
    """To the version that its alias points to, or to rest; one that is not of a blocked version stays."""
    if not find_blocked([endpoint.version_id or 0]):
        return
    alias = Alias.objects.select_related("model", "version__model")
    target = alias.filter(model=endpoint.model_id, name=endpoint.alias).first()
    if target is not None and not find_blocked([target.version_id]):
        follow_alias(actor, endpoint, target)
    elif endpoint.state in ACTIVE:
        suspend_endpoint(actor=actor, endpoint=endpoint, reason=describe_reason(recall))


def revoke_recalled_releases(actor: Actor, recall: Recall) -> bool:
    """Put the releases on the list of revoked ones that devices verify: one new list for each REVOKED_AT_ONCE."""
    items = list_unsettled(recall, ItemKind.RELEASE)
    for start in range(0, len(items), REVOKED_AT_ONCE):
        chunk = {item.object_id: item for item in items[start : start + REVOKED_AT_ONCE]}
        releases = list(Release.objects.filter(pk__in=chunk))
        with transaction.atomic():
            revoke_releases(actor=actor, project=recall.project, releases=releases, reason=describe_reason(recall))
            for release in Release.objects.filter(pk__in=chunk, state=ReleaseState.REVOKED):
                settle_item(chunk[release.pk], ItemOutcome.REVOKED)
    if list_unsettled(recall, ItemKind.RELEASE):
        raise StaleState("Releases have changed meanwhile.", field="release")
    return True
