"""Pages above the apps: home, of everything and of one project, and the gallery of components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.data.datasets.models import DatasetVersion
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context, get_visible_projects
from apps.platform.accounts.services import set_preferences
from apps.platform.audit.bulk_actions import get_return_url
from apps.web import home as reads
from apps.web import home_overview, network_routes
from apps.web.action_items import list_action_items, list_open_approvals
from apps.web.first_steps import list_first_steps

REQUESTS_SHOWN = 5
NEW = {"job": "job.submit", "training": "pipeline.submit", "data": "dataset.add_version"}
"""What can be begun from home, and the action that it takes in the project."""
DUTIES = (
    "user.view",
    "node.view",
    "audit.view",
    "compliance.view",
    "security_alarm.view",
    "recertification.view",
    "access_history.view",
)
# Of who belongs to no project, in the one looked at.
PROJECT_DUTIES = ("approval.view", "approval.set_policy", "webhook.configure", "hold.place")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """/: what waits, failed and runs in every project of the reader; for the administrators, their duties."""
    return render_home(request, None)


@require_safe
def project_home(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/: the same of one project."""
    _actor, current = get_project_context(request, project)
    return render_home(request, current)


def render_home(request: HttpRequest, project: Project | None) -> HttpResponse:
    """The page; for an open one that asks again, its parts, or 304 when they are as it has them.

    Asking again costs less than a stream: a stream would hold one of the web process's threads for every open page.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    member = bool(actor.project_ids) if project is None else project.pk in actor.project_ids
    versions = reads.load_newest_versions(actor, project)
    nodes = reads.load_nodes(actor)
    if len(nodes) < reads.NODES_READ:
        request.node_states = [node.status for node in nodes]  # type: ignore[attr-defined]  # for the lamp
    pending = list_open_approvals(actor)
    requests = [row for row in pending if row.requester_user_id == actor.user_id and not row.is_waiting]  # type: ignore[attr-defined]
    context: dict[str, Any] = {
        "nav": "home",
        "here": project,
        **reads.load_open_jobs(actor, project),
        **reads.load_failed_jobs(actor, project),
        "waiting": list_action_items(actor, pending),
        "requests": [row for row in requests if project is None or row.project_id == project.pk][:REQUESTS_SHOWN],
        "runs": home_overview.load_recent_runs(actor, project) if member else [],
        "alarms": home_overview.load_alarms(actor, project) if member else [],
        "security_alarms": home_overview.load_security_alarms(actor),
        "versions": versions,
        "nodes": nodes[: reads.NODES_SHOWN],
        "nodes_count": len(nodes),
        "member": member,
        "duties": list_duties(actor, project) if not member else [],
    }
    context["mark"] = reads.compute_mark(context)
    if request.headers.get("X-Plane-Poll") and request.headers.get("If-None-Match") == context["mark"]:
        return HttpResponseNotModified()
    context |= build_beginnings(request, actor, project, versions) if member else {}
    if "X-Plane-Poll" in request.headers:
        return render(request, "home/parts.html", context)
    context["production"] = home_overview.load_production_models(actor, project) if member else []
    return render(request, "home/home.html", context)


def build_beginnings(
    request: HttpRequest, actor: Actor, project: Project | None, versions: Sequence[DatasetVersion]
) -> dict[str, Any]:
    """Where new work can be begun, project by project, and the first steps of who has not hidden them."""
    projects = [project] if project else get_visible_projects(request)
    allowed = {key: [row for row in projects if is_allowed(actor, action, row)] for key, action in NEW.items()}
    always = request.GET.get("steps") == "show"
    hidden = getattr(request.user, "hides_first_steps", True) and not always
    steps = []
    if allowed["job"] and not hidden:
        api = request.build_absolute_uri("/api/v1")
        steps = list_first_steps(project, versions, api=api, always=always)
    return {"new": allowed, "steps": steps, "may_submit": bool(allowed["job"]), "may_add": bool(allowed["data"])}


@require_POST
def hide_first_steps(request: HttpRequest) -> HttpResponse:
    """/first-steps/hide: home lists the first steps no more; `/?steps=show` still does."""
    set_preferences(actor=request.actor, hides_first_steps=True)  # type: ignore[attr-defined]
    return redirect(get_return_url(request, reverse("home")))


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
