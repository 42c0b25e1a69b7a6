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
    all_of,
    exists,
    joined,
    marks,
    moment_condition,
    number_condition,
    on_postgres,
    rows_of,
    text_condition,
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


def matching(comparisons: Iterable[Comparison]) -> RawSQL:
    """For `Run.objects.filter(...)`. Of metrics it sees what has been taken in."""
    condition = condition_of(comparisons)
    return RawSQL(f"({condition.text})", condition.params, output_field=BooleanField())


def condition_of(comparisons: Iterable[Comparison]) -> Sql:
    return all_of([condition(one, apart=number >= JOINED) for number, one in enumerate(dict.fromkeys(comparisons))])


def condition(comparison: Comparison, *, apart: bool = False) -> Sql:
    if comparison.kind == DATASET:
        return of_dataset(comparison, apart=apart)
    if comparison.kind == TAG and comparison.key == NAME_TAG:
        return of_name(comparison)
    if comparison.kind == ATTRIBUTE:
        return of_attribute(comparison)
    return of_key(comparison, apart=apart)


def of_key(comparison: Comparison, *, apart: bool) -> Sql:
    """A parameter, tag or metric: only runs that have the key, unless it must be missing."""
    value = TRUE if comparison.value is None else value_condition("x", comparison)
    text = f"{TABLES[comparison.kind]} x WHERE x.run_id = {RUN}.id AND x.key = %s AND {value.text}"
    rows = Sql(text, (comparison.key, *value.params))
    return exists(rows, negated=comparison.operator == "IS NULL", apart=apart)


def value_condition(alias: str, comparison: Comparison) -> Sql:
    """On the row of a parameter, tag or metric with the right key."""
    if comparison.kind != METRIC and comparison.operator == "=":
        return equal_text(f"{alias}.value", str(comparison.value))
    if comparison.kind != METRIC:
        return text_condition(f"{alias}.value", comparison.operator, comparison.value)  # type: ignore[arg-type]
    value = number_condition(f"{alias}.value", comparison.operator, comparison.value)  # type: ignore[arg-type]
    if comparison.operator == "!=":  # NaN differs from every number, and compares with none
        return Sql(f"({value.text} OR {alias}.is_nan)", value.params)
    return Sql(f"({value.text} AND NOT {alias}.is_nan)", value.params)


def equal_text(column: str, value: str) -> Sql:
    """By the index over the beginnings of values. A shorter value is its own beginning, and said once: a planner takes
    two conditions that mean the same for two that must both come true, and expects far too few rows."""
    beginning = f"LEFT({column}, {INDEXED})" if on_postgres() else f"SUBSTR({column}, 1, {INDEXED})"
    if len(value) < INDEXED:
        return Sql(f"{beginning} = %s", (value,))
    return Sql(f"{beginning} = %s AND {column} = %s", (value[:INDEXED], value))


def of_attribute(comparison: Comparison) -> Sql:
    column, operator, value = COLUMNS[comparison.key], comparison.operator, comparison.value
    if comparison.key in ("start_time", "end_time"):
        return moment_condition(column, operator, value)  # type: ignore[arg-type]
    if comparison.key == "status":
        return of_state(operator, str(value))
    return text_condition(column, operator, value)  # type: ignore[arg-type]


def of_state(operator: str, value: str) -> Sql:
    """MLflow writes states in capitals, we do not."""
    if operator in ("LIKE", "ILIKE"):
        return text_condition(f"UPPER({RUN}.state)", operator, value)
    state = STATES.get(value)
    if state is None:
        return FALSE if operator == "=" else TRUE
    return Sql(f"{RUN}.state {operator} %s", (state,))


def of_name(comparison: Comparison) -> Sql:
    if comparison.value is None:  # every run has a name
        return FALSE if comparison.operator == "IS NULL" else TRUE
    return text_condition(f"{RUN}.name", comparison.operator, comparison.value)  # type: ignore[arg-type]


def of_dataset(comparison: Comparison, *, apart: bool) -> Sql:
    """Runs with some dataset like that: one that is not so does not hinder another that is."""
    value = text_condition(f"x.{comparison.key}", comparison.operator, comparison.value)  # type: ignore[arg-type]
    some = " AND x.context <> ''" if comparison.key == "context" else ""
    rows = Sql(f"experiments_rundataset x WHERE x.run_id = {RUN}.id AND {value.text}{some}", value.params)
    return exists(rows, apart=apart)


# -- where to begin -------------------------------------------------------------------------------------------------
def few_runs(
    project: int, comparisons: Iterable[Comparison], experiments: Sequence[int] | None = None
) -> list[str] | None:
    """The runs of a comparison that leaves few of them, asked of its own index; None: none does. One query.

    A planner that walks an order in the hope to meet a page of runs soon walks it to its end where there are none.
    `experiments`: those that are searched, where not all of the project are.
    """
    comparisons = list(comparisons)
    named = named_runs(comparisons)
    if named is not None:
        return named
    starts = [start for one in comparisons if (start := start_of(one, project, experiments))][:MOST_STARTS]
    if not starts:
        return None
    parts = [
        Sql(f"SELECT * FROM ({start.text} LIMIT %s) s{at}", (at, *start.params, FEW + 1))
        for at, start in enumerate(starts)
    ]
    found: list[list[str]] = [[] for _ in starts]
    for at, run in rows_of(joined(" UNION ALL ", parts)):
        found[at].append(run)
    return next((runs for runs in found if len(runs) <= FEW), None)


def start_of(comparison: Comparison, project: int, experiments: Sequence[int] | None) -> Sql | None:
    """SQL of (a number, the key of a run) that finds the runs of a comparison by an index of its own; None where there
    is no such. Its first parameter is the number.

    In the order of that index: without one a planner reads the table for as long as it hopes to meet some soon.
    """
    kind, key, value = comparison.kind, comparison.key, comparison.value
    if kind in (PARAMETER, TAG) and key != NAME_TAG and comparison.operator == "=":
        equal = equal_text("value", str(value))
        return Sql(
            f"SELECT %s, run_id FROM {TABLES[kind]} WHERE key = %s AND {equal.text} ORDER BY run_id",
            (key, *equal.params),
        )
    if kind == METRIC and comparison.operator != "!=":
        bound = number_condition("value", comparison.operator, value)  # type: ignore[arg-type]
        place = Sql("project_id = %s", (project,))
        if experiments is not None:
            place = Sql(f"experiment_id IN ({marks(experiments)})", tuple(experiments))
        return Sql(
            f"SELECT %s, run_id FROM experiments_metric WHERE {place.text} AND key = %s"
            f" AND NOT is_nan AND {bound.text} ORDER BY value",
            (*place.params, key, *bound.params),
        )
    if comparison.operator == "=" and (key == "run_name" if kind == ATTRIBUTE else kind == TAG):
        return Sql(f"SELECT %s, id FROM {RUN} WHERE project_id = %s AND name = %s ORDER BY id", (project, value))
    return None


def named_runs(comparisons: Iterable[Comparison]) -> list[str] | None:
    """Ids, of which every run that fits is one: those that `run_id =` or `run_id IN` name; None without such."""
    for one in comparisons:
        if one.kind == ATTRIBUTE and one.key == "run_id" and one.operator in ("=", "IN"):
            return [str(one.value)] if one.operator == "=" else list(one.value)  # type: ignore[arg-type]
    return None
