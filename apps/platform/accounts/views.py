"""The pages: one's account and tokens; people, for administrators; members, for everybody in a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from allauth.account.forms import ChangePasswordForm
from allauth.account.internal.flows.reauthentication import reauthenticate_by_password
from allauth.account.views import PasswordChangeView
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.core import policy
from apps.core.errors import PlaneError, Refused
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.platform.accounts import queries, services
from apps.platform.accounts.confirmations import can_confirm, list_unconfirmed_changes
from apps.platform.accounts.factors.requirements import get_proof_page, list_factors
from apps.platform.accounts.factors.views import ask_for_fresh_factor
from apps.platform.accounts.forms import (
    ClearanceForm,
    ExpiryForm,
    MemberForm,
    NameForm,
    PersonForm,
    PreferencesForm,
    SystemRoleForm,
    TokenForm,
    show_refusal,
)
from apps.platform.accounts.known_devices import remember_device
from apps.platform.accounts.lists import (
    MEMBERS,
    PEOPLE,
    TOKENS,
    build_members_table,
    build_people_table,
    build_tokens_table,
)
from apps.platform.accounts.models import Membership, User
from apps.platform.accounts.passwords import is_password_expired
from apps.platform.accounts.projects import get_project, get_project_context
from apps.platform.accounts.reauthentication import require_fresh_factor
from apps.platform.accounts.security_labels import get_label_name
from apps.platform.audit.bulk_actions import (
    Done,
    build_result_context,
    get_return_url,
    parse_numeric_ids,
    run_bulk_action,
)
from apps.platform.audit.list_export import export_list


# -- one's own ------------------------------------------------------------------------------------------------------
class ChangePasswordView(PasswordChangeView):  # type: ignore[misc]  # untyped
    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return {**super().get_context_data(**more), "password_expired": is_password_expired(self.request.user)}

    def form_valid(self, form: ChangePasswordForm) -> HttpResponse:
        """A new password makes every device an unknown one; this browser has given the old one, and stays known.

        For the same reason no page asks for the password again at once, such as that of a first second factor.
        """
        response: HttpResponse = super().form_valid(form)
        reauthenticate_by_password(self.request)
        remember_device(self.request, response, form.user.username)
        return response


@require_http_methods(["GET", "POST"])
def show_account(request: HttpRequest) -> HttpResponse:
    """Who am I, what may I do where; to change here are the name shown, and how the pages are shown."""
    user: User = request.user  # type: ignore[assignment]
    form_name = request.POST.get("form", "name") if request.method == "POST" else ""
    form = NameForm(request.POST if form_name == "name" else None, instance=User.objects.get(pk=user.pk))
    now = {name: getattr(user, name) for name in PreferencesForm.base_fields}
    preferences = PreferencesForm(request.POST if form_name == "preferences" else None, initial=now)
    if form_name == "name" and form.is_valid():
        services.rename_oneself(actor=request.actor, name=form.cleaned_data["name"])
        messages.success(request, _("Your name is changed."))
        return redirect("accounts:account")
    if form_name == "preferences" and preferences.is_valid():
        services.set_preferences(actor=request.actor, **preferences.cleaned_data)
        messages.success(request, _("The pages are shown as you chose."))
        return set_language_cookie(redirect("accounts:account"), preferences.cleaned_data["language"])
    context = {
        "form": form,
        "preferences": preferences,
        "memberships": group_roles_by_project(user),
        "person": user,
        "unconfirmed": list_unconfirmed_changes(user.pk),
        "plane_zone": settings.TIME_ZONE,
    }
    return render(request, "accounts/account.html", context, status=422 if form_name else 200)


def set_language_cookie(response: HttpResponse, code: str) -> HttpResponse:
    """This browser follows at once: what it had chosen before would go first."""
    if code:
        response.set_cookie(settings.LANGUAGE_COOKIE_NAME, code, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
    else:
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
    return response


@mark_list_view(TOKENS.key)
@never_cache
@require_http_methods(["GET", "POST"])
def show_tokens(request: HttpRequest) -> HttpResponseBase:
    """One's tokens. A new one's secret is in the answer to the POST and nowhere else: no redirect could carry it."""
    usable = queries.list_projects_for_tokens(request.actor, request.user)  # type: ignore[arg-type]
    form = TokenForm(request.POST or None, usable=usable)
    secret, token = "", None
    if request.method == "POST" and form.is_valid():
        fields = dict(form.cleaned_data)
        try:
            project = get_project(request.actor, fields.pop("project"))
            require_fresh_factor(request, request.actor, fields["scopes"])
            token, secret = services.create_token(actor=request.actor, project=project, **fields)
            form = TokenForm(usable=usable)
        except Refused as refusal:
            if refusal.code != "factor_not_fresh":
                raise  # recorded, and shown on the page of refusals
            messages.info(request, translate_error(refusal))
            page = resolve_url(get_proof_page(list_factors(request.user.pk)))
            return redirect(f"{page}?{urlencode({'next': request.path})}")
        except PlaneError as error:
            show_refusal(form, error)
    table = build_tokens_table(request.actor, request.GET)
    if request.method == "GET" and request.GET.get("format") == "csv":
        return export_list(request.actor, table)
    status = 422 if form.errors else table.status
    context = {**table.build_context(), "form": form, "secret": secret, "made": token, "usable": usable}
    context["working"] = queries.count_working_tokens(request.actor)
    return render(request, "accounts/tokens.html", context, status=status)


@require_POST
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    token = queries.get_token(request.actor, token_id)
    services.revoke_token(actor=request.actor, token=token, reason=request.POST.get("reason", "")[:2000])
    messages.success(request, _("The token %(prefix)s… is revoked.") % {"prefix": token.prefix})
    return redirect("accounts:tokens")


@require_POST
def revoke_tokens(request: HttpRequest) -> HttpResponse:
    """Revoke the selected tokens, each by itself; the answer says what became of each."""
    actor, reason = request.actor, request.POST.get("reason", "")[:2000]
    policy.require_scope(actor, "token.revoke")

    def revoke_one(pk: int) -> Done:
        token = queries.get_token(actor, pk)
        services.revoke_token(actor=actor, token=token, reason=reason)
        return Done(f"{token.name} ({token.prefix}…)", "", _("Revoked"))

    outcomes = run_bulk_action(actor, parse_numeric_ids(request), revoke_one, name=str, request=request)
    back = get_return_url(request, reverse("accounts:tokens"))
    return render(request, "accounts/bulk.html", build_result_context(outcomes, title=_("Revoke tokens"), back=back))


def group_roles_by_project(user: User) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    rows = Membership.objects.filter(user=user).order_by("project__slug", "role").values_list("project__slug", "role")
    for slug, role in rows:
        grouped.setdefault(slug, []).append(role)
    return grouped


# -- people ---------------------------------------------------------------------------------------------------------
@mark_list_view(PEOPLE.key)
@never_cache
@require_http_methods(["GET", "POST"])
def show_people(request: HttpRequest) -> HttpResponseBase:
    """Everybody with an account; the system administrator adds one here and reads the one-time password once."""
    if request.method == "GET" and request.GET.get("format") == "csv":
        return export_list(request.actor, build_people_table(request.actor, request.GET))
    form = PersonForm(request.POST or None)
    user, password = None, ""
    if request.method == "POST" and form.is_valid():
        try:
            user, password = services.create_user(actor=request.actor, **form.cleaned_data)
            form = PersonForm()
        except Refused:
            raise
        except PlaneError as error:
            show_refusal(form, error)
    table = build_people_table(request.actor, request.GET)
    context = {
        **table.build_context(),
        "nav": "people",
        "form": form,
        "made": user,
        "password": password,
        "count": queries.list_users(request.actor).count(),
        "may_create": policy.is_allowed(request.actor, "user.create"),
        "confirmable": {each.pk for each in table.rows if can_confirm(request.actor, each, each.unconfirmed_changes)},
    }
    return render(request, "accounts/people.html", context, status=422 if form.errors else table.status)


@never_cache
@require_GET
def show_person(request: HttpRequest, username: str) -> HttpResponse:
    return render_person_page(request, queries.get_user(request.actor, username))


def render_person_page(request: HttpRequest, user: User, *, status: int = 200, **over: Any) -> HttpResponse:
    actor = request.actor
    projects = list(queries.list_projects(actor).order_by("slug"))
    own = actor.user_id == user.pk
    memberships = group_roles_by_project(user)
    # A form that could only fail is not offered; one that did fail is shown with its error.
    context = {
        "person": user,
        "memberships": memberships,
        "may_disable": policy.is_allowed(actor, "user.disable", user) and not own,
        "may_reset": policy.is_allowed(actor, "user.reset_password", user) and not own and not user.system_role,
        "factors": list_factors(user.pk),
        "nav": "people",
        "may_reset_factor": policy.is_allowed(actor, "user.reset_second_factor", user) and not own,
        "may_confirm": can_confirm(actor, user, user.unconfirmed_changes),  # type: ignore[attr-defined]  # prefetched
        "may_read_trail": policy.is_allowed(actor, "audit.view"),
        "may_set_role": policy.is_allowed(actor, "user.set_system_role", user)
        and not own
        and (not memberships or "role_form" in over),
        "may_set_members": policy.is_allowed(actor, "member.set_roles")
        and (not user.system_role or "member_form" in over),
        "has_directory": bool(settings.OIDC_ISSUER or settings.LDAP_URLS),
        "directory_issuers": queries.list_directory_issuers(user),
        "may_open_to_directory": policy.is_allowed(actor, "user.open_to_directory", user) and not own,
        "may_set_expiry": policy.is_allowed(actor, "user.set_expiry", user) and not own,
        "expiry_form": ExpiryForm(initial={"expires_at": get_last_day(user)}, prefix="expiry"),
        "clearance_name": get_label_name(user.clearance),
        "may_set_clearance": policy.is_allowed(actor, "user.set_clearance", user) and not own,
        "clearance_form": ClearanceForm(initial={"clearance": get_label_name(user.clearance)}, prefix="clearance"),
        "role_form": SystemRoleForm(initial={"system_role": user.system_role}, prefix="role"),
        "member_form": MemberForm(
            projects=projects, prefix="member", initial=build_roles_form_context(request, memberships)
        ),
        **over,
    }
    return render(request, "accounts/person.html", context, status=status)


def get_last_day(user: User) -> date | None:
    return timezone.localtime(user.expires_at - timedelta(seconds=1)).date() if user.expires_at else None


def build_roles_form_context(request: HttpRequest, memberships: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the form that sets roles opens with: the project that the query names, else the first, and the roles there,
    so that setting one does not quietly take the others away.
    """
    chosen = request.GET.get("project", "") or next(iter(memberships), "")
    return {"project": chosen, "roles": memberships.get(chosen, [])}


@require_POST
def disable_person(request: HttpRequest, username: str) -> HttpResponse:
    user = queries.get_user(request.actor, username)
    services.disable_user(actor=request.actor, user=user, reason=request.POST.get("reason", "")[:2000])
    messages.success(
        request, _("%(name)s is disabled: sessions have ended, tokens are revoked.") % {"name": user.username}
    )
    return redirect("accounts:person", user.username)


@require_POST
def enable_person(request: HttpRequest, username: str) -> HttpResponse:
    user = queries.get_user(request.actor, username)
    services.enable_user(actor=request.actor, user=user, reason=request.POST.get("reason", "")[:2000])
    messages.success(request, _("%(name)s may log in again.") % {"name": user.username})
    return redirect("accounts:person", user.username)


@never_cache
@require_POST
def reset_person(request: HttpRequest, username: str) -> HttpResponse:
    """The new one-time password is in this answer and nowhere else."""
    user = queries.get_user(request.actor, username)
    password = services.reset_password(actor=request.actor, user=user)
    return render_person_page(request, queries.get_user(request.actor, username), password=password)


@require_POST
def reset_person_factor(request: HttpRequest, username: str) -> HttpResponse:
    user = queries.get_user(request.actor, username)
    services.reset_second_factor(actor=request.actor, user=user, reason=request.POST.get("reason", "")[:2000])
    messages.success(
        request, _("The second factor of %(name)s is removed: sessions have ended.") % {"name": user.username}
    )
    return redirect("accounts:person", user.username)


@require_POST
def confirm_person(request: HttpRequest, username: str) -> HttpResponse:
    """Confirm the credentials that another kind of administrator has set."""
    user, reason = queries.get_user(request.actor, username), request.POST.get("reason", "").strip()[:2000]
    try:
        services.confirm_credentials(actor=request.actor, user=user, reason=reason)
    except Refused:
        raise
    except PlaneError as error:
        refused = {"reason": reason, "why": f"{error.message} {error.hint or ''}".strip()}
        return render_person_page(request, user, status=error.status, refused_confirmation=refused)
    messages.success(request, _("The credentials of %(name)s are confirmed.") % {"name": user.username})
    return redirect("accounts:person", user.username)


@require_POST
def set_person_role(request: HttpRequest, username: str) -> HttpResponse:
    user = queries.get_user(request.actor, username)
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
    return render_person_page(request, user, status=422, role_form=form)


@require_POST
def set_person_expiry(request: HttpRequest, username: str) -> HttpResponse:
    """The day with which the account ends, in the reader's zone; an empty one takes the date away."""
    user = queries.get_user(request.actor, username)
    form = ExpiryForm(request.POST, prefix="expiry")
    if form.is_valid():
        day = form.cleaned_data["expires_at"]
        end = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min)) if day else None
        try:
            services.set_account_expiry(
                actor=request.actor, user=user, expires_at=end, reason=form.cleaned_data["reason"]
            )
            messages.success(request, _("The last day of the account is changed."))
            return redirect("accounts:person", user.username)
        except Refused:
            raise
        except PlaneError as error:
            show_refusal(form, error)
    return render_person_page(request, user, status=422, expiry_form=form)


@require_POST
def set_person_directory(request: HttpRequest, username: str) -> HttpResponse:
    """Open the account to the directory, or close it."""
    user, is_open = queries.get_user(request.actor, username), request.POST.get("open") == "1"
    services.set_directory_access(
        actor=request.actor, user=user, is_open=is_open, reason=request.POST.get("reason", "")[:2000]
    )
    opened = _("%(name)s is open to the directory: the first log-in there is bound to the account.")
    text = opened if is_open else _("%(name)s is closed to the directory: sessions have ended.")
    messages.success(request, text % {"name": user.username})
    return redirect("accounts:person", user.username)


@require_POST
def set_person_clearance(request: HttpRequest, username: str) -> HttpResponse:
    """The highest security label that the person may see."""
    user = queries.get_user(request.actor, username)
    policy.require(request.actor, "user.set_clearance", user)
    back = reverse("accounts:person", args=[user.username])
    if (answer := ask_for_fresh_factor(request, request.actor, "user.set_clearance", back=back)) is not None:
        return answer
    form = ClearanceForm(request.POST, prefix="clearance")
    if form.is_valid():
        try:
            services.set_clearance(actor=request.actor, user=user, **form.cleaned_data)
            messages.success(request, _("The clearance is set."))
            return redirect("accounts:person", user.username)
        except Refused:
            raise
        except PlaneError as error:
            show_refusal(form, error)
    return render_person_page(request, user, status=422, clearance_form=form)


@require_POST
def set_person_memberships(request: HttpRequest, username: str) -> HttpResponse:
    """The roles in one project; none of them removes the member."""
    user = queries.get_user(request.actor, username)
    form = MemberForm(request.POST, projects=list(queries.list_projects(request.actor)), prefix="member")
    if form.is_valid():
        fields = dict(form.cleaned_data)
        project = get_project(request.actor, fields.pop("project"))
        try:
            if fields["roles"]:
                services.set_member_roles(actor=request.actor, project=project, member=user, **fields)
            else:
                services.remove_member(actor=request.actor, project=project, member=user, reason=fields["reason"])
            messages.success(request, _("The roles in %(project)s are changed.") % {"project": project.slug})
            return redirect("accounts:person", user.username)
        except Refused:
            raise
        except PlaneError as error:
            show_refusal(form, error)
    return render_person_page(request, user, status=422, member_form=form)


# -- members of a project -------------------------------------------------------------------------------------------
@mark_list_view(MEMBERS.key)
@require_GET
def show_members(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/members: who belongs to the project, with which roles."""
    actor, where = get_project_context(request, project)
    table = build_members_table(actor, where, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "project": where,
        "count": table.total or 0,
        "may_see_people": policy.is_allowed(actor, "user.view"),
        "may_disable": policy.is_allowed(actor, "service_account.disable", where),
        "may_see_holds": policy.is_allowed(actor, "hold.view", where),
        "address": reverse("accounts:members", args=[where.slug]),
    }
    return render(request, "accounts/members.html", context, status=table.status)


@require_POST
def disable_service_account(request: HttpRequest, project: str, name: str) -> HttpResponse:
    where = get_project(request.actor, project)
    account = queries.get_service_account(request.actor, where, name)
    services.disable_service_account(actor=request.actor, account=account, reason=request.POST.get("reason", "")[:2000])
    messages.success(request, _("%(name)s is disabled and its tokens are revoked.") % {"name": account.name})
    return redirect("accounts:members", where.slug)
