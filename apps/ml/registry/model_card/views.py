"""The page that edits what people say about a model; its text is Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.core import policy
from apps.core.cards import CardField, CardForm, edit_card
from apps.ml.registry import queries
from apps.ml.registry.services import describe_model
from apps.ml.registry.services.models import MAX_DESCRIPTION_LENGTH, read_texts
from apps.platform.accounts.projects import get_project_context


@require_http_methods(["GET", "HEAD", "POST"])
def edit_model_card(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/models/<name>/card: the card of a model, which MLflow's clients know as its description."""
    actor, where = get_project_context(request, project)
    model = queries.get_model(actor, where, name)
    policy.require(actor, "model.annotate", model)
    doc = _(
        "Markdown with tables: what the model is for, what it was trained on, where it must not be used. "
        "HTML and images are not rendered."
    )

    def save(texts: Mapping[str, str], revision: str) -> None:
        if texts["description"] != model.description:
            describe_model(actor=actor, model=model, description=texts["description"], revision=revision)

    form = CardForm(
        name=model.name,
        nav="models",
        list_label=_("models"),
        list_address=reverse("registry:list", args=[where.slug]),
        address=reverse("registry:model", args=[where.slug, model.name]),
        fields=[
            CardField(name="description", label=_("Card"), doc=doc, limit=MAX_DESCRIPTION_LENGTH, is_markdown=True)
        ],
        read=lambda: read_texts(queries.get_model(actor, where, name)),
        save=save,
    )
    return edit_card(request, form)
