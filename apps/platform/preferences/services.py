"""Every write of what a person keeps for themself."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.policy import require
from apps.platform.accounts.models import Project, User
from apps.platform.accounts.validation import check_fields
from apps.platform.audit.services import record
from apps.platform.preferences.models import SavedView
from deepseek.messages import N_

VIEWS_LIMIT = 50  # of one list
QUERY_LIMIT = 2000
LISTING = re.compile(r"[a-z][a-z_]{0,39}")
OF_THE_PLACE = ("cursor", "limit", "format", "view")  # of a query: where one is in the list, not which list it is


def save_view(
    *,
    actor: Actor,
    listing: str,
    name: str,
    query: str,
    project: Project | None = None,
    is_default: bool = False,
) -> SavedView:
    """Keep the query of a list under a name. Invalid for a bad value, Conflict when name or room is taken."""
    require(actor, "saved_view.save")
    if actor.user_id is None:
        raise Invalid("Only a person keeps views.", field="/user")
    if not LISTING.fullmatch(listing):
        limit = _("letters and underscores, up to 40")
        raise Invalid("{name!r} names no list.", name=listing[:60], field="/listing", limit=limit)
    view = SavedView(
        user_id=actor.user_id, project=project, listing=listing, query=normalize_query(query), is_default=is_default
    )
    set_name(view, name)
    with transaction.atomic():
        beside = list_sibling_views(view)
        # The owner's row is the lock: two tabs that save at once must not pass the limit together.
        User.objects.select_for_update().get(pk=actor.user_id)
        if beside.count() >= VIEWS_LIMIT:
            raise Conflict(
                "You keep {count} views of this list.",
                count=VIEWS_LIMIT,
                code="too_many_views",
                field="/name",
                limit=VIEWS_LIMIT,
                hint=N_("Delete one that you do not use."),
            )
        if is_default:
            beside.filter(is_default=True).update(is_default=False)
        write(view)
        record(actor=actor, action="saved_view.save", obj=view, after=build_audit_fields(view))
    return view


def update_view(
    *,
    actor: Actor,
    view: SavedView,
    name: str | None = None,
    query: str | None = None,
    is_default: bool | None = None,
) -> SavedView:
    """Rename a view, let it keep another query, make it the default of its list or no more. None leaves a field."""
    require(actor, "saved_view.save")
    require_own(actor, view)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=view.user_id)
        view = SavedView.objects.get(pk=view.pk)
        before = build_audit_fields(view)
        if name is not None:
            set_name(view, name)
        if query is not None:
            view.query = normalize_query(query)
        if is_default is not None:
            view.is_default = is_default
            if is_default:
                list_sibling_views(view).exclude(pk=view.pk).filter(is_default=True).update(is_default=False)
        after = build_audit_fields(view)
        if after == before:
            return view
        write(view)
        changed = {key for key in after if after[key] != before[key]}
        record(
            actor=actor,
            action="saved_view.change",
            obj=view,
            before={key: before[key] for key in changed},
            after={key: after[key] for key in changed},
        )
    return view


def delete_view(*, actor: Actor, view: SavedView) -> None:
    """Forget a view; its list opens as it does for everybody if it was the default."""
    require(actor, "saved_view.delete")
    require_own(actor, view)
    with transaction.atomic():
        record(actor=actor, action="saved_view.delete", obj=view, before=build_audit_fields(view))
        rows, _deleted = SavedView.objects.filter(pk=view.pk).delete()
        if rows == 0:
            raise NotFound("There is no such view, or it is not yours.", field="id")


# -- shared ---------------------------------------------------------------------------------------------------------
def require_own(actor: Actor, view: SavedView) -> None:
    if view.user_id != actor.user_id:
        raise NotFound("There is no such view, or it is not yours.", field="id")


def list_sibling_views(view: SavedView) -> Any:
    """The person's views of the same list; a project of None is the lists that belong to none."""
    views = SavedView.objects.filter(user_id=view.user_id, listing=view.listing)
    return views.filter(project__isnull=True) if view.project_id is None else views.filter(project_id=view.project_id)


def set_name(view: SavedView, name: str) -> None:
    view.name = name.strip()
    check_fields(view, "name")


def normalize_query(query: str) -> str:
    """The query without the place in the list; Invalid for one that no address has."""
    text = query.lstrip("?")
    try:
        pairs = parse_qsl(text, keep_blank_values=False, max_num_fields=100, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise Invalid("The query cannot be read.", field="/query", limit="a=b&c=d") from None
    if any("\x00" in part for pair in pairs for part in pair):
        raise Invalid("The query holds the character NUL.", field="/query")
    cleaned = urlencode([(key, value) for key, value in pairs if key not in OF_THE_PLACE])
    if len(cleaned) > QUERY_LIMIT:
        raise Invalid("The query has {count} characters.", count=len(cleaned), field="/query", limit=QUERY_LIMIT)
    return cleaned


def write(view: SavedView) -> None:
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        raise Conflict(
            "You have a view called {name!r} already.",
            name=view.name,
            code="name_taken",
            field="/name",
            hint=N_("Choose another name, or delete the other view."),
        ) from None


def build_audit_fields(view: SavedView) -> dict[str, Any]:
    return {"listing": view.listing, "name": view.name, "query": view.query, "is_default": view.is_default}
