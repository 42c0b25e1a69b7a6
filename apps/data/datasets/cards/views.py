"""The page that edits what is said about a dataset, and what the dataset's own page shows of it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.markdown import MAX_CHARACTERS, render_markdown
from apps.core.policy import is_allowed
from apps.data.datasets import queries
from apps.data.datasets.cards.services import describe_dataset
from apps.data.datasets.models import Dataset
from apps.data.datasets.presenters import get_missing_shares
from apps.platform.accounts.projects import get_project_context

MAX_TREND_VERSIONS = 60  # the newest; more are not told apart in a small chart
FIELDS = ("description", "keywords", "card")


@require_http_methods(["GET", "HEAD", "POST"])
def edit_card(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/data/<name>/card: description, keywords and card; POST saves them, or with `op=preview` shows them."""
    actor, in_project = get_project_context(request, project)
    dataset = queries.get_dataset(actor, in_project, name)
    policy.require(actor, "dataset.describe", dataset)
    values = {"description": dataset.description, "keywords": dataset.keywords, "card": dataset.card}
    wrong: Invalid | None = None
    if request.method == "POST":
        values = {field: request.POST.get(field, "")[: MAX_CHARACTERS + 1] for field in FIELDS}
        try:
            if request.POST.get("op") != "preview":
                keywords = values["keywords"].split(",")
                describe_dataset(
                    actor=actor,
                    dataset=dataset,
                    description=values["description"],
                    card=values["card"],
                    keywords=keywords,
                )
                messages.success(request, _("The card of %(name)s is saved.") % {"name": dataset.name})
                return redirect("datasets:dataset", project=in_project.slug, name=dataset.name)
        except Invalid as error:
            wrong = error
    context = {
        "nav": "data",
        "dataset": dataset,
        "values": values,
        "wrong": wrong,
        "preview": render_markdown(values["card"]) if values["card"] else "",
        "limit": MAX_CHARACTERS,
    }
    return render(request, "datasets/card_edit.html", context, status=wrong.status if wrong else 200)


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
