"""Pages of one's own notices: the list behind the bell, and by which channels one is told."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core import policy
from apps.core.lists.listing import mark_list_view
from apps.platform.accounts.models import User
from apps.platform.accounts.services import set_preferences
from apps.platform.audit.bulk_actions import get_return_url
from apps.platform.audit.list_export import export_list
from apps.platform.notices import queries, services
from apps.platform.notices.forms import AddressForm, read_choices
from apps.platform.notices.kinds import NOTICE_KINDS, list_personal_kinds
from apps.platform.notices.lists import ALL, NOTICES, UNREAD, build_notices_table
from apps.platform.notices.states import Channel


@mark_list_view(NOTICES.key)
@require_safe
def show_notices(request: HttpRequest) -> HttpResponseBase:
    """/notices: newest first; ?show=unread for what is not read."""
    actor = request.actor  # type: ignore[attr-defined]
    show = UNREAD if request.GET.get("show") == UNREAD else ALL
    table = build_notices_table(actor, request.GET, show)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    unread = queries.count_unread(actor)
    context = {**table.build_context(), "show": show, "unread": unread, "unread_limit": queries.MAX_COUNTED}
    return render(request, "notices/list.html", context, status=table.status)


@require_safe
def open_notice(request: HttpRequest, pk: int) -> HttpResponse:
    """/notices/<id>: marks it as read and leads to what it is about."""
    actor = request.actor  # type: ignore[attr-defined]
    notice = queries.get_notice(actor, pk)
    if notice.read_at is None:
        services.mark_read(actor=actor, ids=[notice.pk])
    is_local = url_has_allowed_host_and_scheme(notice.path, allowed_hosts=None)
    return redirect(notice.path if is_local else "inbox:list")


@require_POST
def mark_read(request: HttpRequest, pk: int) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    services.mark_read(actor=actor, ids=[queries.get_notice(actor, pk).pk])
    return redirect(get_return_url(request, "/notices"))


@require_POST
def mark_all_read(request: HttpRequest) -> HttpResponse:
    services.mark_all_read(actor=request.actor)  # type: ignore[attr-defined]
    messages.success(request, _("All notices are marked as read."))
    return redirect("inbox:list")


@require_http_methods(["GET", "HEAD", "POST"])
def show_preferences(request: HttpRequest) -> HttpResponse:
    """/account/notices: a table of kinds and channels, and the address of mails."""
    actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "notice.view")
    person: User = request.user  # type: ignore[assignment]
    form_name = request.POST.get("form", "channels") if request.method == "POST" else ""
    address = AddressForm(request.POST if form_name == "address" else None, initial={"email": person.email})
    if form_name == "address" and address.is_valid():
        set_preferences(actor=actor, email=address.cleaned_data["email"])
        messages.success(request, _("The address is saved."))
        return redirect("inbox:preferences")
    if form_name == "channels":
        services.set_notice_preferences(actor=actor, choices=read_choices(request.POST, list(Channel.values)))
        messages.success(request, _("Your choice is saved. It holds for notices from now on."))
        return redirect("inbox:preferences")
    choices = queries.list_choices(person.pk)
    rows = [
        {"key": key, "kind": NOTICE_KINDS[key], "channels": list(choices[key].items())}
        for key in list_personal_kinds(actor.system_role)
    ]
    context = {
        "rows": rows,
        "channels": Channel.labels,
        "mail_enabled": settings.MAIL_ENABLED,
        "form": address,
    }
    return render(request, "notices/preferences.html", context, status=422 if form_name else 200)
