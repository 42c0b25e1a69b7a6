"""Pages of nodes: what is free, what is stuck, how busy each was; a system administrator holds and releases.

What runs and waits there belongs to jobs, which stand above nodes: the templates ask for it (`{% load queues %}`).
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.lists.csv_files import build_csv_response, encode_csv
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.platform.audit.list_export import export_list
from apps.platform.audit.queries import get_timeline
from apps.platform.nodes import presenters, queries, services
from apps.platform.nodes.environments import list_environments
from apps.platform.nodes.health.presenters import build_health_context
from apps.platform.nodes.health.services import issue_node_token
from apps.platform.nodes.isolation import summarize_isolation
from apps.platform.nodes.lists import NODES, build_nodes_table
from apps.platform.nodes.models import Node
from apps.platform.nodes.samples import get_node_samples

TABS = ("jobs", "hardware", "health", "audit")  # beside the overview


# -- the list -------------------------------------------------------------------------------------------------------
@mark_list_view(NODES.key)
@require_safe
def show_nodes(request: HttpRequest) -> HttpResponseBase:
    """/nodes: every machine with what its running jobs have claimed and what is measured, sorted and narrowed."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    every = list(queries.list_nodes(actor).order_by("name")[: presenters.MAX_NODES])
    table = build_nodes_table(every, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    states = [get_list_state(node) for node in every]
    span, over = presenters.parse_span(request.GET.get("span", ""))
    context = {
        **table.build_context(),
        "nav": "nodes",
        "counts": {name: states.count(name) for name in (*queries.STATUSES, "short", "unfit")},
        "free": sum_free(every),
        "total": len(every),
        "span": span,
        "spans": list(presenters.SPANS),
        "over": over,
        "may_see_garbage": is_allowed(actor, "artifact.view_garbage"),
        "may_see_isolation": is_allowed(actor, "isolation.view"),
        "may_see_snapshots": is_allowed(actor, "snapshot.view"),
    }
    return render(request, "nodes/list.html", context, status=table.status)


def is_short(node: Any) -> bool:
    """Whether nothing but a short disk keeps the node from taking jobs."""
    return node.status == "online" and bool(node.short_disks)


def get_list_state(node: Any) -> str:
    """What the head of the list counts a node as."""
    return "unfit" if is_unfit(node) else "short" if is_short(node) else str(getattr(node, "status", ""))


def is_unfit(node: Any) -> bool:
    """Whether a failed required check of its doctor keeps the node from taking jobs."""
    return node.status == "online" and bool(node.failed_checks)


def sum_free(nodes: list[Any]) -> dict[str, float]:
    """What is free on the nodes that take jobs."""
    rows = [
        presenters.build_row(node)
        for node in nodes
        if node.status == "online" and not is_short(node) and not is_unfit(node)
    ]
    return {
        "cpus": sum(row.cpus.free for row in rows),
        "memory": sum(row.memory.free for row in rows),
        "gpus": sum(row.gpus.free for row in rows),
        "gpus_whole": sum(row.gpus.total for row in rows),
    }


# -- one node -------------------------------------------------------------------------------------------------------
@require_safe
def show_node(request: HttpRequest, name: str, tab: str) -> HttpResponse:
    """/nodes/<name>[/<tab>]"""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node, tab = resolve_node(actor, name, tab)
    tab = tab or "overview"
    context: dict[str, Any] = {}
    if tab == "overview":
        context = build_overview_context(request, actor, node)
    elif tab == "hardware":
        context = {"environments": list_environments(node)}
    elif tab == "health":
        context = build_health_context(actor, node)
    elif tab == "audit":
        context = {"events": get_timeline(actor, "node", node.pk)}
    return render_node(request, actor, node, tab, context)


def render_node(request: HttpRequest, actor: Actor, node: Any, tab: str, context: dict[str, Any]) -> HttpResponse:
    """A tab of the node's page, with the head that all of them share."""
    row = presenters.build_current_row(node)
    head = {
        "nav": "nodes",
        "node": node,
        "row": row,
        "state": row.state,
        "isolation": summarize_isolation(node),
        "tab": tab,
        "may_label": is_allowed(actor, "node.set_labels"),
        "disk_rates": presenters.build_disk_rates(node) if tab == "hardware" else [],
        "may_hold": node.held_at is None and is_allowed(actor, "node.hold"),
        "may_release": node.held_at is not None and is_allowed(actor, "node.release"),
        "may_read_trail": is_allowed(actor, "audit.view"),
    }
    return render(request, f"nodes/{tab}.html", {**head, **context})


def resolve_node(actor: Actor, name: str, tab: str) -> tuple[Any, str]:
    """The node and the tab of an address; a node may be called `a/jobs`."""
    try:
        return queries.get_node(actor, name), tab
    except NotFound:
        if not tab:
            raise
    return queries.get_node(actor, f"{name}/{tab}"), ""


def build_overview_context(request: HttpRequest, actor: Actor, node: Node) -> dict[str, Any]:
    span, over = presenters.parse_span(request.GET.get("span", ""))
    points = get_node_samples(actor, node, over)
    csv_url = f"{reverse('nodes:samples', args=[node.name])}?span={span}"
    return {
        "span": span,
        "spans": list(presenters.SPANS),
        "over": over,
        "charts": presenters.build_charts(points, over, csv_url) if points else [],
        "from_iso": over.start.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


@require_safe
def download_samples(request: HttpRequest, name: str) -> HttpResponseBase:
    """/nodes/<name>/samples.csv?span=24h: the numbers behind the lines."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = queries.get_node(actor, name)
    span, over = presenters.parse_span(request.GET.get("span", ""), for_chart=False)
    return build_csv_response(
        f"node-{node.name}-{span}", encode_csv(presenters.build_sample_table(get_node_samples(actor, node, over)))
    )


# -- what one can do to it ------------------------------------------------------------------------------------------
@require_POST
def hold(request: HttpRequest, name: str) -> HttpResponseRedirect:
    """Let the node take no new jobs, for a reason that everybody reads."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = queries.get_node(actor, name)
    try:
        services.hold_node(actor=actor, node=node, reason=request.POST.get("reason", ""))
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("%(node)s takes no new jobs; what runs there goes on.") % {"node": name})
    return redirect("nodes:detail", name=node.name)


@require_POST
def release(request: HttpRequest, name: str) -> HttpResponseRedirect:
    """Let a held node take jobs again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = queries.get_node(actor, name)
    try:
        services.release_node(actor=actor, node=node)
    except Conflict as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("%(node)s takes jobs again.") % {"node": name})
    return redirect("nodes:detail", name=node.name)


@require_POST
def issue_token(request: HttpRequest, name: str) -> HttpResponse:
    """Make the token of the node's doctor and show it, this once."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = queries.get_node(actor, name)
    secret = issue_node_token(actor=actor, node=node)
    return render_node(request, actor, node, "health", {**build_health_context(actor, node), "secret": secret})


@require_POST
def set_labels(request: HttpRequest, name: str) -> HttpResponseRedirect:
    """Give the node the labels that jobs may ask for."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    node = queries.get_node(actor, name)
    try:
        services.set_labels(actor=actor, node=node, labels=request.POST.get("labels", "")[:2000])
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("Jobs that ask for these labels may run on %(node)s.") % {"node": name})
    return redirect("nodes:hardware", name=node.name)
