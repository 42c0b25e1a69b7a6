"""Complete runs as JSON for searches: the database builds the JSON of their parts, a thousand runs per query.

A page of a hundred runs has some thousand parameters, tags and metrics. As rows they cost more to fetch and to write
again than all the rest of a search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apps.core.db.fast_sql import fetch
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.responses import as_json
from apps.ml.experiments.filters.sql import Sql, format_placeholders, get_milliseconds, is_postgres
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.search.runs import RunRow

RUNS_PER_QUERY = 1000  # runs of which the parts are read at once
PARAMS, TAGS, METRICS, DATASETS, INPUTS, OUTPUTS = range(6)
Parts = dict[tuple[int, str], str]
Members = dict[str, str]  # name -> SQL of the JSON of its value


def iter_run_json(rows: Sequence[RunRow]) -> Iterator[str]:
    """Each run as MLflow's JSON, in the order given."""
    for start in range(0, len(rows), RUNS_PER_QUERY):
        batch = rows[start : start + RUNS_PER_QUERY]
        parts = fetch_run_parts([row.id for row in batch])
        for row in batch:
            yield build_run_json(row, parts)


def build_run_json(row: RunRow, parts: Parts) -> str:
    run = row.id
    name = f'{{"key":"{NAME_TAG}","value":{as_json(row.name)}}}'
    tags = f"{parts[TAGS, run]},{name}" if (TAGS, run) in parts else name
    metrics, params = (
        format_member("metrics", parts.get((METRICS, run))),
        format_member("params", parts.get((PARAMS, run))),
    )
    data = f'{metrics}{"," if metrics else ""}{params}{"," if params else ""}"tags":[{tags}]'
    datasets, model_inputs = (
        format_member("dataset_inputs", parts.get((DATASETS, run))),
        format_member("model_inputs", parts.get((INPUTS, run))),
    )
    inputs = f"{datasets}{',' if datasets and model_inputs else ''}{model_inputs}"
    outputs = format_member("model_outputs", parts.get((OUTPUTS, run)))
    return f'{{"info":{build_run_info(row)},"data":{{{data}}},"inputs":{{{inputs}}},"outputs":{{{outputs}}}}}'


def format_member(name: str, items: str | None) -> str:
    return f'"{name}":[{items}]' if items else ""


def build_run_info(row: RunRow) -> str:
    experiment, run = row.experiment, row.id
    uri = as_json(
        f"{serializers.get_artifact_location(experiment.number, experiment.artifact_location)}/{run}/artifacts"
    )
    ended = "" if row.ended_at is None else f'"end_time":{get_milliseconds(row.ended_at)},'
    stage = serializers.ACTIVE if row.deleted_at is None else serializers.DELETED
    return (
        f'{{"run_uuid":"{run}","experiment_id":"{experiment.number}","run_name":{as_json(row.name)},'
        f'"user_id":{as_json(row.user)},"status":"{row.state.upper()}",'
        f'"start_time":{get_milliseconds(row.started_at)},{ended}"artifact_uri":{uri},'
        f'"lifecycle_stage":"{stage}","run_id":"{run}"}}'
    )


# -- parts ----------------------------------------------------------------------------------------------------------
def fetch_run_parts(ids: Sequence[str]) -> Parts:
    """{(part, run): the JSON of its items, commas between}, each in the order in which the rows were written."""
    model = {"model_id": quote_json_sql("model_id")}
    pair = {"key": quote_json_sql("key"), "value": quote_json_sql("value")}
    metric = {
        "key": quote_json_sql("key"),
        "value": format_value_sql(),
        "timestamp": format_milliseconds_sql("at"),
        "step": "step",
    }
    dataset = {name: quote_json_sql(name) for name in ("name", "digest", "source_type", "source", "schema", "profile")}
    queries = [
        build_aggregate_query(PARAMS, "experiments_runparam", build_object_sql(pair), ids),
        build_aggregate_query(TAGS, "experiments_runtag", build_object_sql(pair), ids),
        build_aggregate_query(METRICS, "experiments_metric", build_object_sql(metric), ids),
        build_aggregate_query(DATASETS, "experiments_rundataset", build_dataset_input_sql(dataset), ids),
        build_aggregate_query(INPUTS, "experiments_runmodel", build_object_sql(model), ids, "direction = 'input'"),
        build_aggregate_query(
            OUTPUTS,
            "experiments_runmodel",
            build_object_sql(model | {"step": "step"}),
            ids,
            "direction = 'output'",
        ),
    ]
    text = " UNION ALL ".join(query.text for query in queries)
    params = tuple(value for query in queries for value in query.params)
    return {(part, run): items for part, run, items in fetch(text, params)}


def build_aggregate_query(part: int, table: str, item: str, ids: Sequence[str], condition: str = "") -> Sql:
    extra_condition = f" AND {condition}" if condition else ""
    if is_postgres():  # ids are hex digits, and one parameter is cheaper than a thousand
        text = (
            f"SELECT {part}, run_id, STRING_AGG({item}, ',' ORDER BY id) FROM {table} WHERE run_id = ANY(%s::varchar[])"
        )
        return Sql(f"{text}{extra_condition} GROUP BY run_id", (f"{{{','.join(ids)}}}",))
    rows = f"SELECT * FROM {table} WHERE run_id IN ({format_placeholders(ids)}){extra_condition} ORDER BY run_id, id"
    return Sql(f"SELECT {part}, run_id, GROUP_CONCAT({item}, ',') FROM ({rows}) GROUP BY run_id", tuple(ids))


def build_object_sql(members: Members) -> str:
    """SQL of the JSON object with these members."""
    return "'{' || " + " || ',' || ".join(f"'\"{name}\":' || {value}" for name, value in members.items()) + " || '}'"


def build_dataset_input_sql(dataset: Members) -> str:
    """A schema and a profile that are empty are left out, as in MLflow, and so are no tags."""
    always, rest = ["name", "digest", "source_type", "source"], []
    for name, value in dataset.items():
        if name not in always:
            rest.append(f"CASE WHEN {name} = '' THEN '' ELSE ',\"{name}\":' || {value} END")
    first = " || ',' || ".join(f"'\"{name}\":' || {dataset[name]}" for name in always)
    tags = "tags::text" if is_postgres() else "tags"
    tags_sql = f"CASE WHEN {tags} = '[]' THEN '' ELSE '\"tags\":' || {tags} || ',' END"
    return f"'{{' || {tags_sql} || '\"dataset\":{{' || {first} || {' || '.join(rest)} || '}}}}'"


def quote_json_sql(column: str) -> str:
    return f"TO_JSON({column})::text" if is_postgres() else f"JSON_QUOTE({column})"


def format_value_sql() -> str:
    """A value in digits that give it back exactly. JSON has no infinity; MLflow sends the greatest number there is."""
    digits = "value::text" if is_postgres() else "PRINTF('%%!.17g', value)"
    top = "1.7976931348623157e308"
    ends = f"WHEN value > {top} THEN '{top}' WHEN value < -{top} THEN '-{top}'"
    return f"CASE WHEN is_nan THEN '\"NaN\"' {ends} ELSE {digits} END"


def format_milliseconds_sql(column: str) -> str:
    """Milliseconds after the beginning of 1970. SQLite keeps `2026-01-02 03:04:05.678901`, or without what is 0."""
    if is_postgres():
        return f"FLOOR(EXTRACT(EPOCH FROM {column}) * 1000)::bigint"
    return f"(STRFTIME('%%s', {column}) * 1000 + CAST(SUBSTR({column}, 21, 3) AS INTEGER))"
