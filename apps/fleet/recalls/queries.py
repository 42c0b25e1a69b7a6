"""What pages, REST and the steps read of recalls: the blast radius before, and how far it has come after.

Devices are counted from the few rows of DeviceCount and from indexes, and listed a page at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import MAX_INT64, validate_choice
from apps.data.datasets.models import DatasetVersion
from apps.fleet.devices.models import Assignment, Device, DeviceCount
from apps.fleet.devices.states import OPEN, DeviceState
from apps.fleet.recalls.carriers import Carriers, find_carriers, list_release_ids
from apps.fleet.recalls.models import Recall, RecallDevice, RecallItem, RecallQuerySet
from apps.fleet.recalls.states import DeviceOutcome, ItemKind, ItemOutcome, RecallState
from apps.fleet.recalls.subjects import DATASET_VERSION, Subject
from apps.fleet.releases.models import Release
from apps.fleet.releases.states import ReleaseState
from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.services.moves import ABORTABLE
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.states import EndpointState
from apps.ml.experiments.models import Run
from apps.ml.registry.blocks import find_blocked
from apps.ml.registry.models import Alias, ModelVersion, Variant
from apps.platform.accounts.models import Project
from deepseek.messages import N_

KINDS = ("dataset_version", "run", "model_version", "variant", "alias", "release", "rollout", "endpoint", "device")


@dataclass(frozen=True, slots=True)
class RecallPreview:
    """What a recall of the subject would concern: `counts` by KINDS, and what it would do."""

    subject: Subject
    carriers: Carriers
    releases: tuple[int, ...]
    counts: dict[str, int]
    blocked: int  # of the model versions
    revoked: int  # of the releases
    devices_by_state: dict[str, int]  # that run one of the releases
    devices_installing: int  # active ones that are to install one, whatever they run now
    possible: int  # of the model versions: may contain the row


def preview_recall(actor: Actor, project: Project, subject: Subject) -> RecallPreview:
    """The blast radius. Its number of queries does not depend on the number of devices."""
    policy.require(actor, "recall.view", project)
    carriers = find_carriers(actor, project, subject)
    releases = tuple(list_release_ids(carriers.version_ids))
    devices = count_running(project, releases)
    counts = {
        DATASET_VERSION: len(carriers.list_ids(DATASET_VERSION)),
        "run": len(carriers.list_ids("run")),
        "model_version": len(carriers.version_ids),
        "variant": Variant.objects.filter(version__in=carriers.version_ids).count(),
        "alias": Alias.objects.filter(version__in=carriers.version_ids).count(),
        "release": len(releases),
        "rollout": list_ongoing_rollouts(carriers.version_ids).count(),
        "endpoint": list_endpoints(carriers.version_ids).count(),
        "device": sum(devices.values()),
    }
    return RecallPreview(
        subject=subject,
        carriers=carriers,
        releases=releases,
        counts=counts,
        blocked=len(find_blocked(carriers.version_ids)),
        revoked=Release.objects.filter(pk__in=releases, state=ReleaseState.REVOKED).count(),
        devices_by_state=devices,
        devices_installing=Assignment.objects.filter(release__in=releases, state__in=OPEN).count(),
        possible=len(carriers.version_ids - carriers.exact_version_ids),
    )


def list_endpoints(versions: Collection[int]) -> QuerySet[Endpoint]:
    """The endpoints that serve one of the versions, or have it in shadow."""
    rows = Endpoint.objects.exclude(state=EndpointState.DELETED).select_related("model", "version")
    return rows.filter(Q(version__in=versions) | Q(shadow_version__in=versions)).order_by("pk")


def list_ongoing_rollouts(versions: Collection[int]) -> QuerySet[Rollout]:
    """The rollouts that would still give one of the versions to a device."""
    ongoing = Q(state__in=ABORTABLE) | Q(is_covering=True)
    return Rollout.objects.filter(ongoing, version__in=versions).select_related("version__model").order_by("pk")


def count_running(project: Project, releases: Collection[int]) -> dict[str, int]:
    """{state: devices that run one of the releases by receipt}, from the rows of counts."""
    counts: Counter[str] = Counter(dict.fromkeys(DeviceState.values, 0))
    rows = DeviceCount.objects.filter(project=project, release_id__in=releases)
    for state, devices in rows.values_list("state", "devices"):
        counts[state] += devices
    return dict(counts)


def list_carrier_rows(actor: Actor, project: Project, preview: RecallPreview, kind: str) -> QuerySet[Any]:
    """The objects of one kind, to be paged by their key. Raises Invalid for another kind."""
    policy.require(actor, "recall.view", project)
    validate_choice("kind", kind, KINDS, required=True)
    versions = preview.carriers.version_ids
    if kind == DATASET_VERSION:
        rows = DatasetVersion.objects.filter(pk__in=preview.carriers.list_numbers(kind))
        if not actor.is_cleared_for_all:
            rows = rows.filter(dataset__security_label__lte=actor.clearance)
        return rows.select_related("dataset").defer("manifest", "params", "columns")
    if kind == "run":
        return Run.objects.filter(project=project, pk__in=preview.carriers.list_ids(kind))
    queries: dict[str, QuerySet[Any]] = {
        "model_version": ModelVersion.objects.filter(pk__in=versions).select_related("model").defer("document"),
        "variant": Variant.objects.filter(version__in=versions).select_related("version__model"),
        "alias": Alias.objects.filter(version__in=versions).select_related("version__model"),
        "release": Release.objects.filter(pk__in=preview.releases).select_related("variant__version__model"),
        "rollout": list_ongoing_rollouts(versions),
        "endpoint": list_endpoints(versions),
        "device": Device.objects.filter(project=project, running__in=preview.releases).select_related(
            "running__variant"
        ),
    }
    return queries[kind]


# -- recalls --------------------------------------------------------------------------------------------------------
def list_recalls(actor: Actor, project: Project, *, state: str = "") -> RecallQuerySet:
    """The recalls of the project, to be paged newest first. Raises Invalid for a state that there is none of."""
    policy.require(actor, "recall.view", project)
    validate_choice("state", state, RecallState.values)
    rows = Recall.objects.visible_to(actor).filter(project=project)
    return rows.filter(state=state) if state else rows


def get_recall(actor: Actor, project: Project, pk: int) -> Recall:
    recall = list_recalls(actor, project).select_related("project").filter(pk=pk).first() if pk <= MAX_INT64 else None
    if recall is None:
        raise NotFound("This project has no recall {pk}.", pk=pk, field="recall", hint=N_("List the recalls."))
    return recall


def list_items(actor: Actor, recall: Recall, *, kind: str = "", outcome: str = "") -> QuerySet[RecallItem]:
    policy.require(actor, "recall.view", recall)
    validate_choice("kind", kind, ItemKind.values)
    validate_choice("outcome", outcome, ItemOutcome.values)
    narrow = {"kind": kind, "outcome": outcome}
    return recall.items.filter(**{field: value for field, value in narrow.items() if value})


def list_recall_devices(actor: Actor, recall: Recall, *, outcome: str = "") -> QuerySet[RecallDevice]:
    policy.require(actor, "recall.view", recall)
    validate_choice("outcome", outcome, DeviceOutcome.values)
    rows = recall.devices.select_related("device", "from_release", "to_release", "assignment")
    return rows.filter(outcome=outcome) if outcome else rows


@dataclass(frozen=True, slots=True)
class RecallProgress:
    """How far a recall has come: items by kind and outcome, devices by outcome, and what still runs it by receipt."""

    items: dict[str, dict[str, int]]
    devices: dict[str, int]
    running: dict[str, int]  # by the state of the device: active ones are what is still out there

    @property
    def devices_total(self) -> int:
        return sum(self.devices.values())

    @property
    def clear(self) -> int:
        return self.devices[DeviceOutcome.CLEAR]


def measure_progress(actor: Actor, recall: Recall) -> RecallProgress:
    policy.require(actor, "recall.view", recall)
    items: dict[str, dict[str, int]] = {kind: {} for kind in ItemKind.values}
    for kind, outcome, count in recall.items.values_list("kind", "outcome").annotate(Count("pk")).order_by():
        items[kind][outcome] = count
    devices = dict.fromkeys(DeviceOutcome.values, 0)
    devices |= dict(recall.devices.values_list("outcome").annotate(Count("pk")).order_by())
    releases = list_item_ids(recall, ItemKind.RELEASE)
    return RecallProgress(items, devices, count_running(recall.project, releases))


def list_item_ids(recall: Recall, kind: str) -> list[int]:
    return list(recall.items.filter(kind=kind).order_by("object_id").values_list("object_id", flat=True))


def find_ongoing(project: Project, subject: Subject) -> Recall | None:
    """A recall of the same subject that has not ended."""
    rows = Recall.objects.filter(project=project, subject_type=subject.type, subject_id=subject.id)
    rows = rows.filter(subject_row=subject.row).exclude(state=RecallState.COMPLETED)
    return rows.order_by("-pk").first()


def list_version_recalls(actor: Actor, project: Project, versions: Sequence[int]) -> QuerySet[Recall]:
    """The recalls that have blocked one of these model versions."""
    items = RecallItem.objects.filter(kind=ItemKind.MODEL_VERSION, object_id__in=versions)
    return list_recalls(actor, project).filter(pk__in=items.values("recall"))
