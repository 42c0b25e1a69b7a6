"""Template context of the group-by bar above the run list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from apps.core.errors import Invalid
from apps.ml.experiments import grouping
from apps.ml.experiments.filters.completion import list_keys
from apps.ml.experiments.grouping import Group
from apps.ml.experiments.models import Run, RunTag
from apps.ml.experiments.queries import Columns

OWN = ("group", "measure", "open", "cursor", "format", "view")


def build_group_context(
    params: QueryDict, columns: Columns, runs: Sequence[Run], load_runs: Callable[[], QuerySet[Run]]
) -> dict[str, Any]:
    """For experiments/groups.html. `load_runs` returns the matching runs; called only if there is a group-by key."""
    by = params.get("group", "")
    measure = params.get("measure", "")[:250].replace("\x00", "") or next(iter(columns.metrics), "")
    context = {
        "group_by": by,
        "measure": measure,
        "measures": list(dict.fromkeys(filter(None, [measure, *columns.metrics]))),
        "group_keys": list_group_keys(by, columns, runs),
        "group_keep": [(key, value) for key in params if key not in OWN for value in params.getlist(key)],
    }
    if by:
        try:
            grouping.check_group(by)
            grouped = grouping.group_runs(load_runs(), by, measure, params.getlist("open"))
            addressed = [
                (group, build_toggle_url(params, group), build_group_url(params, group)) for group in grouped.groups
            ]
            context |= {"grouped": grouped, "groups": addressed}
        except Invalid as error:
            context["wrong_group"] = error
    return context


def build_toggle_url(params: QueryDict, group: Group) -> str:
    """The address with the group opened, or closed."""
    query = params.copy()
    opened = [key for key in query.getlist("open") if key != group.key]
    query.setlist("open", opened if group.is_open else [*opened, group.key][-grouping.OPENED :])
    return f"?{query.urlencode()}"


def build_group_url(params: QueryDict, group: Group) -> str:
    """The address of the list with these runs alone; empty where no filter finds them."""
    query = params.copy()
    for name in OWN:
        query.pop(name, None)
    if group.experiment is not None:
        query["experiment"] = str(group.experiment)
    elif group.alone:
        query["filter"] = " AND ".join(filter(None, [params.get("filter", "").strip(), group.alone]))
    else:
        return ""
    return f"?{query.urlencode()}"


def list_group_keys(by: str, columns: Columns, runs: Sequence[Run]) -> list[str]:
    """The params in which the runs of this page differ, and their tags; and what is asked for."""
    keys = [f"{grouping.PARAMS}{key}" for key in columns.params]
    tags = columns.tag_keys
    if tags is None:
        tags = list_keys([run.pk for run in runs], RunTag) if runs else []
    keys += [f"{grouping.TAGS}{key}" for key in tags if not key.startswith("mlflow.")]
    return [*keys, *([by] if by and by != grouping.EXPERIMENT and by not in keys else [])]
