"""Pages of probes: what became of each node of one, and the button of a node."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.messages import translate_error
from apps.platform.nodes.health.presenters import LABELS
from apps.platform.nodes.health.serializers import VERDICTS
from apps.platform.nodes.probes import queries, services
from apps.platform.nodes.queries import get_node


@require_safe
def show_probe(request: HttpRequest, pk: int) -> HttpResponse:
    """/probes/<id>: its nodes."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    probe = queries.get_probe(actor, pk)
    rows = [
        {"probe": row, "counts": [(LABELS[name], row.report.counts.get(name, 0)) for name in VERDICTS]}
        if row.report
        else {"probe": row, "counts": []}
        for row in queries.list_node_probes(probe)
    ]
    return render(request, "nodes/probe.html", {"nav": "nodes", "probe": probe, "rows": rows})


@require_POST
def probe_node(request: HttpRequest, name: str) -> HttpResponseRedirect:
    """Ask the worker of the node to run its doctor."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = get_node(actor, name)
    try:
        services.request_probe(actor=actor, nodes=[node.name])
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("Requested: the worker of %(node)s runs its doctor.") % {"node": name})
    return redirect("nodes:health", name=node.name)
