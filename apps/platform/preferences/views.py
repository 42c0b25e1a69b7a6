"""What the menu of views on every list posts: keep this query, rename, make the default, delete."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.core.errors import Conflict, Invalid
from apps.core.messages import translate_error
from apps.platform.accounts.projects import get_project
from apps.platform.audit.bulk_actions import get_return_url
from apps.platform.preferences import queries, services


@require_POST
def save(request: HttpRequest) -> HttpResponseRedirect:
    """Keep the query under a name; back to the list, now as that view, or with what was wrong."""
    actor, ask = request.actor, request.POST.get  # type: ignore[attr-defined]
    slug = ask("project", "")
    project = get_project(actor, slug) if slug else None
    name, listing, query = ask("name", ""), ask("listing", ""), ask("query", "")
    default = ask("is_default") == "1"
    try:
        view = services.save_view(
            actor=actor, project=project, listing=listing, name=name, query=query, is_default=default
        )
    except (Conflict, Invalid) as error:
        messages.error(request, translate_error(error))
        return redirect(get_return_url(request, "/"))
    messages.success(request, _("The view %(name)s is kept.") % {"name": view.name})
    return redirect(f"{get_return_url(request, '/').partition('?')[0]}?{view.query or 'view=all'}")


@require_POST
def update(request: HttpRequest, pk: int) -> HttpResponseRedirect:
    """Rename a view, or make it the default (is_default=1) or no more (is_default=0)."""
    actor = request.actor  # type: ignore[attr-defined]
    view = queries.get_view(actor, pk)
    name, default = request.POST.get("name"), request.POST.get("is_default")
    try:
        view = services.update_view(
            actor=actor, view=view, name=name, is_default=None if default is None else default == "1"
        )
    except (Conflict, Invalid) as error:
        messages.error(request, translate_error(error))
    else:
        messages.success(request, _("The view %(name)s is changed.") % {"name": view.name})
    return redirect(get_return_url(request, "/"))


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponseRedirect:
    actor = request.actor  # type: ignore[attr-defined]
    view = queries.get_view(actor, pk)
    services.delete_view(actor=actor, view=view)
    messages.success(request, _("The view %(name)s is deleted.") % {"name": view.name})
    return redirect(get_return_url(request, "/"))
