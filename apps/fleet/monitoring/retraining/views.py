"""What is done about retraining in a browser: plan it, take the plan away, cancel one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.core.policy import require
from apps.fleet.monitoring import queries as monitoring
from apps.fleet.monitoring import services
from apps.fleet.monitoring.forms import RuleForm
from apps.fleet.monitoring.retraining import queries
from apps.fleet.monitoring.retraining.forms import RetrainingForm
from apps.fleet.monitoring.views import attempt, read_reason, render_monitor
from apps.platform.accounts.projects import get_project_context


@require_POST
def set_plan(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    monitor = monitoring.get_monitor(actor, where, pk)
    require(actor, "monitor.set_retraining", monitor)
    form = RetrainingForm(request.POST)
    if form.save(actor, monitor) is None:
        return render_monitor(request, actor, monitor, RuleForm.of(monitor), status=422, plan_form=form)
    messages.success(request, _("The plan of retraining is saved."))
    return redirect("monitoring:monitor", project=where.slug, pk=pk)


@require_POST
def remove_plan(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    monitor = monitoring.get_monitor(actor, where, pk)
    reason = read_reason(request)
    attempt(
        request,
        lambda: services.remove_retraining_plan(actor=actor, monitor=monitor, reason=reason),
        _("Nothing is trained again by itself any more."),
    )
    return redirect("monitoring:monitor", project=where.slug, pk=pk)


@require_POST
def cancel(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    retraining = queries.get_retraining(actor, where, pk)
    reason = read_reason(request)
    attempt(
        request,
        lambda: services.cancel_retraining(actor=actor, retraining=retraining, reason=reason),
        _("The retraining is cancelled."),
    )
    return redirect("monitoring:alarm", project=where.slug, pk=retraining.alarm_id)


@require_POST
def retry(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    retraining = queries.get_retraining(actor, where, pk)
    attempt(
        request,
        lambda: services.retry_retraining(actor=actor, retraining=retraining),
        _("The retraining begins."),
    )
    return redirect("monitoring:alarm", project=where.slug, pk=retraining.alarm_id)
