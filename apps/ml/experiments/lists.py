"""The run list, with dynamic columns for the metrics and params of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.lists.listing import (
    Column,
    Listing,
    ListTable,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    mark_list_view,
    parse_list_query,
    parse_names,
    read_filter_values,
)
from apps.core.lists.pages import DEFAULT_LIMIT
from apps.core.policy import is_allowed
from apps.ml.experiments import group_bar, presenters, queries
from apps.ml.experiments.filters.grammar import FilterError
from apps.ml.experiments.models import Metric, Run, RunParam, RunTag
from apps.ml.experiments.nesting import build_children_query, load_nesting, order_as_tree
from apps.ml.experiments.queries import BY_METRIC, Columns, RunFilters
from apps.ml.experiments.ranking import rank_runs
from apps.ml.experiments.states import RunState
from apps.ml.experiments.workspace import tree
from apps.ml.experiments.workspace.page import build_list_context
from apps.ml.experiments.workspace.ranking_text import describe_ranking
from apps.ml.experiments.workspace.run_data import format_links, load_run_datasets, load_run_models
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from apps.platform.jobs.kinds import KINDS

LISTED = 3  # metrics, and params, that a list opens with
ABOVE_GROUPS = 20  # runs of a page with groups below: they are what was asked for
EXPERIMENTS = 100  # that the filter offers
TAGS = 20  # of a run, on average, that the list reads
BY_PARAM = "params."
KEY_LIMIT = 250
DATASET, MODEL = "dataset", "model"
Row = dict[str, Any]  # {run, metrics: {key: Metric}, params: {key: text}, tags, datasets: [RunLink], models: [RunLink]}


def read_run_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["run"], name)


def format_tags(tags: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{key}={value}" for key, value in tags)


def get_duration_seconds(row: Row) -> float | None:
    took = row["run"].took
    return took.total_seconds() if took else None


def build_metric_column(key: str, *, picked: bool = True) -> Column:
    """A column of the newest values of one metric; the list ordered by it walks the metric's own index."""

    def get_value(row: Row) -> float | None:
        metric = row["metrics"].get(key)
        return metric.number if metric else None

    return Column(f"{BY_METRIC}{key}", key, get_value, ("value", "run_id"), numeric=True, default_visible=picked)


def build_param_column(key: str, *, picked: bool = True) -> Column:
    return Column(f"{BY_PARAM}{key}", key, lambda row: row["params"].get(key), default_visible=picked)


HEAD = (
    Column("run", gettext_lazy("Run"), read_run_field("name"), ("name", "id")),
    Column("id", gettext_lazy("Id"), read_run_field("pk"), default_visible=False),
    Column("status", gettext_lazy("Status"), read_run_field("state"), ("state", "-started_at", "-id")),
    Column("kind", gettext_lazy("Kind"), read_run_field("kind"), ("kind", "-started_at", "-id"), default_visible=False),
    Column("experiment", gettext_lazy("Experiment"), lambda row: row["run"].experiment.name, default_visible=False),
    Column("tags", gettext_lazy("Tags"), lambda row: format_tags(row["tags"]), default_visible=False),
)
LINKS = (
    Column(DATASET, gettext_lazy("Dataset"), lambda row: format_links(row["datasets"])),
    Column(MODEL, gettext_lazy("Model"), lambda row: format_links(row["models"])),
)
TAIL = (
    Column("by", gettext_lazy("By"), read_run_field("created_by"), ("created_by", "-started_at", "-id")),
    Column("started", gettext_lazy("Started"), read_run_field("started_at"), ("started_at", "id"), down=True),
    Column("ended", gettext_lazy("Ended"), read_run_field("ended_at"), default_visible=False),
    Column("took", gettext_lazy("Duration"), get_duration_seconds, numeric=True),
)
NAME = "runs"


def build_listing(params: Sequence[Column], metrics: Sequence[Column], *, grouped: bool = False) -> Listing:
    """`grouped`: the page is about groups of runs, and of its few runs it names data and models only on request."""
    links = [replace(column, default_visible=not grouped) for column in LINKS]
    return Listing(NAME, (*HEAD, *params, *metrics, *links, *TAIL), sort="-started")


def parse_column_keys(names: Sequence[str], prefix: str) -> list[str]:
    """The metrics, or params, that a query names."""
    keys = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return [key for key in keys if 0 < len(key) <= KEY_LIMIT and "\x00" not in key]


# -- the list -------------------------------------------------------------------------------------------------------
@mark_list_view(NAME)
@require_safe
def run_list(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/runs: newest first or by a metric, narrowed by the query; nonsense is said, and shows nothing."""
    actor, where = get_project_context(request, project)
    table, columns = build_run_table(actor, where, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    key = get_ordering_metric(table.query.sort)
    runs = [row["run"] for row in table.rows]
    ranking = rank_runs(runs, columns.metrics, presenters.get_directions(runs, columns.metrics), columns.values)
    context = {
        **table.build_context(),
        "nav": "runs",
        "ranking": describe_ranking(ranking, table.rows, request.GET),
        "is_tree": tree.is_tree(request.GET),
        "ordered_by": key,
        "metric_keys": columns.metrics,
        "most": queries.COMPARED_RUNS_LIMITS[1],
        "counts": count_run_states(actor, where),
        "may_submit": is_allowed(actor, "job.submit", where),
        "may_annotate": is_allowed(actor, "run.annotate", where),
        "drawn": {"params": list_shown_keys(table, BY_PARAM), "metrics": list_shown_keys(table, BY_METRIC)},
        "first_ids": ",".join(run.pk for run in runs[:2]),
        "points_key": f"&{urlencode({'key': columns.metrics[0]})}" if columns.metrics else "",
        **build_list_context(request, where),
    }
    if table.wrong is None:
        fit = table.source if not key else None  # ordered by a metric it is of values
        context |= group_bar.build_group_context(
            request.GET, columns, runs, lambda: list_matching_runs(actor, where, request.GET) if fit is None else fit
        )
    wrong = table.wrong or context.get("wrong_group")
    return render(request, "experiments/list.html", context, status=wrong.status if wrong else 200)


def list_matching_runs(actor: Actor, project: Project, params: QueryDict) -> QuerySet[Run]:
    """Return the runs that match the filters of the list, in any order."""
    params_without_sort = params.copy()
    params_without_sort.pop("sort", None)
    runs: QuerySet[Run] = filter_runs(actor, project, params_without_sort, read_filters(params_without_sort))
    return runs


def read_filters(params: QueryDict) -> dict[str, str]:
    """A filter in the language is longer than a field of text may be; too long a one is refused, not cut."""
    return read_filter_values(params, (*queries.FILTERS, "by")) | {"filter": params.get("filter", "").strip()}


def list_shown_keys(table: ListTable, prefix: str) -> list[str]:
    """The metrics, or params, that have a column on this page, in its order."""
    return parse_column_keys([column.key for column in table.query.columns], prefix)


def build_run_table(actor: Actor, project: Project, params: QueryDict) -> tuple[ListTable, Columns]:
    """The page asked for, and the metrics and params that its runs have, of which the columns are made."""
    picked = parse_names(params, "columns")
    sort = params.get("sort", "")
    metrics = list(dict.fromkeys([*filter(None, [get_ordering_metric(sort)]), *parse_column_keys(picked, BY_METRIC)]))
    chosen = parse_column_keys(picked, BY_PARAM)
    grouped = bool(params.get("group"))
    first = build_listing(
        [build_param_column(key) for key in chosen], [build_metric_column(key) for key in metrics], grouped=grouped
    )
    filters = read_filters(params)
    as_tree = tree.is_tree(params)

    def select_runs() -> QuerySet[Any]:
        matches = filter_runs(actor, project, params, filters)
        return tree.filter_roots(matches) if as_tree else matches

    table = build_table(
        first,
        params,
        select_runs,
        filters=filter_bar(actor, project, params, filters),
        transform_rows=wrap_rows,
        builtin=list_builtin_views(actor),
        limit=ABOVE_GROUPS if params.get("group") and params.get("format") != "csv" else DEFAULT_LIMIT,
    )
    mark_filter_error(table)
    children = tree.load_children(actor, project, tree.parse_expanded(params)) if as_tree and table.rows else {}
    nested = tree.insert_children([row["run"] for row in table.rows], children)
    sample = [run for run, _ in nested]
    if params.get("format") == "csv" and table.source is not None:
        sample = [get_run_of_row(row) for row in table.source.order_by(*table.query.order)[: table.query.limit]]
    columns = queries.build_columns(sample, first=[*metrics, *presenters.list_figure_keys(sample)], chosen=chosen)
    columns.unread = [key for key in metrics if key not in columns.metrics]
    columns.metrics = list(dict.fromkeys([*metrics, *columns.metrics]))
    columns.params = list(dict.fromkeys([*chosen, *columns.params]))
    if table.wrong is None:
        parents = tree.map_parents(sample, children) if as_tree else None
        attach_columns(table, columns, sample, RowLinks(actor, project), parents)
        if as_tree:
            mark_tree(table, children, {run.pk: depth for run, depth in nested})
    return table, columns


def mark_tree(table: ListTable, children: Mapping[str, tree.Children], depths: Mapping[str, int]) -> None:
    """Give the rows their depth, and those with children the addresses that expand, fold and page them."""
    for row in table.rows:
        run_id = row["run"].pk
        row |= {"depth": depths.get(run_id, 0), "is_nested": depths.get(run_id, 0) > 0}
        below = children.get(run_id)
        if below is not None or row["children"]:
            row["expanded"] = below is not None
            row["toggle"] = tree.build_expand_query(table.params, run_id, 1 if below is None else None)
        if below is not None:
            row["previous"] = tree.build_expand_query(table.params, run_id, below.page - 1) if below.page > 1 else ""
            row["next"] = tree.build_expand_query(table.params, run_id, below.page + 1) if below.has_more else ""
            row["span"] = (
                (below.page - 1) * tree.CHILDREN_PER_PAGE + 1,
                (below.page - 1) * tree.CHILDREN_PER_PAGE + len(below.runs),
            )


@dataclass(frozen=True, slots=True)
class RowLinks:
    """Reads what the columns of datasets and models show, for whoever looks at the list."""

    actor: Actor
    project: Project

    def load(self, runs: Sequence[Run], visible: Mapping[str, bool]) -> tuple[dict[str, Any], dict[str, Any]]:
        """({run: datasets}, {run: models}) of the columns that are shown; four queries at most."""
        datasets = load_run_datasets(self.actor, self.project, runs) if DATASET in visible and runs else {}
        models = load_run_models(self.actor, self.project, runs) if MODEL in visible else {}
        return datasets, models


def attach_columns(
    table: ListTable, columns: Columns, runs: Sequence[Run], links: RowLinks, parents: Mapping[str, Run] | None
) -> None:
    """Let the table have the columns of what was measured, and its rows their cells. `parents`: where they are known,
    as in a tree."""
    of_params = [build_param_column(key, picked=place < LISTED) for place, key in enumerate(columns.params)]
    of_metrics = [build_metric_column(key, picked=place < LISTED) for place, key in enumerate(columns.metrics)]
    table.listing = build_listing(of_params, of_metrics, grouped=bool(table.params.get("group")))
    table.query = replace(table.query, columns=parse_list_query(table.listing, table.params).columns)
    visible = table.visible_columns
    metrics = [key for key in columns.metrics if f"{BY_METRIC}{key}" in visible]
    params = [key for key in columns.params if f"{BY_PARAM}{key}" in visible]
    tagged = "tags" in visible
    table.transform_rows = build_row_filler(metrics, params, tagged, visible, links)
    if table.rows:
        fill_in(columns, runs, metrics)
        datasets, models = links.load(runs, visible)
        grouped = bool(table.params.get("group"))
        nesting = load_nesting([] if grouped else runs, parents, list_shown_tags(runs) if tagged else None)
        tags = load_tags(runs) if tagged and grouped else nesting.tags
        columns.tag_keys = None if grouped else nesting.tag_keys
        is_newest_first = table.query.sort.lstrip("-") == "started"
        runs = order_as_tree(runs, nesting) if is_newest_first and not tree.is_tree(table.params) else runs
        on_page = {run.pk for run in runs}
        table.rows = [
            {
                "run": run,
                "metrics": columns.values.get(run.pk, {}),
                "params": columns.given.get(run.pk, {}),
                "tags": tags.get(run.pk, []),
                "datasets": datasets.get(run.pk, []),
                "models": models.get(run.pk, []),
                "parent": (parent := nesting.parents.get(run.pk)),
                "is_nested": is_newest_first and parent is not None and parent.pk in on_page,
                "children": nesting.children.get(run.pk, 0),
                "children_query": build_children_query(run.pk),
            }
            for run in runs
        ]


def fill_in(columns: Columns, runs: Sequence[Run], metrics: Sequence[str]) -> None:
    """Read the cells of shown metrics that are more than build_columns reads; it reads every param asked for."""
    if unread := [key for key in metrics if key in columns.unread]:
        for run, cells in load_metrics(runs, unread).items():
            columns.values.setdefault(run, {}).update(cells)


def load_metrics(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, dict[str, Metric]]:
    by_run: dict[str, dict[str, Metric]] = {run.pk: {} for run in runs}
    for metric in Metric.objects.filter(run__in=list(by_run), key__in=keys):
        by_run[metric.run_id][metric.key] = metric
    return by_run


def load_params(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, dict[str, str]]:
    by_run: dict[str, dict[str, str]] = {run.pk: {} for run in runs}
    for param in RunParam.objects.filter(run__in=list(by_run), key__in=keys):
        by_run[param.run_id][param.key] = param.value
    return by_run


def load_tags(runs: Sequence[Run]) -> dict[str, list[tuple[str, str]]]:
    """{run: its tags (key, value) by key}, without those that MLflow's clients keep for themselves."""
    by_run: dict[str, list[tuple[str, str]]] = {run.pk: [] for run in runs}
    for run, key, value in list_shown_tags(runs).values_list("run_id", "key", "value"):
        by_run[run].append((key, value))
    return {run: sorted(pairs) for run, pairs in by_run.items()}


def list_shown_tags(runs: Sequence[Run]) -> QuerySet[RunTag]:
    rows = RunTag.objects.filter(run__in=[run.pk for run in runs]).exclude(key__startswith="mlflow.")
    return rows.order_by("key", "pk")[: TAGS * len(runs)]


def get_run_of_row(row: Run | Metric) -> Run:
    """A list ordered by a metric is one of its values."""
    return row.run if isinstance(row, Metric) else row


def wrap_rows(rows: Sequence[Any]) -> list[Row]:
    empty: Row = {"metrics": {}, "params": {}, "tags": [], "datasets": [], "models": []}
    return [{"run": get_run_of_row(row), **empty} for row in rows]


def build_row_filler(
    metrics: Sequence[str], params: Sequence[str], tagged: bool, visible: Mapping[str, bool], links: RowLinks
) -> Callable[[Sequence[Any]], list[Row]]:
    """What makes the rows of a batch: seven queries at most, however many runs."""

    def fill_rows(rows: Sequence[Any]) -> list[Row]:
        runs = [get_run_of_row(row) for row in rows]
        values, param_values = load_metrics(runs, metrics), load_params(runs, params)
        tags = load_tags(runs) if tagged else {}
        datasets, models = links.load(runs, visible)
        return [
            {
                "run": run,
                "metrics": values[run.pk],
                "params": param_values[run.pk],
                "tags": tags.get(run.pk, []),
                "datasets": datasets.get(run.pk, []),
                "models": models.get(run.pk, []),
            }
            for run in runs
        ]

    return fill_rows


# -- what narrows it ------------------------------------------------------------------------------------------------
def get_ordering_metric(sort: str) -> str:
    """The metric that the list is ordered by; "" for another order."""
    name = sort.removeprefix("-")
    return next(iter(parse_column_keys([name], BY_METRIC)), "")


def filter_runs(actor: Actor, project: Project, params: QueryDict, filters: dict[str, str]) -> QuerySet[Any]:
    """Runs, or with an order by a metric its values in runs."""
    narrow = RunFilters(**{name: filters[name] for name in queries.FILTERS})
    key = get_ordering_metric(params.get("sort", ""))
    prefix = "run__" if key else ""
    matches: QuerySet[Any] = (
        queries.list_by_metric(actor, project, narrow, key) if key else queries.list_runs(actor, project, narrow)
    )
    if filters["by"]:
        matches = matches.filter(**{f"{prefix}created_by": filters["by"]})
    rows: QuerySet[Any] = filter_between_days(matches, f"{prefix}started_at", params, "started")
    return rows


def count_run_states(actor: Actor, project: Project) -> dict[str, int]:
    """Runs that are open, and that failed in the last 24 hours; one query over the ends of an index."""
    day = timezone.now() - timedelta(days=1)
    condition = Q(state=RunState.RUNNING) | Q(state=RunState.FAILED, started_at__gte=day)
    runs = Run.objects.visible_to(actor).active().filter(condition, project=project)
    counts = dict(runs.order_by().values_list("state").annotate(Count("pk")))
    return {"running": counts.get(RunState.RUNNING, 0), "failed": counts.get(RunState.FAILED, 0)}


def filter_bar(actor: Actor, project: Project, params: QueryDict, filters: dict[str, str]) -> list[dict[str, Any]]:
    states = [("", _("Every status")), *((value, str(word)) for value, word in RunState.choices)]
    kinds = [("", _("Every kind")), *((key, str(kind.label)) for key, kind in KINDS.items() if kind.tracked)]
    groups = [
        (str(experiment.number), experiment.name)
        for experiment in queries.list_experiments(actor, project)[:EXPERIMENTS]
    ]
    experiments = [("", _("Every experiment")), *groups]
    deleted_choices = [("", _("Not deleted")), ("only", _("Deleted")), ("all", _("Deleted or not"))]
    return [
        query_field(project, filters["filter"]),
        {"name": "name", "label": _("Name"), "value": filters["name"]},
        {"name": "status", "label": _("Status"), "value": filters["status"], "choices": states},
        {"name": "kind", "label": _("Kind"), "value": filters["kind"], "choices": kinds},
        {"name": "experiment", "label": _("Experiment"), "value": filters["experiment"], "choices": experiments},
        {"name": "by", "label": _("Who"), "value": filters["by"]},
        *build_day_filters(params, "started", _("Started from"), _("Started until")),
        {"name": "deleted", "label": _("Deleted"), "value": filters["deleted"], "choices": deleted_choices},
    ]


def query_field(project: Project, text: str) -> dict[str, Any]:
    return {
        "name": "filter",
        "label": _("Filter"),
        "value": text,
        "type": "query",
        "placeholder": "metrics.loss < 0.2 AND params.optimizer = 'adam'",
        "complete": reverse("experiments:complete", args=[project.slug]),
        "limit": queries.FILTER_LIMIT,
    }


def mark_filter_error(table: ListTable) -> None:
    """Tell the field of the filter what is wrong in it, with the characters in which it is."""
    wrong = table.wrong
    if isinstance(wrong, FilterError):
        field = next(field for field in table.filters if field["name"] == "filter")
        text, start, end = field["value"], wrong.start, max(wrong.end, wrong.start + 1)
        field["wrong"] = wrong
        field["place"] = {"at": start + 1, "before": text[:start], "bad": text[start:end], "behind": text[end:]}


def list_builtin_views(actor: Actor) -> list[dict[str, Any]]:
    return [
        build_builtin_view(_("Running"), status=RunState.RUNNING.value),
        build_builtin_view(_("Failed today"), status=RunState.FAILED.value, started_after="today"),
        build_builtin_view(_("Finished in 7 days"), status=RunState.FINISHED.value, started_after="7d"),
        build_builtin_view(_("Mine"), by=actor.label),
    ]
