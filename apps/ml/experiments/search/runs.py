"""The search of runs. Its cost is that of its page, not of the experiment: see docs/mlflow-search.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from apps.core.actors import Actor
from apps.core.db.fast_sql import fetch
from apps.core.request_values import MAX_INT32, parse_int
from apps.ml.experiments import services
from apps.ml.experiments.filters.grammar import parse
from apps.ml.experiments.filters.orders import read_orders
from apps.ml.experiments.filters.runs import COLUMNS, RUN, build_filter_sql, find_few_runs
from apps.ml.experiments.filters.sql import Sql, fetch_rows, format_placeholders, is_postgres, join_with_and
from apps.ml.experiments.filters.vocabularies import RUNS
from apps.ml.experiments.search.paging import (
    build_cursor_filter,
    decode_token,
    encode_token,
    format_order,
    serialize_edge,
)
from apps.ml.experiments.search.run_orders import Segment, build_segments, select_remaining_comparisons

VIEWS = {"ACTIVE_ONLY": f"{RUN}.deleted_at IS NULL", "DELETED_ONLY": f"{RUN}.deleted_at IS NOT NULL", "ALL": "1=1"}
MOST_ARMS = 100  # experiments whose orders are merged; more are sorted together
ROW = (
    f"{RUN}.id",
    f"{RUN}.experiment_id",
    f"{RUN}.name",
    f"{COLUMNS['user_id']} AS owner",
    f"{RUN}.state",
    f"{RUN}.started_at",
    f"{RUN}.ended_at",
    f"{RUN}.deleted_at",
)


ONE = f"""
SELECT {", ".join(ROW)}, e.id, e.number, e.artifact_location,
       EXISTS (SELECT 1 FROM experiments_metricbatch b WHERE b.run_id = {RUN}.id)
  FROM {RUN} JOIN experiments_experiment e ON e.id = {RUN}.experiment_id
 WHERE {RUN}.id = %s AND {RUN}.project_id = %s
"""


class RunRow(NamedTuple):
    """The columns of a run as a cursor gives them: filters.sql.milliseconds reads the moments."""

    id: str
    experiment: ExperimentPlace
    name: str
    user: str  # who a client says it runs for, or who asked for its job
    state: str
    started_at: datetime | str
    ended_at: datetime | str | None
    deleted_at: datetime | str | None


class ExperimentPlace(NamedTuple):
    """An experiment, as far as the runs in it need it."""

    id: int
    number: int
    artifact_location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    experiments: Sequence[str]  # their numbers as MLflow writes them; an unknown one has no runs
    filter: str = ""
    order_by: Sequence[str] = ()
    view: str = "ACTIVE_ONLY"
    limit: int = 1000
    token: str = ""

    @property
    def identity(self) -> list[Any]:
        """What a page token is bound to: all but the size of the page."""
        return ["runs", sorted(set(self.experiments)), self.filter, list(self.order_by), self.view]


@dataclass(frozen=True, slots=True)
class RunPage:
    rows: list[RunRow]
    token: str  # of the next page; "": this one is the last


def search_runs(actor: Actor, project_id: int, query: RunQuery) -> RunPage:
    """One page of the runs that fit. Raises FilterError and BadToken."""
    comparisons, orders = parse(query.filter, RUNS), read_orders(query.order_by, RUNS)
    segments = build_segments(orders, comparisons)
    at, edge = 0, None
    if query.token:
        at, edge = decode_token(
            [project_id, *query.identity], [segment_item.columns for segment_item in segments], query.token
        )
    places = find_experiments(actor, project_id, query.experiments)
    if not places:
        return RunPage([], "")
    rest = select_remaining_comparisons(orders, comparisons)
    if has_waiting_batches(list(places)):
        services.ingest_batches(experiment_ids=list(places))
    few = find_few_runs(project_id, rest, list(places))
    if few is not None and not few:
        return RunPage([], "")
    conditions = [Sql(VIEWS[query.view]), build_filter_sql(rest)]
    found_rows: list[tuple[int, tuple[Any, ...]]] = []
    while at < len(segments) and len(found_rows) <= query.limit:
        statement = build_select(segments[at], conditions, list(places), few, edge, query.limit + 1 - len(found_rows))
        found_rows += [(at, row) for row in fetch_rows(statement)]
        at, edge = at + 1, None
    token = ""
    if len(found_rows) > query.limit:
        segment, row = found_rows[query.limit - 1]
        columns = segments[segment].columns
        token = encode_token([project_id, *query.identity], segment, serialize_edge(columns, row[len(ROW) :]))
    rows = [RunRow(row[0], places[row[1]], *row[2 : len(ROW)]) for _, row in found_rows[: query.limit]]
    return RunPage(rows, token)


def get_run_row(project_id: int, run_id: str) -> RunRow | None:
    """Return a run with its pending metric batches ingested, or None. One statement if none are pending."""
    rows = fetch(ONE, (run_id, project_id))
    if not rows:
        return None
    *own, key, number, location, waits = rows[0]
    if waits:
        services.ingest_batches(run_ids=[run_id])
    return RunRow(own[0], ExperimentPlace(key, number, location), *own[2:])


def find_experiments(actor: Actor, project_id: int, numbers: Sequence[str]) -> dict[int, ExperimentPlace]:
    """The experiments by key. What is not a number names none."""
    wanted_numbers = {number for text in numbers if (number := parse_int(text, 0, MAX_INT32)) is not None}
    if not wanted_numbers or not (actor.plane_role or project_id in actor.project_ids):  # as Experiment's visible_to
        return {}
    text = "SELECT id, number, artifact_location FROM experiments_experiment WHERE project_id = %s AND number IN"
    return {
        row[0]: ExperimentPlace(*row)
        for row in fetch(f"{text} ({format_placeholders(wanted_numbers)})", (project_id, *wanted_numbers))
    }


def has_waiting_batches(experiments: list[int]) -> bool:
    """Whether clients have sent points of metrics that are not in their rows yet."""
    text = f"SELECT 1 FROM experiments_metricbatch WHERE experiment_id IN ({format_placeholders(experiments)}) LIMIT 1"
    return bool(fetch(text, experiments))


# -- SQL ------------------------------------------------------------------------------------------------------------
def build_select(
    segment: Segment, conditions: list[Sql], experiments: list[int], few: list[str] | None, edge: Any, limit: int
) -> Sql:
    """The rows of a segment behind `edge`, at most `limit`: of each experiment in its order, then merged."""
    all_conditions = [*segment.conditions, *conditions]
    if edge is not None:
        all_conditions.append(build_cursor_filter(segment.columns, edge))
    if few is not None:  # by their ids, so not along the experiment's index of the metric
        all_conditions.append(build_id_filter(segment.run, few))
        segment = replace(segment, scope=f"{RUN}.experiment_id")
    if few is not None or len(experiments) > MOST_ARMS or len(experiments) == 1:
        return build_arm(segment, all_conditions, experiments, limit)
    arms = [build_arm(segment, all_conditions, [experiment], limit) for experiment in experiments]
    order = ", ".join(f"k{number} {column.direction}" for number, column in enumerate(segment.columns))
    union = " UNION ALL ".join(f"SELECT * FROM ({arm_sql.text}) a{number}" for number, arm_sql in enumerate(arms))
    params = tuple(value for arm_sql in arms for value in arm_sql.params)
    return Sql(f"SELECT * FROM ({union}) merged ORDER BY {order} LIMIT %s", (*params, limit))


def build_arm(segment: Segment, conditions: list[Sql], experiments: list[int], limit: int) -> Sql:
    keys = ", ".join(f"{column.compared} AS k{number}" for number, column in enumerate(segment.columns))
    scope = Sql(f"{segment.scope} = %s", (experiments[0],))
    if len(experiments) > 1:
        scope = Sql(f"{segment.scope} IN ({format_placeholders(experiments)})", tuple(experiments))
    where = join_with_and([scope, *conditions])
    text = (
        f"SELECT {', '.join(ROW)}, {keys} FROM {segment.source.text} WHERE {where.text}"
        f" ORDER BY {format_order(segment.columns)} LIMIT %s"
    )
    return Sql(text, (*segment.source.params, *where.params, limit))


def build_id_filter(column: str, ids: list[str]) -> Sql:
    if is_postgres():
        return Sql(f"{column} = ANY(%s)", (ids,))
    return Sql(f"{column} IN ({format_placeholders(ids)})", tuple(ids))
