"""Pages of one monitor and of one alarm, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.core.lists.pages import paginate
from apps.core.messages import translate_error
from apps.core.policy import is_allowed, require
from apps.fleet.monitoring import presenters, queries, services
from apps.fleet.monitoring.forms import RuleForm
from apps.fleet.monitoring.models import Alarm, Monitor, Window
from apps.fleet.monitoring.retraining.forms import RetrainingForm
from apps.fleet.monitoring.retraining.presenters import describe_alarm_retraining, list_retraining_rows
from apps.fleet.monitoring.retraining.queries import find_alarm_retraining, list_retrainings
from apps.fleet.monitoring.retraining.serializers import find_plan
from apps.fleet.monitoring.retraining.states import CANCELLABLE, RetrainingState
from apps.fleet.monitoring.states import AlarmState, MonitorState
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline

REASON_LENGTH = 500
LISTED_RETRAININGS = 20  # of a monitor, the newest


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_monitor(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/monitors/<id>: a POST changes its rule."""
    actor, where = get_project_context(request, project)
    monitor = queries.get_monitor(actor, where, pk)
    if request.method != "POST":
        return render_monitor(request, actor, monitor, RuleForm.of(monitor))
    require(actor, "monitor.update", monitor)
    form = RuleForm(request.POST)
    if form.save(actor, monitor) is None:
        return render_monitor(request, actor, monitor, form, status=422)
    messages.success(request, _("The monitor is changed."))
    return redirect("monitoring:monitor", project=where.slug, pk=pk)


def render_monitor(
    request: HttpRequest,
    actor: Actor,
    monitor: Monitor,
    form: RuleForm,
    status: int = 200,
    plan_form: RetrainingForm | None = None,
) -> HttpResponse:
    period = request.GET.get("period", "")
    period = period if period in ("7d", "30d", "90d") else presenters.DEFAULT_PERIOD
    windows = queries.list_chart_points(monitor, presenters.get_period_days(period))
    last = Window(monitor=monitor, **windows[-1]._asdict()) if windows else None
    alarms = queries.list_alarms(actor, monitor.project, monitor=monitor.pk)
    page = paginate(alarms, request.GET)
    is_active = monitor.state == MonitorState.ACTIVE
    plan = find_plan(monitor)
    may_plan = is_allowed(actor, "monitor.set_retraining", monitor)
    retrainings = list_retrainings(actor, monitor.project, monitor=monitor).order_by("-pk")[:LISTED_RETRAININGS]
    context: dict[str, Any] = {
        "nav": "monitoring",
        "monitor": monitor,
        "scope": presenters.describe_scope(monitor),
        "rule": presenters.describe_rule(monitor),
        "last": presenters.describe_window(monitor, last),
        "filters": [presenters.build_period_filter(period)],
        "chart": presenters.build_chart(monitor, windows),
        **presenters.build_slices(monitor, last),
        "inputs": presenters.describe_drift(queries.list_drift_windows(monitor).order_by("-until").first()),
        "alarms": presenters.list_alarm_rows(page.items),
        "page": page,
        "form": form,
        "plan": plan,
        "plan_form": (plan_form or RetrainingForm.of(plan)) if may_plan else None,
        "retrainings": list_retraining_rows(list(retrainings)),
        "is_active": is_active,
        "may_update": is_allowed(actor, "monitor.update", monitor),
        "may_pause": is_active and is_allowed(actor, "monitor.pause", monitor),
        "may_resume": not is_active and is_allowed(actor, "monitor.resume", monitor),
        "may_delete": not page.items and is_allowed(actor, "monitor.delete", monitor),
    }
    return render(request, "monitoring/monitor.html", context, status=status)


@require_POST
def pause(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    reason = read_reason(request)
    return change(request, project, pk, lambda **who: services.pause_monitor(**who, reason=reason), _("Paused."))


@require_POST
def resume(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    return change(request, project, pk, services.resume_monitor, _("Resumed."))


@require_POST
def delete(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    monitor = queries.get_monitor(actor, where, pk)
    write = lambda: services.delete_monitor(actor=actor, monitor=monitor, reason=read_reason(request))  # noqa: E731
    if attempt(request, write, _("The monitor %(name)s is deleted.") % {"name": monitor.name}):
        return redirect("monitoring:list", project=where.slug)
    return redirect("monitoring:monitor", project=where.slug, pk=pk)


def change(
    request: HttpRequest, project: str, pk: int, service: Callable[..., Monitor], done: str
) -> HttpResponseRedirect:
    """Back to the monitor, with what was done or why it was not."""
    actor, where = get_project_context(request, project)
    monitor = queries.get_monitor(actor, where, pk)
    attempt(request, lambda: service(actor=actor, monitor=monitor), done)
    return redirect("monitoring:monitor", project=where.slug, pk=pk)


# -- alarms ---------------------------------------------------------------------------------------------------------
@require_safe
def show_alarm(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/alarms/<id>: its evidence."""
    actor, where = get_project_context(request, project)
    alarm = queries.get_alarm(actor, where, pk)
    retraining = find_alarm_retraining(actor, alarm)
    is_open, is_read = alarm.state == AlarmState.OPEN, alarm.state == AlarmState.ACKNOWLEDGED
    context: dict[str, Any] = {
        "nav": "monitoring",
        "alarm": alarm,
        "monitor": alarm.monitor,
        "colour": presenters.STATE_COLOURS[AlarmState(alarm.state)],
        "rule": presenters.describe_rule(alarm.monitor),
        "scope": presenters.describe_scope(alarm.monitor),
        "is_open": is_open,
        "may_acknowledge": is_open and is_allowed(actor, "alarm.acknowledge", alarm),
        "may_close": is_read and is_allowed(actor, "alarm.close", alarm),
        "events": get_timeline(actor, "alarm", alarm.pk, limit=10),
        "retraining": describe_alarm_retraining(retraining),
        "may_retry": retraining is not None
        and retraining.state == RetrainingState.REFUSED
        and is_allowed(actor, "retraining.retry", retraining),
        "may_cancel": retraining is not None
        and retraining.state in CANCELLABLE
        and is_allowed(actor, "retraining.cancel", retraining),
        **presenters.describe_evidence(alarm),
    }
    return render(request, "monitoring/alarm.html", context)


@require_POST
def acknowledge(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    reason = read_reason(request)
    return answer(
        request, project, pk, lambda **who: services.acknowledge_alarm(**who, reason=reason), _("Acknowledged.")
    )


@require_POST
def close(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    reason = read_reason(request)
    return answer(request, project, pk, lambda **who: services.close_alarm(**who, reason=reason), _("Closed."))


def answer(
    request: HttpRequest, project: str, pk: int, service: Callable[..., Alarm], done: str
) -> HttpResponseRedirect:
    """Back to the alarm, with what was done or why it was not."""
    actor, where = get_project_context(request, project)
    alarm = queries.get_alarm(actor, where, pk)
    attempt(request, lambda: service(actor=actor, alarm=alarm), done)
    return redirect("monitoring:alarm", project=where.slug, pk=pk)


def attempt(request: HttpRequest, write: Callable[[], Any], done: str) -> bool:
    try:
        write()
    except Refused:
        raise
    except PlaneError as failure:
        messages.error(request, translate_error(failure))
        return False
    messages.success(request, done)
    return True


def read_reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip()[:REASON_LENGTH]
