"""Write the panels of the runs workspace: charts that a project keeps for everybody in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.policy import require
from apps.core.request_values import validate_choice
from apps.ml.experiments.keys import check_key
from apps.ml.experiments.models import RunPanel
from apps.platform.accounts.models import Project
from apps.platform.accounts.validation import check_fields
from apps.platform.audit.services import record
from deepseek.messages import N_

MAX_PANELS = 12  # of a project: they are drawn on one page
MAX_METRICS = 4  # of a panel
SCALES = ("", "linear", "log")
PANEL_AXES = ("", "step", "relative", "time")
MAX_SMOOTHING = 0.999
FIELDS = ("title", "metrics", "axis", "scale", "smooth")


def add_panel(
    *,
    actor: Actor,
    project: Project,
    metrics: Sequence[str],
    title: str = "",
    axis: str = "",
    scale: str = "",
    smooth: float = 0.0,
) -> RunPanel:
    """Add a panel for everybody of the project. Invalid for a bad value, Conflict where there is no room."""
    require(actor, "run.set_panels", project)
    panel = RunPanel(project=project, created_by=actor.label)
    set_fields(panel, {"title": title, "metrics": metrics, "axis": axis, "scale": scale, "smooth": smooth})
    with transaction.atomic():
        # The project's row is the lock: two that add at once must not pass the limit together.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if RunPanel.objects.filter(project=project).count() >= MAX_PANELS:
            raise Conflict(
                "The project has {count} panels.",
                count=MAX_PANELS,
                code="too_many_panels",
                field="metrics",
                limit=MAX_PANELS,
                hint=N_("Remove one that nobody uses."),
            )
        panel.save()
        record(actor=actor, action="run_panel.add", obj=panel, after=build_audit_fields(panel))
    return panel


def update_panel(*, actor: Actor, panel: RunPanel, **changes: Any) -> RunPanel:
    """Change some of its fields; the same again changes nothing."""
    require(actor, "run.set_panels", panel)
    with transaction.atomic():
        locked = RunPanel.objects.select_for_update().filter(pk=panel.pk).first()
        if locked is None:
            raise NotFound("There is no such panel.", field="panel")
        before = build_audit_fields(locked)
        set_fields(locked, changes)
        after = build_audit_fields(locked)
        if after != before:
            locked.save()
            record(actor=actor, action="run_panel.change", obj=locked, before=before, after=after)
    return locked


def remove_panel(*, actor: Actor, panel: RunPanel) -> None:
    require(actor, "run.set_panels", panel)
    with transaction.atomic():
        record(actor=actor, action="run_panel.remove", obj=panel, before=build_audit_fields(panel))
        if not RunPanel.objects.filter(pk=panel.pk).delete()[0]:
            raise NotFound("There is no such panel.", field="panel")


def set_fields(panel: RunPanel, changes: dict[str, Any]) -> None:
    """Validate and set those of FIELDS that `changes` has. Raises Invalid."""
    if "metrics" in changes:
        panel.metrics = validate_metrics(changes["metrics"])
    if "title" in changes:
        panel.title = str(changes["title"]).strip()
        check_fields(panel, "title")
    if "axis" in changes:
        validate_choice("axis", changes["axis"], PANEL_AXES)
        panel.axis = changes["axis"]
    if "scale" in changes:
        validate_choice("scale", changes["scale"], SCALES)
        panel.scale = changes["scale"]
    if "smooth" in changes:
        panel.smooth = validate_smoothing(changes["smooth"])


def validate_metrics(keys: Sequence[str]) -> list[str]:
    unique_keys = list(dict.fromkeys(key for key in keys if key))
    if not 1 <= len(unique_keys) <= MAX_METRICS:
        raise Invalid(
            "{count} metrics are named.",
            count=len(unique_keys),
            field="metrics",
            limit=f"1 to {MAX_METRICS}",
            hint=N_("Add another panel for more."),
        )
    for key in unique_keys:
        check_key(key, "metrics")
    return unique_keys


def validate_smoothing(weight: float) -> float:
    if not math.isfinite(weight) or not 0 <= weight <= MAX_SMOOTHING:
        raise Invalid(
            "{text!r} is no weight of smoothing.", text=str(weight)[:20], field="smooth", limit=f"0 to {MAX_SMOOTHING}"
        )
    return weight


def build_audit_fields(panel: RunPanel) -> dict[str, Any]:
    return {name: getattr(panel, name) for name in FIELDS}
