"""From the slug in an address to the project."""

from __future__ import annotations

from apps.accounts.models import Project
from apps.actors import Actor
from apps.errors import NotFound


def get_project(actor: Actor, slug: str) -> Project:
    """The project with this slug; NotFound when there is none or `actor` may not see it."""
    project = Project.objects.visible_to(actor).filter(slug=slug).first()
    if project is None:
        raise NotFound("There is no such project, or you may not see it.", field="project")
    return project
