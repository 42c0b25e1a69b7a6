"""A list opens with the view that its reader has made the default, where the address asks for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect

from apps.platform.preferences.queries import get_default_view


class DefaultView:
    """On to the default view. `?view=all` asks for the whole list; an address that says anything is left alone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        listing = getattr(view, "listing", "")
        if not listing or request.method != "GET" or request.META.get("QUERY_STRING"):
            return None
        actor = getattr(request, "actor", None)
        if actor is None or actor.user_id is None:
            return None
        default = get_default_view(actor, listing, kwargs.get("project"))
        return HttpResponseRedirect(f"{request.path}?{default.query or 'view=all'}") if default else None
