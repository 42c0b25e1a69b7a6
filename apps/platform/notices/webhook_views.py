"""Pages of the webhooks of a project. The security administrator configures them; members see them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.core.lists.pages import paginate
from apps.core.messages import translate_error
from apps.platform.accounts.forms import show_refusal
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.notices import queries, services
from apps.platform.notices.forms import WebhookForm
from apps.platform.notices.lists import get_kind_label
from apps.platform.notices.models import Webhook
from apps.platform.notices.states import OPEN_DELIVERIES, WebhookState
from apps.platform.notices.validation import HOSTS_SETTING


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_webhooks(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/webhooks: a POST creates one; its secret is in that answer and nowhere else."""
    actor, where = get_project_context(request, project)
    if request.method != "POST":
        return render_webhooks(request, actor, where, WebhookForm())
    policy.require(actor, "webhook.configure", where)
    form = WebhookForm(request.POST)
    if form.is_valid():
        try:
            webhook, secret = services.create_webhook(actor=actor, project=where, **form.cleaned_data)
        except Refused:
            raise
        except PlaneError as failure:
            show_refusal(form, failure)
        else:
            return render_webhook(request, actor, where, webhook, secret=secret)
    return render_webhooks(request, actor, where, form, status=422)


def render_webhooks(
    request: HttpRequest, actor: Actor, where: Project, form: WebhookForm, status: int = 200
) -> HttpResponse:
    page = paginate(queries.list_webhooks(actor, where), request.GET)
    context = {
        "rows": [describe_webhook(webhook) for webhook in page.items],
        "page": page,
        "form": form,
        "may_configure": policy.is_allowed(actor, "webhook.configure", where),
        **build_hosts_context(),
    }
    return render(request, "notices/webhooks.html", context, status=status)


def build_hosts_context() -> dict[str, Any]:
    return {"hosts": ", ".join(settings.NOTICE_HOSTS), "hosts_setting": HOSTS_SETTING}


def describe_webhook(webhook: Webhook) -> dict[str, Any]:
    return {"webhook": webhook, "kinds": [get_kind_label(kind) for kind in webhook.kinds]}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_webhook(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/webhooks/<id>: a POST changes it."""
    actor, where = get_project_context(request, project)
    webhook = queries.get_webhook(actor, where, pk)
    if request.method != "POST":
        return render_webhook(request, actor, where, webhook)
    policy.require(actor, "webhook.configure", webhook)
    form = WebhookForm(request.POST)
    if form.is_valid():
        try:
            services.update_webhook(actor=actor, webhook=webhook, **form.cleaned_data)
            messages.success(request, _("The webhook is changed."))
            return redirect("notices:webhook", project=where.slug, pk=pk)
        except Refused:
            raise
        except PlaneError as failure:
            show_refusal(form, failure)
    return render_webhook(request, actor, where, webhook, form=form, status=422)


def render_webhook(
    request: HttpRequest, actor: Actor, where: Project, webhook: Webhook, *, status: int = 200, **over: Any
) -> HttpResponse:
    deliveries = queries.list_deliveries(webhook)
    context = {
        **describe_webhook(webhook),
        "is_enabled": webhook.state == WebhookState.ENABLED,
        "deliveries": deliveries,
        "is_waiting": any(delivery.state in OPEN_DELIVERIES for delivery in deliveries),
        "shows_url": queries.shows_url(actor, where),
        "may_configure": policy.is_allowed(actor, "webhook.configure", where),
        "form": WebhookForm(initial={"name": webhook.name, "url": webhook.url, "kinds": webhook.kinds}),
        **build_hosts_context(),
        **over,
    }
    return render(request, "notices/webhook.html", context, status=status)


@never_cache
@require_POST
def renew_secret(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """The new secret is in this answer and nowhere else."""
    actor, where = get_project_context(request, project)
    webhook = queries.get_webhook(actor, where, pk)
    webhook, secret = services.renew_webhook_secret(actor=actor, webhook=webhook)
    return render_webhook(request, actor, where, webhook, secret=secret)


@require_POST
def enable(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    webhook = queries.get_webhook(actor, where, pk)
    return act(request, where, pk, lambda: services.enable_webhook(actor=actor, webhook=webhook), _("Enabled."))


@require_POST
def test(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    webhook = queries.get_webhook(actor, where, pk)
    done = _("A test message is queued. The deliveries below say what becomes of it.")
    return act(request, where, pk, lambda: services.queue_test_message(actor=actor, webhook=webhook), done)


def act(request: HttpRequest, where: Project, pk: int, work: Any, done: str) -> HttpResponse:
    """Back to the webhook, with what was done or why it was not."""
    try:
        work()
        messages.success(request, done)
    except Refused:
        raise
    except PlaneError as failure:
        messages.error(request, translate_error(failure))
    return redirect("notices:webhook", project=where.slug, pk=pk)


@require_POST
def delete(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    webhook = queries.get_webhook(actor, where, pk)
    services.delete_webhook(actor=actor, webhook=webhook, reason=request.POST.get("reason", "").strip())
    messages.success(request, _("The webhook %(name)s is deleted.") % {"name": webhook.name})
    return redirect("notices:webhooks", project=where.slug)
