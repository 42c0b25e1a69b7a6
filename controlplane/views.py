"""Pages above the apps: home, of everything and of one project, and the gallery of components."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.models import Project
from apps.accounts.projects import get_project
from apps.actors import Actor
from apps.policy import allows
from controlplane import home as reads
from controlplane.waiting import waiting_for

DUTIES = ("user.view", "node.view", "audit.view")
PROJECT_DUTIES = ("approval.view", "approval.set_policy")  # of who belongs to no project, in the one looked at


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """/: what waits, failed and runs in every project of the reader; for the administrators, their duties."""
    return drawn(request, None)


@require_safe
def project_home(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/: the same of one project."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = get_project(actor, project)
    request.project = found  # type: ignore[attr-defined]
    return drawn(request, found)


def drawn(request: HttpRequest, project: Project | None) -> HttpResponse:
    """The page, or for its own renewal (htmx) the part that moves."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    context: dict[str, Any] = {"nav": "home", "here": project, **reads.open_jobs(actor, project)}
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "home/moving.html", context)
    member = bool(actor.project_ids) if project is None else project.pk in actor.project_ids
    context |= {
        **reads.failed_jobs(actor, project),
        "waiting": waiting_for(actor),
        "versions": reads.newest_versions(actor, project),
        "nodes": list(reads.nodes_shown(actor)),
        "member": member,
        "duties": duties_of(actor, project) if not member else [],
        "may_submit": project is not None and allows(actor, "job.submit", project),
        "may_add": project is not None and allows(actor, "dataset.add_version", project),
    }
    return render(request, "home/home.html", context)


def duties_of(actor: Actor, project: Project | None) -> list[str]:
    """What an administrator may do, on the plane and in the project looked at."""
    here = [action for action in PROJECT_DUTIES if project is not None and allows(actor, action, project)]
    return here + [action for action in DUTIES if allows(actor, action)]


@require_safe
def gallery(request: HttpRequest) -> HttpResponse:
    """/components: every component in every state, for whoever builds a page."""
    return render(request, "components/gallery.html", {"nav": ""})
