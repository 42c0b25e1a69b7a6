"""Form fields for the resources of an attempt; a blank field takes the default of the kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from apps.core.errors import Invalid
from apps.platform.jobs.kinds import GiB, Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.specforms.fields import FormItem
from apps.platform.nodes.labels import parse_requested_labels

SCALES = {"cpus": 1, "memory_bytes": GiB, "gpus": 1, "gpu_memory_bytes": GiB, "nodes": 1}
"""What one of the field's unit is in the unit of Needs."""
LABELS = "needs/labels"


def build_needs_group(values: Mapping[str, str], errors: Mapping[str, str], needs: Needs) -> FormItem:
    """The group of fields; `needs` are the kind's own."""
    labels = {
        "cpus": (_("CPUs"), "", _("Processor threads that it keeps busy.")),
        "memory_bytes": (_("Memory"), "GiB", ""),
        "gpus": (_("GPUs"), "", _("With one or more it queues for the nodes that have them.")),
        "gpu_memory_bytes": (_("Memory of each GPU"), "GiB", _("At least so much.")),
        "nodes": (_("Nodes"), "", _("Each gives all of the above; they start together.")),
    }
    items = [
        FormItem(
            kind="field",
            pointer=f"needs/{name}",
            label=label,
            unit=unit,
            doc=doc,
            limit=_("%(standard)s if empty") % {"standard": f"{getattr(needs, name) / SCALES[name]:g}"},
            control="number",
            value=values.get(f"needs/{name}", ""),
            error=errors.get(f"needs/{name}", ""),
        )
        for name, (label, unit, doc) in labels.items()
    ]
    items.append(
        FormItem(
            kind="field",
            pointer=LABELS,
            label=_("Labels"),
            doc=_("Only nodes that have all of them, with commas between: rack=3, nvme."),
            control="text",
            value=values.get(LABELS, ""),
            error=errors.get(LABELS, ""),
        )
    )
    is_open = any(item.value or item.error for item in items)
    return FormItem(kind="group", pointer="needs", label=_("Resources"), items=items, folded=True, open=is_open)


def read_needs(values: Mapping[str, str], needs: Needs) -> tuple[Needs | None, dict[str, str]]:
    """What was asked for instead of `needs`, None if nothing was; and the errors by field."""
    overrides: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, scale in SCALES.items():
        text = values.get(f"needs/{name}", "")
        if not text:
            continue
        try:
            overrides[name] = (
                float(text) if name == "cpus" else int(text) if name in ("gpus", "nodes") else int(float(text) * scale)
            )
        except (ValueError, OverflowError):
            errors[f"needs/{name}"] = _("%(text)s is not a number.") % {"text": text[:40]}
    if text := values.get(LABELS, ""):
        try:
            overrides["labels"] = parse_requested_labels(text)
        except Invalid as error:
            errors[LABELS] = error.message
    return (replace(needs, **overrides) if overrides else None), errors


def build_needs_values(job: Job, needs: Needs) -> dict[str, str]:
    """The fields as they were for `job`, where it did not take the kind's own."""
    labels = {LABELS: job.need_labels} if job.need_labels else {}
    return labels | {
        f"needs/{name}": f"{getattr(job, f'need_{name}') / scale:g}"
        for name, scale in SCALES.items()
        if getattr(job, f"need_{name}") != getattr(needs, name)
    }
