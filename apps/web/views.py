"""Pages above the apps: home, of everything and of one project, and the gallery of components."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.web import home as reads
from apps.web import network_routes
from apps.web.action_items import list_action_items

DUTIES = ("user.view", "node.view", "audit.view")
# Of who belongs to no project, in the one looked at.
PROJECT_DUTIES = ("approval.view", "approval.set_policy", "webhook.configure", "hold.place")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """/: what waits, failed and runs in every project of the reader; for the administrators, their duties."""
    return render_home(request, None)


@require_safe
def project_home(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/: the same of one project."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    current = get_project(actor, project)
    request.project = current  # type: ignore[attr-defined]
    return render_home(request, current)


def render_home(request: HttpRequest, project: Project | None) -> HttpResponse:
    """The page; for an open one that asks again, its parts, or 304 when they are as it has them.

    Asking again costs less than a stream: a stream would hold one of the web process's threads for every open page.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    member = bool(actor.project_ids) if project is None else project.pk in actor.project_ids
    versions = reads.load_newest_versions(actor, project)
    api = request.build_absolute_uri("/api/v1")
    nodes = reads.load_nodes(actor)
    if len(nodes) < reads.NODES_READ:
        request.node_states = [node.status for node in nodes]  # type: ignore[attr-defined]  # for the lamp
    context: dict[str, Any] = {
        "nav": "home",
        "here": project,
        **reads.load_open_jobs(actor, project),
        **reads.load_failed_jobs(actor, project),
        "waiting": list_action_items(actor),
        "versions": versions,
        "nodes": nodes[: reads.NODES_SHOWN],
        "nodes_count": len(nodes),
        "member": member,
        "steps": reads.list_first_steps(actor, project, versions, api=api) if member else [],
        "duties": list_duties(actor, project) if not member else [],
        "may_submit": project is not None and is_allowed(actor, "job.submit", project),
        "may_add": project is not None and is_allowed(actor, "dataset.add_version", project),
    }
    context["mark"] = reads.compute_mark(context)
    if "X-Plane-Poll" not in request.headers:
        return render(request, "home/home.html", context)
    if request.headers.get("If-None-Match") == context["mark"]:
        return HttpResponseNotModified()
    return render(request, "home/parts.html", context)


def list_duties(actor: Actor, project: Project | None) -> list[str]:
    """What an administrator may do, on the plane and in the project looked at."""
    actions = [action for action in PROJECT_DUTIES if project is not None and is_allowed(actor, action, project)]
    return actions + [action for action in DUTIES if is_allowed(actor, action)]


@require_safe
def isolation(request: HttpRequest) -> HttpResponse:
    """/isolation: what the lamp was derived from; the table of routes for those who see the nodes."""
    may_see = is_allowed(request.actor, "node.view")  # type: ignore[attr-defined]
    return render(
        request, "home/isolation.html", {"nav": "", "seen": network_routes.get_snapshot(), "may_see": may_see}
    )


@require_safe
def gallery(request: HttpRequest) -> HttpResponse:
    """/components: every component in every state, for whoever builds a page."""
    return render(request, "components/gallery.html", {"nav": ""})
