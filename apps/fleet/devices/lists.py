"""The list of devices, of the tokens by which they enrol, and of groups of devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.core.messages import translate_message
from apps.core.policy import is_allowed, require
from apps.fleet.devices import presenters, queries, services
from apps.fleet.devices.forms import EnrolmentTokenForm, GroupForm
from apps.fleet.devices.models import DeviceQuerySet
from apps.fleet.devices.states import Architecture, DeviceKind, DeviceState, Health
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

Row = dict[str, Any]


def read_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["device"], name)


def read_key(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


DEVICES = Listing(
    "devices",
    (
        Column("name", pgettext_lazy("fleet", "Device"), read_field("name"), ("name", "id")),
        Column("state", gettext_lazy("State"), read_field("state")),
        Column("health", gettext_lazy("Health"), read_key("health")),
        Column("runs", gettext_lazy("Runs"), read_key("runs")),
        Column("architecture", gettext_lazy("Architecture"), read_field("architecture")),
        Column("tags", gettext_lazy("Tags"), read_key("tags_text")),
        Column(
            "seen",
            gettext_lazy("Last seen"),
            read_key("last_seen"),
            ("telemetry__last_seen", "id"),
            down=True,
            sparse=True,
        ),
        Column("kind", gettext_lazy("Kind"), read_field("kind"), default_visible=False),
        Column("agent", gettext_lazy("Agent"), read_field("agent_version"), default_visible=False),
        Column("enrolled", gettext_lazy("Enrolled"), read_field("enrolled_at"), ("id",), down=True),
    ),
    sort="-enrolled",
)
TOKENS = Listing(
    "enrolment-tokens",
    (
        Column("name", gettext_lazy("Token"), lambda row: row["token"].name),
        Column("state", gettext_lazy("State"), read_key("state")),
        Column("uses", gettext_lazy("Uses"), read_key("uses"), numeric=True),
        Column("expires", gettext_lazy("Expires"), lambda row: row["token"].expires_at),
        Column("by", gettext_lazy("By"), lambda row: row["token"].created_by),
        Column("made", gettext_lazy("Created"), lambda row: row["token"].created_at, ("id",), down=True),
    ),
    sort="-made",
)
GROUPS = Listing(
    "device-groups",
    (
        Column("name", gettext_lazy("Group"), lambda group: group.name, ("name",)),
        Column("query", gettext_lazy("Query"), lambda group: group.query),
        Column("description", gettext_lazy("Description"), lambda group: group.description),
        Column("by", gettext_lazy("By"), lambda group: group.created_by),
        Column("made", gettext_lazy("Created"), lambda group: group.created_at, ("id",), down=True),
    ),
    sort="name",
)


@mark_list_view(DEVICES.key)
@require_safe
def show_devices(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/devices: the newest first."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, queries.FILTERS)
    table = build_table(
        DEVICES,
        request.GET,
        lambda: narrow_for_sort(queries.list_devices(actor, where, filters), where, request.GET.get("sort", "")),
        filters=build_device_filters(actor, where, filters),
        transform_rows=presenters.summarize_devices,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "devices",
        "counts": presenters.summarize_counts(where),
        "running": presenters.summarize_running(where),
        "may_enrol": is_allowed(actor, "device.create_enrolment_token", where),
    }
    return render(request, "devices/list.html", context, status=table.status)


def narrow_for_sort(rows: DeviceQuerySet, project: Project, sort: str) -> DeviceQuerySet:
    """The same rows. Those that were seen are in order in the index of the telemetry, which begins with the project."""
    return rows.filter(telemetry__project=project) if sort.lstrip("-") == "seen" else rows


def build_device_filters(actor: Actor, project: Project, filters: dict[str, str]) -> list[dict[str, Any]]:
    def choose(name: str, label: str, every: str, choices: list[tuple[str, Any]]) -> dict[str, Any]:
        words = [("", every), *((value, str(word)) for value, word in choices)]
        return {"name": name, "label": label, "value": filters[name], "choices": words}

    presence_choices = [("online", _("Online")), ("offline", _("Offline")), ("never", _("Never"))]
    groups = [(group.name, group.name) for group in queries.list_groups(actor, project).order_by("name")[:200]]
    fields = [
        {"name": "name", "label": _("Name"), "value": filters["name"]},
        choose("state", _("State"), _("Every state"), DeviceState.choices),
        choose("health", _("Health"), _("Every health"), Health.choices),
        choose("seen", _("Last seen"), _("Online or not"), presence_choices),
        choose("architecture", _("Architecture"), _("Every architecture"), Architecture.choices),
        choose("kind", _("Kind"), _("Every kind"), DeviceKind.choices),
        {
            "name": "query",
            "label": _("Query"),
            "value": filters["query"],
            "type": "text",
            "placeholder": "tag.site = 'berlin' AND architecture = 'aarch64'",
        },
    ]
    for name, label in (("running", _("Runs release")), ("mismatch", _("Says it runs something else"))):
        if filters[name]:  # led to by a link; there is no field of it before
            fields.append({"name": name, "label": label, "value": filters[name]})
    if groups or filters["group"]:
        fields.insert(1, choose("group", _("Group"), _("Every group"), groups))
    return fields


# -- enrolment tokens -----------------------------------------------------------------------------------------------
@mark_list_view(TOKENS.key)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_tokens(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/devices/enrolment. A new token's secret is in the answer to the POST and nowhere else."""
    actor, where = get_project_context(request, project)
    form, secret, token = EnrolmentTokenForm(), "", None
    if request.method == "POST":
        require(actor, "device.create_enrolment_token", where)
        form = EnrolmentTokenForm(request.POST)
        token, secret = form.save(actor, where)
        if token is not None:
            form = EnrolmentTokenForm()
    table = build_table(
        TOKENS,
        request.GET,
        lambda: queries.list_enrolment_tokens(actor, where),
        filters=[],
        transform_rows=presenters.summarize_tokens,
    )
    if request.method != "POST" and request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "devices",
        "form": form,
        "secret": secret,
        "token": token,
        "command": presenters.build_enrol_command(request.build_absolute_uri("/").rstrip("/")),
        "may_create": is_allowed(actor, "device.create_enrolment_token", where),
        "may_revoke": is_allowed(actor, "device.revoke_enrolment_token", where),
    }
    failed = request.method == "POST" and token is None
    return render(request, "devices/tokens.html", context, status=422 if failed else table.status)


@require_POST
def revoke_token(request: HttpRequest, project: str, token: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    row = queries.get_enrolment_token(actor, where, token)
    try:
        reason = request.POST.get("reason", "").strip()[:500]
        services.revoke_enrolment_token(actor=actor, token=row, reason=reason)
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("The token %(name)s is revoked.") % {"name": row.name})
    return redirect("devices:tokens", project=where.slug)


# -- groups ---------------------------------------------------------------------------------------------------------
@mark_list_view(GROUPS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_groups(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/devices/groups: saved queries; a POST saves one."""
    actor, where = get_project_context(request, project)
    form, status = GroupForm({"query": request.GET.get("query", "")}), 200
    if request.method == "POST":
        require(actor, "device.save_group", where)
        form = GroupForm(request.POST)
        group = form.save(actor, where)
        if group is not None:
            messages.success(request, _("The group %(name)s is saved.") % {"name": group.name})
            return redirect("devices:groups", project=where.slug)
        status = 422
    table = build_table(GROUPS, request.GET, lambda: queries.list_groups(actor, where), filters=[])
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "devices",
        "form": form,
        "may_save": is_allowed(actor, "device.save_group", where),
        "may_delete": is_allowed(actor, "device.delete_group", where),
    }
    return render(request, "devices/groups.html", context, status=status if status != 200 else table.status)


@require_POST
def delete_group(request: HttpRequest, project: str, group: str) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    services.delete_group(actor=actor, group=queries.get_group(actor, where, group))
    messages.success(request, _("The group %(name)s is deleted.") % {"name": group})
    return redirect("devices:groups", project=where.slug)
