"""Pages of schedules: the list, one with its times, and the form of a new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound, PlaneError, Refused
from apps.core.lists.listing import mark_list_view
from apps.core.lists.pages import paginate
from apps.core.messages import translate_error
from apps.core.request_values import parse_int
from apps.platform.accounts.forms import show_refusal
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from apps.platform.calendars import permissions, queries, services
from apps.platform.calendars.addresses import build_api_url, build_page_url
from apps.platform.calendars.forms import ScheduleForm, build_initial, format_request
from apps.platform.calendars.lists import SCHEDULES, build_schedules_table, get_target_label
from apps.platform.calendars.models import Occurrence, Schedule
from apps.platform.calendars.recurrence import MAX_CRON_LENGTH
from apps.platform.calendars.states import ScheduleState
from apps.platform.calendars.targets import SCHEDULE_TARGETS, list_target_keys


def get_owner(request: HttpRequest, project: str) -> tuple[Actor, Project | None]:
    """The actor, and the project of the address; None where the address is of the plane's own schedules."""
    if project:
        return get_project_context(request, project)
    return request.actor, None  # type: ignore[attr-defined]


def build_frame(where: Project | None, schedule: Schedule | None = None) -> dict[str, Any]:
    """What every page of schedules shows: its section of the navigation, and the addresses of its actions."""
    frame: dict[str, Any] = {"nav": "jobs" if where else "schedules", "is_of_plane": where is None}
    frame |= {"list_url": build_page_url("list", where), "new_url": build_page_url("new", where)}
    if schedule is None:
        return {**frame, "api_url": build_api_url("schedules", where)}
    actions = ("schedule", "pause", "resume", "delete")
    frame |= {f"{name}_url": build_page_url(name, where, schedule.pk) for name in actions}
    return {**frame, "api_url": build_api_url("schedule", where, schedule.pk)}


@mark_list_view(SCHEDULES.key)
@require_safe
def show_schedules(request: HttpRequest, project: str = "") -> HttpResponseBase:
    """/p/<slug>/schedules, /schedules."""
    actor, where = get_owner(request, project)
    table = build_schedules_table(actor, where, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        **build_frame(where),
        "may_create": permissions.is_allowed(actor, "schedule.create", where),
    }
    return render(request, "calendars/list.html", context, status=table.status)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create_schedule(request: HttpRequest, project: str = "") -> HttpResponse:
    """.../schedules/new?target=pipeline&from=7: the form, filled with the request of what was submitted."""
    actor, where = get_owner(request, project)
    permissions.require(actor, "schedule.create", where)
    if request.method != "POST":
        form = ScheduleForm(initial=copy_request(request, actor, where), project=where)
        return render(request, "calendars/new.html", {**build_frame(where), "form": form})
    form = ScheduleForm(request.POST, project=where)
    schedule = attempt(form, lambda: services.create_schedule(actor=actor, project=where, **form.cleaned_data))
    if schedule is None:
        return render(request, "calendars/new.html", {**build_frame(where), "form": form}, status=422)
    messages.success(request, _("The schedule %(name)s is created.") % {"name": schedule.name})
    return redirect(build_page_url("schedule", where, schedule.pk))


def copy_request(request: HttpRequest, actor: Actor, project: Project | None) -> dict[str, Any]:
    """What a new schedule begins with. An address that names nothing that is there begins with its target alone."""
    keys = list_target_keys(project)
    key, pk = request.GET.get("target", ""), parse_int(request.GET.get("from"))
    if key not in keys:
        if project is not None or not keys:
            return {}
        key = keys[0]
    target = SCHEDULE_TARGETS[key]
    initial = {"target": key, "cron": request.GET.get("cron", "")[:MAX_CRON_LENGTH]}
    try:
        body = dict(target.example) if pk is None else target.copy_request(actor, project, pk)
    except NotFound:
        return initial
    name = str(body.get("name", "") or request.GET.get("name", ""))[:60]
    return {**initial, "name": name, "request": format_request(body) if body or project is None else ""}


def attempt(form: ScheduleForm, write: Callable[[], Schedule]) -> Schedule | None:
    """What `write` returns; None, with errors on the form, where something is wrong."""
    if not form.is_valid():
        return None
    try:
        return write()
    except Refused:
        raise
    except PlaneError as failure:
        show_refusal(form, point_at_request(failure))
        return None


def point_at_request(failure: PlaneError) -> PlaneError:
    """The same error, those inside the request beside the one field that holds it."""
    for error in failure.errors:
        if str(error.get("field") or "").startswith("/request"):
            error["field"] = "request"
    return failure


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_schedule(request: HttpRequest, pk: int, project: str = "") -> HttpResponse:
    """.../schedules/<id>: a POST changes it."""
    actor, where = get_owner(request, project)
    schedule = queries.get_schedule(actor, where, pk)
    if request.method != "POST":
        return render_schedule(request, actor, schedule, ScheduleForm(initial=build_initial(schedule), project=where))
    permissions.require(actor, "schedule.update", schedule)
    form = ScheduleForm(request.POST, project=where)
    changed = attempt(form, lambda: update(actor, schedule, form.cleaned_data))
    if changed is None:
        return render_schedule(request, actor, schedule, form, status=422)
    messages.success(request, _("The schedule is changed."))
    return redirect(build_page_url("schedule", where, pk))


def update(actor: Actor, schedule: Schedule, fields: dict[str, Any]) -> Schedule:
    """Hand over what differs: an unchanged request stays its creator's."""
    changes = {name: value for name, value in fields.items() if getattr(schedule, name) != value}
    return services.update_schedule(actor=actor, schedule=schedule, **changes)


def render_schedule(
    request: HttpRequest, actor: Actor, schedule: Schedule, form: ScheduleForm, status: int = 200
) -> HttpResponse:
    page = paginate(queries.list_occurrences(schedule), request.GET)
    is_active = schedule.state == ScheduleState.ACTIVE
    context = {
        **build_frame(schedule.project, schedule),
        "schedule": schedule,
        "target_label": get_target_label(schedule.target),
        "coming": queries.list_coming_times(schedule),
        "rows": [{"occurrence": row, "url": build_subject_url(schedule, row)} for row in page.items],
        "page": page,
        "request_text": format_request(schedule.request),
        "form": form,
        "is_active": is_active,
        "may_update": permissions.is_allowed(actor, "schedule.update", schedule),
        "may_pause": is_active and permissions.is_allowed(actor, "schedule.pause", schedule),
        "may_resume": not is_active and permissions.is_allowed(actor, "schedule.resume", schedule),
        "may_read_trail": schedule.project is not None or policy.is_allowed(actor, "audit.view"),
        "may_delete": permissions.is_allowed(actor, "schedule.delete", schedule),
    }
    return render(request, "calendars/schedule.html", context, status=status)


def build_subject_url(schedule: Schedule, occurrence: Occurrence) -> str:
    """The page of what was submitted; empty where nothing was."""
    if not occurrence.subject_id or schedule.target not in SCHEDULE_TARGETS:
        return ""
    where = [schedule.project.slug] if schedule.project else []
    return reverse(SCHEDULE_TARGETS[schedule.target].url_name, args=[*where, occurrence.subject_id])


@require_POST
def pause(request: HttpRequest, pk: int, project: str = "") -> HttpResponseRedirect:
    reason = request.POST.get("reason", "").strip()[:500]
    return act(request, pk, project, lambda **who: services.pause_schedule(**who, reason=reason), _("Paused."))


@require_POST
def resume(request: HttpRequest, pk: int, project: str = "") -> HttpResponseRedirect:
    return act(request, pk, project, services.resume_schedule, _("Resumed."))


def act(
    request: HttpRequest, pk: int, project: str, service: Callable[..., Schedule], done: str
) -> HttpResponseRedirect:
    """Back to the schedule, with what was done or why it was not."""
    actor, where = get_owner(request, project)
    schedule = queries.get_schedule(actor, where, pk)
    try:
        service(actor=actor, schedule=schedule)
        messages.success(request, done)
    except Refused:
        raise
    except PlaneError as failure:
        messages.error(request, translate_error(failure))
    return redirect(build_page_url("schedule", where, pk))


@require_POST
def delete(request: HttpRequest, pk: int, project: str = "") -> HttpResponseRedirect:
    actor, where = get_owner(request, project)
    schedule = queries.get_schedule(actor, where, pk)
    services.delete_schedule(actor=actor, schedule=schedule, reason=request.POST.get("reason", "").strip()[:500])
    messages.success(request, _("The schedule %(name)s is deleted.") % {"name": schedule.name})
    return redirect(build_page_url("list", where))
