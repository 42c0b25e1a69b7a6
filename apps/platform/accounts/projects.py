"""From the slug in an address to the project."""

from __future__ import annotations

from django.http import HttpRequest

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.accounts.models import Project

MAX_PROJECTS = 100  # of the switcher; a page of projects is a search away


def get_project(actor: Actor, slug: str) -> Project:
    """The project with this slug; NotFound when there is none or `actor` may not see it."""
    project = Project.objects.visible_to(actor).filter(slug=slug).first()
    if project is None:
        raise NotFound("There is no such project, or you may not see it.", field="project")
    return project


def get_visible_projects(request: HttpRequest) -> list[Project]:
    """The first MAX_PROJECTS that who asks may see: the frame shows them, and the page needs one of them. Read once."""
    if not hasattr(request, "seen_projects"):
        visible = Project.objects.visible_to(request.actor).order_by("slug")  # type: ignore[attr-defined]
        request.seen_projects = list(visible[:MAX_PROJECTS])  # type: ignore[attr-defined]
    return request.seen_projects  # type: ignore[attr-defined,no-any-return]


def get_page_project(request: HttpRequest, slug: str) -> Project:
    """`get_project` for a page, out of what its frame shows anyway."""
    match = next((project for project in get_visible_projects(request) if project.slug == slug), None)
    return match or get_project(request.actor, slug)  # type: ignore[attr-defined]


def get_project_context(request: HttpRequest, slug: str) -> tuple[Actor, Project]:
    """The actor and the project of a page's address, which the frame shows too; NotFound."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    project = get_page_project(request, slug)
    request.project = project  # type: ignore[attr-defined]
    return actor, project
