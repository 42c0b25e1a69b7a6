"""Pages of nodes: what is free, what is stuck; a system administrator holds and releases.

What runs and waits there belongs to jobs, which stand above nodes: the template asks for it (`{% load places %}`).
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.actors import Actor
from apps.errors import Conflict, Invalid
from apps.nodes import reads, services
from apps.nodes.models import Node
from apps.pages import page_asked
from apps.policy import allows


@require_safe
def node_list(request: HttpRequest) -> HttpResponse:
    """/nodes: every machine with what its running jobs have claimed."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    query, status = request.GET.get("q", "")[:120].replace("\x00", ""), request.GET.get("status", "")
    wrong: Invalid | None = None
    try:
        nodes = reads.list_nodes(actor, query=query, status=status)
    except Invalid as error:
        wrong, nodes = error, reads.list_nodes(actor).none()
    page = page_asked(nodes, request.GET, order=("name",))
    states = list(Node.objects.visible_to(actor).with_status().values_list("status", flat=True))
    context = {
        "nav": "nodes",
        "page": page,
        "rows": [row_of(node) for node in page.items],
        "counts": {name: states.count(name) for name in reads.STATUSES},
        "total": len(states),
        "filters": filter_bar(query, status),
        "active": bool(query or status),
        "wrong": wrong,
        "may_hold": allows(actor, "node.hold"),
        "may_release": allows(actor, "node.release"),
    }
    return render(request, "nodes/list.html", context, status=wrong.status if wrong else 200)


def filter_bar(query: str, status: str) -> list[dict[str, Any]]:
    choices = [("", _("Every state")), ("online", _("Online")), ("held", _("Held")), ("offline", _("Offline"))]
    return [
        {"name": "q", "label": _("Name or host"), "value": query},
        {"name": "status", "label": _("State"), "value": status, "choices": choices},
    ]


def row_of(node: Any) -> dict[str, Any]:
    """A node with the measures that its bars show: (name, claimed, whole, format)."""
    gpus = node.gpus or []
    measures = [
        {"name": _("CPUs"), "used": node.used_cpus, "whole": node.cpus, "format": "number"},
        {"name": _("Memory"), "used": node.used_memory_bytes, "whole": node.memory_bytes, "format": "bytes"},
    ]
    if gpus:
        measures.append({"name": _("GPUs"), "used": node.used_gpus, "whole": len(gpus), "format": "number"})
    for measure in measures:
        measure["free"] = max(0, measure["whole"] - measure["used"])
    return {"node": node, "measures": measures, "gpus": gpus}


@require_POST
def hold(request: HttpRequest, name: str) -> HttpResponseRedirect:
    """Let the node take no new jobs, for a reason that everybody reads."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = reads.get_node(actor, name)
    try:
        services.hold_node(actor=actor, node=node, reason=request.POST.get("reason", ""))
    except (Conflict, Invalid) as error:
        messages.warning(request, " ".join(filter(None, (error.message, error.hint))))
    else:
        messages.success(request, _("%(node)s takes no new jobs; what runs there goes on.") % {"node": name})
    return redirect("nodes:list")


@require_POST
def release(request: HttpRequest, name: str) -> HttpResponseRedirect:
    """Let a held node take jobs again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = reads.get_node(actor, name)
    try:
        services.release_node(actor=actor, node=node)
    except Conflict as error:
        messages.warning(request, error.message)
    else:
        messages.success(request, _("%(node)s takes jobs again.") % {"node": name})
    return redirect("nodes:list")
