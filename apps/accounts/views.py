"""The pages: one's account and tokens; people, for administrators; members, for everybody in a project."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps import policy
from apps.accounts import reads, services
from apps.accounts.forms import MemberForm, NameForm, PersonForm, SystemRoleForm, TokenForm, show_refusal
from apps.accounts.models import ApiToken, Membership, User
from apps.accounts.projects import get_project
from apps.errors import PlaneError, Refused
from apps.pages import page_asked


# -- one's own ------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Who am I, what may I do where; the one thing to change here is the name shown."""
    user: User = request.user  # type: ignore[assignment]
    form = NameForm(request.POST or None, instance=User.objects.get(pk=user.pk))
    if request.method == "POST" and form.is_valid():
        services.rename_oneself(actor=request.actor, name=form.cleaned_data["name"])
        messages.success(request, _("Your name is changed."))
        return redirect("accounts:account")
    return render(
        request, "accounts/account.html", {"form": form, "memberships": roles_by_project(user), "person": user}
    )


@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """One's tokens. A new one's secret is in the answer to the POST and nowhere else: no redirect could carry it."""
    usable = reads.projects_for_tokens(request.actor, request.user)  # type: ignore[arg-type]
    form = TokenForm(request.POST or None, usable=usable)
    secret, made = "", None
    if request.method == "POST" and form.is_valid():
        asked = dict(form.cleaned_data)
        try:
            project = get_project(request.actor, asked.pop("project"))
            made, secret = services.create_token(actor=request.actor, project=project, **asked)
            form = TokenForm(usable=usable)
        except Refused:
            raise  # recorded, and shown on the page of refusals
        except PlaneError as error:
            show_refusal(form, error)
    page = page_asked(reads.list_own_tokens(request.actor), request.GET)
    status = 422 if form.errors else 200
    context = {"form": form, "page": page, "rows": shown(page.items), "secret": secret, "made": made, "usable": usable}
    return render(request, "accounts/tokens.html", context, status=status)


@require_POST
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    token = reads.get_token(request.actor, token_id)
    services.revoke_token(actor=request.actor, token=token, reason=request.POST.get("reason", "")[:2000])
    messages.success(request, _("The token %(prefix)s… is revoked.") % {"prefix": token.prefix})
    return redirect("accounts:tokens")


def shown(tokens: list[ApiToken]) -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        {"token": t, "state": "revoked" if t.revoked_at else "expired" if t.expires_at <= now else "active"}
        for t in tokens
    ]


def roles_by_project(user: User) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    rows = Membership.objects.filter(user=user).order_by("project__slug", "role").values_list("project__slug", "role")
    for slug, role in rows:
        found.setdefault(slug, []).append(role)
    return found


# -- people ---------------------------------------------------------------------------------------------------------
@never_cache
@require_http_methods(["GET", "POST"])
def people(request: HttpRequest) -> HttpResponse:
    """Everybody with an account; the system administrator adds one here and reads the one-time password once."""
    found = reads.list_users(request.actor)
    form = PersonForm(request.POST or None)
    made, password = None, ""
    if request.method == "POST" and form.is_valid():
        try:
            made, password = services.create_user(actor=request.actor, **form.cleaned_data)
            form = PersonForm()
        except Refused:
            raise
        except PlaneError as error:
            show_refusal(form, error)
    asked = request.GET.get("q", "").strip()[:80]
    page = page_asked(found.filter(username__icontains=asked) if asked else found, request.GET, order=("username",))
    context = {
        "form": form,
        "page": page,
        "asked": asked,
        "filters": [{"name": "q", "label": _("User name"), "value": asked}],
        "made": made,
        "password": password,
        "may_create": policy.allows(request.actor, "user.create"),
    }
    return render(request, "accounts/people.html", context, status=422 if form.errors else 200)


@never_cache
@require_GET
def person(request: HttpRequest, username: str) -> HttpResponse:
    return person_page(request, reads.get_user(request.actor, username))


def person_page(request: HttpRequest, user: User, *, status: int = 200, **over: Any) -> HttpResponse:
    actor = request.actor
    projects = list(reads.list_projects(actor).order_by("slug"))
    own = actor.user_id == user.pk
    memberships = roles_by_project(user)
    # A form that could only fail is not offered; one that did fail is shown with its error.
    context = {
        "person": user,
        "memberships": memberships,
        "may_disable": policy.allows(actor, "user.disable", user) and not own,
        "may_reset": policy.allows(actor, "user.reset_password", user) and not own and not user.system_role,
        "may_set_role": policy.allows(actor, "user.set_system_role", user)
        and not own
        and (not memberships or "role_form" in over),
        "may_set_members": policy.allows(actor, "member.set_roles") and (not user.system_role or "member_form" in over),
        "role_form": SystemRoleForm(initial={"system_role": user.system_role}, prefix="role"),
        "member_form": MemberForm(projects=projects, prefix="member"),
        **over,
    }
    return render(request, "accounts/person.html", context, status=status)


@require_POST
def disable_person(request: HttpRequest, username: str) -> HttpResponse:
    user = reads.get_user(request.actor, username)
    services.disable_user(actor=request.actor, user=user, reason=request.POST.get("reason", "")[:2000])
    messages.success(
        request, _("%(name)s is disabled: sessions have ended, tokens are revoked.") % {"name": user.username}
    )
    return redirect("accounts:person", user.username)


@require_POST
def enable_person(request: HttpRequest, username: str) -> HttpResponse:
    user = reads.get_user(request.actor, username)
    services.enable_user(actor=request.actor, user=user, reason=request.POST.get("reason", "")[:2000])
    messages.success(request, _("%(name)s may log in again.") % {"name": user.username})
    return redirect("accounts:person", user.username)


@never_cache
@require_POST
def reset_person(request: HttpRequest, username: str) -> HttpResponse:
    """The new one-time password is in this answer and nowhere else."""
    user = reads.get_user(request.actor, username)
    password = services.reset_password(actor=request.actor, user=user)
    return person_page(request, user, password=password)


@require_POST
def set_person_role(request: HttpRequest, username: str) -> HttpResponse:
    user = reads.get_user(request.actor, username)
    form = SystemRoleForm(request.POST, prefix="role")
    if form.is_valid():
        try:
            services.set_system_role(actor=request.actor, user=user, **form.cleaned_data)
            messages.success(request, _("The system role is changed."))
            return redirect("accounts:person", user.username)
        except Refused:
            raise
        except PlaneError as error:
            show_refusal(form, error)
    return person_page(request, user, status=422, role_form=form)


@require_POST
def set_person_memberships(request: HttpRequest, username: str) -> HttpResponse:
    """The roles in one project; none of them removes the member."""
    user = reads.get_user(request.actor, username)
    form = MemberForm(request.POST, projects=list(reads.list_projects(request.actor)), prefix="member")
    if form.is_valid():
        asked = dict(form.cleaned_data)
        project = get_project(request.actor, asked.pop("project"))
        try:
            if asked["roles"]:
                services.set_member_roles(actor=request.actor, project=project, member=user, **asked)
            else:
                services.remove_member(actor=request.actor, project=project, member=user, reason=asked["reason"])
            messages.success(request, _("The roles in %(project)s are changed.") % {"project": project.slug})
            return redirect("accounts:person", user.username)
        except Refused:
            raise
        except PlaneError as error:
            show_refusal(form, error)
    return person_page(request, user, status=422, member_form=form)


# -- members of a project -------------------------------------------------------------------------------------------
@require_GET
def members(request: HttpRequest, project: str) -> HttpResponse:
    where = get_project(request.actor, project)
    context = {
        "project": where,
        "members": reads.list_members(request.actor, where),
        "may_see_people": policy.allows(request.actor, "user.view"),
        "may_disable": policy.allows(request.actor, "service_account.disable", where),
        "address": reverse("accounts:members", args=[where.slug]),
    }
    return render(request, "accounts/members.html", context)


@require_POST
def disable_service_account(request: HttpRequest, project: str, name: str) -> HttpResponse:
    where = get_project(request.actor, project)
    account = reads.get_service_account(request.actor, where, name)
    services.disable_service_account(actor=request.actor, account=account, reason=request.POST.get("reason", "")[:2000])
    messages.success(request, _("%(name)s is disabled and its tokens are revoked.") % {"name": account.name})
    return redirect("accounts:members", where.slug)
