"""Comparisons of runs -> SQL over `experiments_run`, as a piece of SQL or as an expression of Django's.

Every condition stands alone: parameters, tags, metrics and datasets are subqueries by the key of their table, so that
a walk along any order of runs asks one index entry a condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from apps.ml.experiments.filters.grammar import ATTRIBUTE, DATASET, METRIC, PARAMETER, TAG, Comparison
from apps.ml.experiments.filters.sql import (
    FALSE,
    TRUE,
    Sql,
    build_exists,
    build_moment_condition,
    build_number_condition,
    build_text_condition,
    fetch_rows,
    format_placeholders,
    is_postgres,
    join_sql,
    join_with_and,
)
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.models import INDEXED
from apps.ml.experiments.states import RunState

RUN = "experiments_run"
TABLES = {PARAMETER: "experiments_runparam", TAG: "experiments_runtag", METRIC: "experiments_metric"}
FEW = 200  # runs by which a search begins, rather than by its order
MOST_STARTS = 3  # comparisons that are asked how few they leave
JOINED = 2  # comparisons that a planner may take in any order; what a filter says after these is only checked
STATES = {state.value.upper(): state.value for state in RunState}
ARTIFACT_URI = (
    "(SELECT CASE WHEN e.artifact_location = '' THEN 'mlflow-artifacts:/' || e.number ELSE e.artifact_location END"
    f" || '/' || {RUN}.id || '/artifacts' FROM experiments_experiment e WHERE e.id = {RUN}.experiment_id)"
)
COLUMNS = {
    "run_id": f"{RUN}.id",
    "run_name": f"{RUN}.name",
    "status": f"{RUN}.state",
    "artifact_uri": ARTIFACT_URI,
    "user_id": f"(CASE WHEN {RUN}.job_id IS NULL THEN {RUN}.client_user ELSE {RUN}.created_by END)",
    "start_time": f"{RUN}.started_at",
    "end_time": f"{RUN}.ended_at",
}


def build_filter_expression(comparisons: Iterable[Comparison]) -> RawSQL:
    """For `Run.objects.filter(...)`. Of metrics it sees what has been taken in."""
    filter_sql = build_filter_sql(comparisons)
    return RawSQL(f"({filter_sql.text})", filter_sql.params, output_field=BooleanField())


def build_filter_sql(comparisons: Iterable[Comparison]) -> Sql:
    return join_with_and(
        [
            build_condition(comparison, apart=number >= JOINED)
            for number, comparison in enumerate(dict.fromkeys(comparisons))
        ]
    )


def build_condition(comparison: Comparison, *, apart: bool = False) -> Sql:
    if comparison.kind == DATASET:
        return build_dataset_condition(comparison, apart=apart)
    if comparison.kind == TAG and comparison.key == NAME_TAG:
        return build_name_condition(comparison)
    if comparison.kind == ATTRIBUTE:
        return build_attribute_condition(comparison)
    return build_key_condition(comparison, apart=apart)


def build_key_condition(comparison: Comparison, *, apart: bool) -> Sql:
    """A parameter, tag or metric: only runs that have the key, unless it must be missing."""
    value = TRUE if comparison.value is None else build_value_condition("x", comparison)
    text = f"{TABLES[comparison.kind]} x WHERE x.run_id = {RUN}.id AND x.key = %s AND {value.text}"
    rows = Sql(text, (comparison.key, *value.params))
    return build_exists(rows, negated=comparison.operator == "IS NULL", apart=apart)


def build_value_condition(alias: str, comparison: Comparison) -> Sql:
    """On the row of a parameter, tag or metric with the right key."""
    if comparison.kind != METRIC and comparison.operator == "=":
        return build_equality(f"{alias}.value", str(comparison.value))
    if comparison.kind != METRIC:
        return build_text_condition(f"{alias}.value", comparison.operator, comparison.value)  # type: ignore[arg-type]
    value = build_number_condition(f"{alias}.value", comparison.operator, comparison.value)  # type: ignore[arg-type]
    if comparison.operator == "!=":  # NaN differs from every number, and compares with none
        return Sql(f"({value.text} OR {alias}.is_nan)", value.params)
    return Sql(f"({value.text} AND NOT {alias}.is_nan)", value.params)


def build_equality(column: str, value: str) -> Sql:
    """By the index over the beginnings of values. A shorter value is its own beginning, and said once: a planner takes
    two conditions that mean the same for two that must both come true, and expects far too few rows."""
    beginning = f"LEFT({column}, {INDEXED})" if is_postgres() else f"SUBSTR({column}, 1, {INDEXED})"
    if len(value) < INDEXED:
        return Sql(f"{beginning} = %s", (value,))
    return Sql(f"{beginning} = %s AND {column} = %s", (value[:INDEXED], value))


def build_attribute_condition(comparison: Comparison) -> Sql:
    column, operator, value = COLUMNS[comparison.key], comparison.operator, comparison.value
    if comparison.key in ("start_time", "end_time"):
        return build_moment_condition(column, operator, value)  # type: ignore[arg-type]
    if comparison.key == "status":
        return build_state_condition(operator, str(value))
    return build_text_condition(column, operator, value)  # type: ignore[arg-type]


def build_state_condition(operator: str, value: str) -> Sql:
    """MLflow writes states in capitals, we do not."""
    if operator in ("LIKE", "ILIKE"):
        return build_text_condition(f"UPPER({RUN}.state)", operator, value)
    state = STATES.get(value)
    if state is None:
        return FALSE if operator == "=" else TRUE
    return Sql(f"{RUN}.state {operator} %s", (state,))


def build_name_condition(comparison: Comparison) -> Sql:
    if comparison.value is None:  # every run has a name
        return FALSE if comparison.operator == "IS NULL" else TRUE
    return build_text_condition(f"{RUN}.name", comparison.operator, comparison.value)  # type: ignore[arg-type]


def build_dataset_condition(comparison: Comparison, *, apart: bool) -> Sql:
    """Runs with some dataset like that: one that is not so does not hinder another that is."""
    value = build_text_condition(f"x.{comparison.key}", comparison.operator, comparison.value)  # type: ignore[arg-type]
    has_context = " AND x.context <> ''" if comparison.key == "context" else ""
    rows = Sql(f"experiments_rundataset x WHERE x.run_id = {RUN}.id AND {value.text}{has_context}", value.params)
    return build_exists(rows, apart=apart)


# -- where to begin -------------------------------------------------------------------------------------------------
def find_few_runs(
    project: int, comparisons: Iterable[Comparison], experiments: Sequence[int] | None = None
) -> list[str] | None:
    """The runs of a comparison that leaves few of them, asked of its own index; None: none does. One query.

    A planner that walks an order in the hope to meet a page of runs soon walks it to its end where there are none.
    `experiments`: those that are searched, where not all of the project are.
    """
    comparisons = list(comparisons)
    named_ids = get_named_runs(comparisons)
    if named_ids is not None:
        return named_ids
    starts = [start for comparison in comparisons if (start := build_start_query(comparison, project, experiments))][
        :MOST_STARTS
    ]
    if not starts:
        return None
    parts = [
        Sql(f"SELECT * FROM ({start.text} LIMIT %s) s{at}", (at, *start.params, FEW + 1))
        for at, start in enumerate(starts)
    ]
    run_ids: list[list[str]] = [[] for _ in starts]
    for at, run in fetch_rows(join_sql(" UNION ALL ", parts)):
        run_ids[at].append(run)
    return next((runs for runs in run_ids if len(runs) <= FEW), None)


def build_start_query(comparison: Comparison, project: int, experiments: Sequence[int] | None) -> Sql | None:
    """SQL of (a number, the key of a run) that finds the runs of a comparison by an index of its own; None where there
    is no such. Its first parameter is the number.

    In the order of that index: without one a planner reads the table for as long as it hopes to meet some soon.
    """
    kind, key, value = comparison.kind, comparison.key, comparison.value
    if kind in (PARAMETER, TAG) and key != NAME_TAG and comparison.operator == "=":
        equal = build_equality("value", str(value))
        return Sql(
            f"SELECT %s, run_id FROM {TABLES[kind]} WHERE key = %s AND {equal.text} ORDER BY run_id",
            (key, *equal.params),
        )
    if kind == METRIC and comparison.operator != "!=":
        bound = build_number_condition("value", comparison.operator, value)  # type: ignore[arg-type]
        place = Sql("project_id = %s", (project,))
        if experiments is not None:
            place = Sql(f"experiment_id IN ({format_placeholders(experiments)})", tuple(experiments))
        return Sql(
            f"SELECT %s, run_id FROM experiments_metric WHERE {place.text} AND key = %s"
            f" AND NOT is_nan AND {bound.text} ORDER BY value",
            (*place.params, key, *bound.params),
        )
    if comparison.operator == "=" and (key == "run_name" if kind == ATTRIBUTE else kind == TAG):
        return Sql(f"SELECT %s, id FROM {RUN} WHERE project_id = %s AND name = %s ORDER BY id", (project, value))
    return None


def get_named_runs(comparisons: Iterable[Comparison]) -> list[str] | None:
    """Ids, of which every run that fits is one: those that `run_id =` or `run_id IN` name; None without such."""
    for comparison in comparisons:
        if comparison.kind == ATTRIBUTE and comparison.key == "run_id" and comparison.operator in ("=", "IN"):
            return [str(comparison.value)] if comparison.operator == "=" else list(comparison.value)  # type: ignore[arg-type]
    return None
