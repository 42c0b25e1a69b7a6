"""The page that compares two environments."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.messages import translate_error
from apps.site.snapshots.environments import queries

MAX_LENGTH = 300  # of the name of a side


@require_safe
def show_difference(request: HttpRequest) -> HttpResponse:
    """/environments?left=...&right=...: what differs between two nodes, two dates, or a run's record and a node."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    choices = queries.list_choices(actor)
    sides = {name: request.GET.get(name, "").strip()[:MAX_LENGTH] for name in ("left", "right")}
    context: dict[str, Any] = {"nav": "nodes", "choices": choices, "status": 200}
    errors: dict[str, str] = {}
    if any(sides.values()):
        try:
            context["before"], context["after"], comparison = queries.compare(actor, sides["left"], sides["right"])
            context["comparison"] = comparison
            context["sections"] = group_sections(comparison)
        except (Invalid, NotFound) as error:
            errors[str(error.field)] = translate_error(error)
            context["status"] = error.status
    else:
        names = [value for value, _label in choices]
        sides = {"left": names[0] if names else "", "right": names[1] if len(names) > 1 else ""}
    context["fields"] = [
        {
            "pointer": name,
            "label": label,
            "control": "text",
            "doc": _("node:NAME, node:NAME@DATE or run:ID."),
            "value": sides[name],
            "error": errors.get(name, ""),
            "required": True,
        }
        for name, label in (("left", _("Before")), ("right", _("After")))
    ]
    return render(request, "snapshots/environments.html", context, status=context["status"])


def group_sections(comparison: Any) -> list[dict[str, Any]]:
    """The differences by section, with its word."""
    words = {
        "python": _("Python"),
        "packages": _("Packages"),
        "system": _("System"),
        "drivers": _("Drivers"),
        "firmware": _("Firmware"),
    }
    return [
        {"label": label, "rows": rows}
        for section, label in words.items()
        if (rows := [row for row in comparison.differences if row.section == section])
    ]
