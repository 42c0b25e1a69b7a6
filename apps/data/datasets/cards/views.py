"""The page that edits what is said about a dataset, and what the dataset's own page shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.core import policy
from apps.core.actors import Actor
from apps.core.cards import CardField, CardForm, edit_card
from apps.core.markdown import MAX_CHARACTERS, render_markdown
from apps.core.policy import is_allowed
from apps.data.datasets import queries
from apps.data.datasets.cards.services import describe_dataset, read_texts
from apps.data.datasets.models import Dataset
from apps.data.datasets.presenters import get_missing_shares
from apps.platform.accounts.projects import get_project_context

MAX_TREND_VERSIONS = 60  # the newest; more are not told apart in a small chart
MAX_DESCRIPTION, MAX_KEYWORDS_TEXT = 500, 900  # characters


@require_http_methods(["GET", "HEAD", "POST"])
def edit_dataset_card(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/data/<name>/card: description, keywords and card of a dataset."""
    actor, in_project = get_project_context(request, project)
    dataset = queries.get_dataset(actor, in_project, name)
    policy.require(actor, "dataset.describe", dataset)

    def save(texts: Mapping[str, str], revision: str) -> Dataset:
        keywords = texts["keywords"].split(",")
        return describe_dataset(
            actor=actor,
            dataset=dataset,
            revision=revision,
            description=texts["description"],
            card=texts["card"],
            keywords=keywords,
        )

    form = CardForm(
        name=dataset.name,
        nav="data",
        list_label=_("data"),
        list_address=reverse("datasets:list", args=[in_project.slug]),
        address=reverse("datasets:dataset", args=[in_project.slug, dataset.name]),
        fields=build_card_fields(),
        read=lambda: read_texts(queries.get_dataset(actor, in_project, name)),
        save=save,
    )
    return edit_card(request, form)


def build_card_fields() -> list[CardField]:
    card_doc = _(
        "Markdown with tables: where the data come from, what the columns mean, what it may be used for. "
        "HTML and images are not rendered."
    )
    return [
        CardField(
            name="description",
            label=_("Description"),
            doc=_("One sentence; lists and the search show it."),
            limit=MAX_DESCRIPTION,
        ),
        CardField(
            name="keywords", label=_("Keywords"), doc=_("Separated by commas, up to 20."), limit=MAX_KEYWORDS_TEXT
        ),
        CardField(name="card", label=_("Card"), doc=card_doc, limit=MAX_CHARACTERS, is_markdown=True),
    ]


def build_card_context(actor: Actor, dataset: Dataset) -> dict[str, Any]:
    """The card as HTML, and the trend of rows, bytes and missing cells over the versions. One query."""
    return {
        "card_html": render_markdown(dataset.card) if dataset.card else "",
        "may_describe": is_allowed(actor, "dataset.describe", dataset),
        "trends": build_trends(actor, dataset),
    }


def build_trends(actor: Actor, dataset: Dataset) -> list[dict[str, Any]]:
    """{label, chart} of each figure that at least two versions have."""
    fields = ("number", "rows", "size", "quality_id")
    newest = queries.list_versions(actor, dataset).order_by("-number").values_list(*fields)[:MAX_TREND_VERSIONS]
    rows = list(newest)[::-1]
    shares = get_missing_shares(row[3] for row in rows)
    figures = (
        (_("Rows"), _("rows"), [(row[0], row[1]) for row in rows]),
        (_("Size"), "MB", [(row[0], row[2] / 1e6) for row in rows]),
        (_("Missing"), "%", [(row[0], shares[row[3]] * 100 if row[3] in shares else None) for row in rows]),
    )
    return [
        {
            "label": label,
            "chart": {
                "id": f"trend-{place}",
                "series": [{"label": label, "points": points}],
                "x_unit": _("version"),
                "y_unit": unit,
                "holding": (0,),
                "small": True,
            },
        }
        for place, (label, unit, points) in enumerate(figures)
        if sum(value is not None for _number, value in points) > 1
    ]
