"""The list of experiments of a project: each leads to its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.ml.experiments import queries
from apps.ml.experiments.models import Experiment, Run
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

EXPERIMENTS = Listing(
    "experiments",
    (
        Column("name", gettext_lazy("Experiment"), lambda row: row.name, ("name",)),
        Column("number", gettext_lazy("ID"), lambda row: row.number, ("number",), numeric=True, down=True),
        Column("newest", gettext_lazy("Newest run"), lambda row: row.newest and row.newest.name),
        Column("started", gettext_lazy("Started"), lambda row: row.newest and row.newest.started_at),
        Column("by", gettext_lazy("By"), lambda row: row.created_by),
        Column("updated", gettext_lazy("Changed"), lambda row: row.updated_at, ("updated_at", "number"), down=True),
        Column("made", gettext_lazy("Created"), lambda row: row.created_at, ("created_at", "-number"), down=True),
    ),
    sort="-updated",
)


@mark_list_view(EXPERIMENTS.key)
@require_safe
def show_experiments(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/experiments: what changed last comes first."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, ("name",))
    rows = queries.list_experiments(actor, where)
    table = build_table(
        EXPERIMENTS,
        request.GET,
        lambda: rows.filter(name__icontains=filters["name"]) if filters["name"] else rows,
        filters=[{"name": "name", "label": _("Name"), "value": filters["name"]}],
        transform_rows=add_newest_runs,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {**table.build_context(), "nav": "experiments", "count": rows.count()}
    return render(request, "experiments/experiments.html", context, status=table.status)


def add_newest_runs(experiments: Sequence[Experiment]) -> Sequence[Any]:
    """Each with its `newest` run that was not deleted, or None; one query more."""
    keys = [row.pk for row in experiments]
    runs = Run.objects.active().filter(experiment=OuterRef("pk")).order_by("-started_at", "-pk").values("pk")[:1]
    newest = Experiment.objects.filter(pk__in=keys).annotate(newest=Subquery(runs)).values("newest")
    by_experiment = {
        run.experiment_id: run for run in Run.objects.filter(pk__in=newest).defer("environment", "figures")
    }
    for row in experiments:
        row.newest = by_experiment.get(row.pk)  # type: ignore[attr-defined]
    return experiments
