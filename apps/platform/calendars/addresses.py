"""Pages and REST addresses of schedules: below a project, or of the plane where they belong to none."""

from __future__ import annotations

from django.urls import reverse

from apps.platform.accounts.models import Project


def build_page_url(name: str, project: Project | None, *args: int) -> str:
    """`name` as in urls.py: list, new, schedule, pause, resume, delete."""
    if project is None:
        return reverse(f"plane_schedules:{name}", args=args)
    return reverse(f"calendars:{name}", args=[project.slug, *args])


def build_api_url(name: str, project: Project | None, *args: int) -> str:
    """`name` as in api_urls.py: schedules, schedule."""
    return (
        reverse(f"api-plane-{name}", args=args)
        if project is None
        else reverse(f"api-{name}", args=[project.slug, *args])
    )
