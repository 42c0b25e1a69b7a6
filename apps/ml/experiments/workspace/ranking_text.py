"""The ranking of a page of runs in words: the group in which it holds, or the groups that it would have mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from apps.ml.experiments.filters.grammar import quote_value
from apps.ml.experiments.ranking import LEARNED_PARAMS, RankingGroup
from apps.platform.jobs.kinds import KINDS

MAX_GROUPS = 5
KEPT_KEYS = ("columns", "selected")  # of the query, when the list is narrowed to one group


def describe_ranking(
    ranking: dict[str, Any] | None, rows: Sequence[Mapping[str, Any]], params: QueryDict
) -> dict[str, Any] | None:
    """The ranking with `label`, what its runs have in common, or `choices`: {label, runs, query} of each group of
    at least two runs.
    """
    if ranking is None:
        return None
    if ranking["obstacle"]:
        groups = [(group, count) for group, count in ranking["groups"][:MAX_GROUPS] if count > 1]
        choices = [
            {"label": describe_group(group), "runs": count, "query": build_group_query(group, params)}
            for group, count in groups
        ]
        # Groups that differ in their data alone have one query: it would lead to the same mixture.
        queries = [choice["query"] for choice in choices]
        distinct = [choice for choice in choices if queries.count(choice["query"]) == 1 and choice["label"]]
        return {**ranking, "choices": distinct}
    sample = ranking["sample"]
    datasets = next((row["datasets"] for row in rows if row["run"] is sample), [])
    return {**ranking, "label": describe_group(ranking["group"], [link.label for link in datasets])}


def describe_group(group: RankingGroup, datasets: Sequence[str] = ()) -> str:
    """For instance "task regression, target load_kw, data plant-load v2"; without both the kind."""
    kind = KINDS.get(group.kind)
    is_described = group.task or group.target
    parts = [] if is_described else [str(kind.label) if kind is not None else group.kind]
    parts += [_("task %(task)s") % {"task": group.task}] if group.task else []
    parts += [_("target %(target)s") % {"target": group.target}] if group.target else []
    parts += [_("data %(names)s") % {"names": _(", ").join(datasets[:2])}] if datasets else []
    return _(", ").join(part for part in parts if part)


def build_group_query(group: RankingGroup, params: QueryDict) -> str:
    """The query of the list with the runs of one kind, task and target alone."""
    query = QueryDict(mutable=True)
    for key in KEPT_KEYS:
        if key in params:
            query.setlist(key, params.getlist(key))
    if group.kind:
        query["kind"] = group.kind
    values = zip(LEARNED_PARAMS, (group.task, group.target), strict=True)
    comparisons = [f"params.{name} = {quote_value(value)}" for name, value in values if value]
    if comparisons:
        query["filter"] = " AND ".join(comparisons)
    return f"?{query.urlencode(safe=',')}"
