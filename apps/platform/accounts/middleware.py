"""What every request gets: an id, an actor, the limits of its session, the gate of a one-time password."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.shortcuts import resolve_url
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from apps.platform.accounts.actors import build_actor_for_user, build_anonymous_actor, get_client_address
from apps.platform.accounts.authentication import PasswordChangeRequired
from apps.platform.accounts.models import User, list_time_zones
from apps.platform.accounts.passwords import needs_new_password

SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,40}")
STARTED, SEEN = "started_at", "seen_at"
RENEW_SECONDS = 60
UNATTENDED = ("/healthz", "/readyz", "/metrics")  # asked every few seconds by a machine: no session, no query

# A person with a one-time password reaches these and nothing else. By name: going by "needs no log-in" instead
# would open every view that accepts a token.
WITH_ONE_TIME_PASSWORD = frozenset({"account_change_password", "account_logout", "set_language", "healthz", "readyz"})

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestId:
    """`request.request_id`, taken from X-Request-ID where it is sane, and sent back in the answer."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = get_request_id(request)
        request.request_id = request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        return response


def get_request_id(request: HttpRequest) -> str:
    """The id that the caller gave, where it is sane, or a new one."""
    header = request.META.get("HTTP_X_REQUEST_ID", "")
    return header if header and SANE_ID.fullmatch(header) else uuid.uuid4().hex


class SessionLimits:
    """A session ends when unused (its expiry is not renewed) and when it is too old (it is flushed).

    This looks at `process_view`, because a message to the person needs the message middleware, which is further in.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        if is_unattended(request) or not request.user.is_authenticated:
            return None
        now = int(time.time())
        started = request.session.setdefault(STARTED, now)
        if now - started >= settings.SESSION_ABSOLUTE_AGE:
            return end_session(request, view)
        if now - request.session.get(SEEN, 0) >= RENEW_SECONDS and not is_stream(request):
            request.session[SEEN] = now  # modified: the session is saved with a new expiry
            UserSession.objects.create_from_request(request)  # address, browser, last seen: for the list of sessions
        return None


def end_session(request: HttpRequest, view: Callable[..., HttpResponseBase]) -> HttpResponseBase | None:
    request.session.flush()
    request.user = AnonymousUser()
    request.actor = build_anonymous_actor(address=get_client_address(request), request_id=generate_request_id(request))  # type: ignore[attr-defined]
    if is_for_programs(request):
        return None  # the view answers 401 in its own words, or finds a token
    messages.info(request, _("Your session has ended: please log in again."))
    if not getattr(view, "login_required", True):
        return None
    return build_redirect(request, redirect_to_login(request.get_full_path(), resolve_url(settings.LOGIN_URL)).url)


def get_requesting_page(request: HttpRequest) -> str:
    """The page that asked for a fragment, as htmx says; the start for what is no address."""
    try:
        back = urlsplit(request.headers.get("HX-Current-URL", "/"))
    except ValueError:
        return "/"
    return f"{back.path}?{back.query}" if back.query else back.path


class LoginRequired(LoginRequiredMiddleware):
    """Django's, which would send the log-in page into a fragment, or to an open page that asks by itself."""

    def handle_no_permission(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseBase:
        response = super().handle_no_permission(request, view_func)
        if "HX-Request" in request.headers:
            return build_redirect(
                request, redirect_to_login(get_requesting_page(request), resolve_url(settings.LOGIN_URL)).url
            )
        return build_redirect(request, response.url) if "X-Plane-Poll" in request.headers else response


class RequestActor:
    """`request.actor`: who the session belongs to, or nobody. Token authentication puts its own in place.

    What somebody was shown stays in no cache unless the view says so: after the log-out, Back must not bring it back.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        about = {"address": get_client_address(request), "request_id": generate_request_id(request)}
        if is_unattended(request) or not request.user.is_authenticated:
            request.actor = build_anonymous_actor(**about)  # type: ignore[attr-defined]
        else:
            request.actor = build_actor_for_user(request.user, **about)  # type: ignore[attr-defined]
        response = self.get_response(request)
        if not request.actor.is_anonymous:  # type: ignore[attr-defined]
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class Preferences:
    """The reader's zone, language and theme, where one was chosen; `request.preferred` for the templates.

    Programs get English, whatever Accept-Language says: they compare texts, and several people read one answer. The
    cookie's language goes first: it was chosen in this browser.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Set, and not taken back: a stream is written after this returns, and the thread's next reader begins anew.
        timezone.deactivate()
        request.preferred = {}  # type: ignore[attr-defined]
        if is_for_programs(request):
            translation.activate(settings.LANGUAGE_CODE)
        elif not is_unattended(request) and isinstance(request.user, User):
            self.apply(request, request.user)
        return self.get_response(request)

    def apply(self, request: HttpRequest, user: User) -> None:
        zone = user.time_zone if user.time_zone in list_time_zones() else ""  # the machine's table may have lost it
        request.preferred = {"time_zone": zone, "theme": user.theme}  # type: ignore[attr-defined]
        if zone:
            timezone.activate(ZoneInfo(zone))
        if user.language and settings.LANGUAGE_COOKIE_NAME not in request.COOKIES:
            translation.activate(user.language)
            request.LANGUAGE_CODE = translation.get_language()  # type: ignore[attr-defined]


class MustChangePassword:
    """Until a one-time password, or one that is too old, is replaced, the session may do that, log out, and no more."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        if is_unattended(request) or not isinstance(request.user, User) or not needs_new_password(request.user):
            return None
        if request.resolver_match and request.resolver_match.view_name in WITH_ONE_TIME_PASSWORD:
            return None
        if is_for_programs(request):
            refusal = PasswordChangeRequired()
            return JsonResponse(refusal.as_dict(), status=refusal.status)
        return build_redirect(request, resolve_url("account_change_password"))


def generate_request_id(request: HttpRequest) -> str:
    return str(getattr(request, "request_id", ""))


def is_for_programs(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def is_stream(request: HttpRequest) -> bool:
    """A browser reopens an event stream, or asks again for a part of a page, by itself: that is no person at work."""
    return "text/event-stream" in request.headers.get("Accept", "") or "X-Plane-Poll" in request.headers


def is_unattended(request: HttpRequest) -> bool:
    return request.path_info in UNATTENDED or request.path_info.startswith(resolve_static_url())


def resolve_static_url() -> str:
    return str(settings.STATIC_URL) if settings.STATIC_URL.startswith("/") else f"/{settings.STATIC_URL}"


def build_redirect(request: HttpRequest, url: str) -> HttpResponseBase:
    """A redirect; htmx would follow a 302 and paste the page into a fragment, so it is told instead.

    Nobody sits before a page that asks by itself: it stays, and says that it is signed out (static/js/presence.js).
    """
    if "X-Plane-Poll" in request.headers:
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
