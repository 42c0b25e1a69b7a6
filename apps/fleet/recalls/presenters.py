"""What a page and REST call the objects that carry a subject, and the figures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from apps.core.messages import translate_message
from apps.fleet.recalls.models import Recall
from apps.fleet.recalls.queries import KINDS, RecallPreview, RecallProgress
from apps.fleet.recalls.states import DeviceOutcome, ItemKind, ItemOutcome, RecallState
from apps.platform.lineage.queries import GraphNode
from apps.platform.lineage.steps import get_node_url, get_type_label

LINEAGE_KINDS = ("dataset_version", "run")
KIND_LABELS = {
    "dataset_version": gettext_lazy("Dataset versions"),
    "run": gettext_lazy("Runs"),
    "model_version": gettext_lazy("Model versions"),
    "variant": gettext_lazy("Variants"),
    "alias": gettext_lazy("Aliases"),
    "release": pgettext_lazy("signed", "Releases"),
    "rollout": gettext_lazy("Rollouts"),
    "endpoint": gettext_lazy("Endpoints"),
    "device": gettext_lazy("Devices"),
}
STATE_COLOURS = {RecallState.ACTING: "running", RecallState.WATCHING: "held", RecallState.COMPLETED: "succeeded"}
OUTCOME_COLOURS: dict[str, str] = {
    ItemOutcome.PENDING: "queued",
    ItemOutcome.NOTHING_BEFORE: "held",
    ItemOutcome.SUSPENDED: "held",
    ItemOutcome.REMOVED: "cancelled",
}
DEVICE_COLOURS: dict[str, str] = {
    DeviceOutcome.PENDING: "queued",
    DeviceOutcome.RETURNING: "running",
    DeviceOutcome.STOPPING: "running",
    DeviceOutcome.CLEAR: "succeeded",
    DeviceOutcome.NO_PREVIOUS: "failed",
    DeviceOutcome.QUARANTINED: "held",
    DeviceOutcome.FAILED: "failed",
    DeviceOutcome.REVOKED: "cancelled",
}
STEP_LABELS = {
    "carriers": gettext_lazy("What carries it"),
    "rollouts": gettext_lazy("Rollouts"),
    "aliases": gettext_lazy("Aliases"),
    "endpoints": gettext_lazy("Endpoints"),
    "releases": pgettext_lazy("signed", "Releases"),
    "devices": gettext_lazy("Devices"),
}


def describe_carrier(preview: RecallPreview, kind: str, row: Any) -> dict[str, Any]:
    """One object of a kind of KINDS, and whether it certainly carries the subject."""
    return {
        "kind": kind,
        "id": str(row.pk),
        "label": describe_label(kind, row),
        "exact": is_exact(preview, kind, row),
    }


def describe_label(kind: str, row: Any) -> str:
    if kind == "alias":
        return f"{row.version.model.name} {row.name} -> v{row.version.number}"
    return str(row)


def is_exact(preview: RecallPreview, kind: str, row: Any) -> bool:
    """By lineage, or by the model version that it is of."""
    carriers = preview.carriers
    if kind in LINEAGE_KINDS:
        return carriers.is_exact(kind, str(row.pk))
    version = {
        "model_version": lambda: row.pk,
        "variant": lambda: row.version_id,
        "alias": lambda: row.version_id,
        "release": lambda: row.variant.version_id,
        "rollout": lambda: row.version_id,
        "endpoint": lambda: row.version_id,
        "device": lambda: row.running.variant.version_id,
    }[kind]()
    return version in carriers.exact_version_ids


def get_carrier_url(kind: str, row: Any, slug: str) -> str:
    """Its page."""
    if kind == "device":
        return reverse("devices:detail", args=[slug, row.pk])
    if kind == "endpoint":
        return reverse("endpoints:detail", args=[slug, row.name])
    if kind == "alias":
        return reverse("registry:model", args=[slug, row.version.model.name])
    return get_node_url(GraphNode(kind, str(row.pk), "", "", 0), slug)


def list_carriers(preview: RecallPreview, kind: str, rows: Sequence[Any], slug: str) -> list[dict[str, Any]]:
    """The rows of a page of the list."""
    return [describe_carrier(preview, kind, row) | {"url": get_carrier_url(kind, row, slug)} for row in rows]


def count_kinds(preview: RecallPreview, kind: str) -> list[dict[str, Any]]:
    """The tabs of the list: each kind with how many carry the subject."""
    return [
        {"key": key, "label": KIND_LABELS[key], "count": preview.counts[key], "is_current": key == kind}
        for key in KINDS
    ]


def describe_type(type: str) -> str:
    return get_type_label(type)


def summarize_items(progress: RecallProgress) -> list[dict[str, Any]]:
    """A line for each kind: how many, and what became of them."""
    rows = []
    for kind in ItemKind:
        counts = progress.items[kind]
        if counts:
            parts = [
                {"colour": OUTCOME_COLOURS.get(outcome, "succeeded"), "label": outcome.label, "count": counts[outcome]}
                for outcome in ItemOutcome
                if outcome in counts
            ]
            rows.append({"kind": kind, "label": kind.label, "total": sum(counts.values()), "parts": parts})
    return rows


def summarize_devices(progress: RecallProgress) -> list[dict[str, Any]]:
    """What became of the devices, by outcome."""
    return [
        {
            "outcome": outcome,
            "label": outcome.label,
            "colour": DEVICE_COLOURS[outcome],
            "count": progress.devices[outcome],
        }
        for outcome in DeviceOutcome
        if progress.devices[outcome]
    ]


def list_item_rows(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Items with the colour of their outcome."""
    return [{"item": item, "colour": OUTCOME_COLOURS.get(item.outcome, "succeeded")} for item in items]


def list_device_rows(devices: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"row": row, "colour": DEVICE_COLOURS[row.outcome]} for row in devices]


def list_errors(recall: Recall) -> list[dict[str, str]]:
    """The steps that have to be tried again, and why."""
    return [
        {"step": str(STEP_LABELS.get(step, step)), "why": translate_message(error)}
        for step, error in recall.errors.items()
    ]


def get_subject_url(recall: Recall, slug: str) -> str:
    """The page of what is recalled; of a row the page of its provenance is one click further."""
    return get_node_url(GraphNode(recall.subject_type, recall.subject_id, "", "", 0), slug)


def describe_subject(label: str, row: int) -> str:
    return _("row %(row)d of %(label)s") % {"row": row, "label": label} if row else label
