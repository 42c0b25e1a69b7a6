"""The page that edits what people say about a model; its text is Markdown."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.markdown import render_markdown
from apps.ml.registry import queries
from apps.ml.registry.services import describe_model
from apps.ml.registry.services.models import MAX_DESCRIPTION_LENGTH
from apps.platform.accounts.projects import get_project_context


@require_http_methods(["GET", "HEAD", "POST"])
def edit_description(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/models/<name>/card: POST saves the text, or with `op=preview` shows it."""
    actor, where = get_project_context(request, project)
    model = queries.get_model(actor, where, name)
    policy.require(actor, "model.annotate", model)
    text, wrong = model.description, None
    if request.method == "POST":
        text = request.POST.get("description", "").replace("\r\n", "\n")[: MAX_DESCRIPTION_LENGTH + 1].strip()
        try:
            if request.POST.get("op") != "preview":
                if text != model.description:
                    describe_model(actor=actor, model=model, description=text)
                messages.success(request, _("The card of %(name)s is saved.") % {"name": model.name})
                return redirect("registry:model", project=where.slug, name=model.name)
        except Invalid as error:
            wrong = error
    context = {
        "nav": "models",
        "model": model,
        "text": text,
        "wrong": wrong,
        "preview": render_markdown(text) if text else "",
        "limit": MAX_DESCRIPTION_LENGTH,
    }
    return render(request, "registry/card_edit.html", context, status=wrong.status if wrong else 200)
