"""What pages and REST read of a person's views; bounded by how many one may keep."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.accounts.models import Project
from apps.platform.preferences.models import SavedView, SavedViewQuerySet

MAX_ID = 2**63 - 1


def list_views(actor: Actor) -> SavedViewQuerySet:
    """The actor's own views, of every list."""
    policy.require(actor, "saved_view.view")
    return SavedView.objects.visible_to(actor).select_related("project")


def list_views_of(actor: Actor, listing: str, project: Project | None) -> list[SavedView]:
    """The actor's views of one list, by name; none for whoever may not keep any. One query."""
    if not policy.is_allowed(actor, "saved_view.view"):
        return []
    views = SavedView.objects.visible_to(actor).filter(listing=listing, project=project)
    return list(views.order_by("name", "pk"))


def get_default_view(actor: Actor, listing: str, slug: str | None) -> SavedView | None:
    """The view that this list opens with; one query."""
    where = {"project__slug": slug} if slug else {"project__isnull": True}
    return SavedView.objects.visible_to(actor).filter(listing=listing, is_default=True, **where).first()


def get_view(actor: Actor, pk: int) -> SavedView:
    """One of the actor's own views, or NotFound."""
    view = list_views(actor).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if view is None:
        raise NotFound("There is no such view, or it is not yours.", field="id")
    return view
