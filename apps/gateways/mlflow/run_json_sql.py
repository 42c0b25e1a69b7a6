"""Runs whole, as searches answer them: the database writes the JSON of their parts, in one query for a thousand runs.

A page of a hundred runs has some thousand parameters, tags and metrics. As rows they cost more to fetch and to write
again than all the rest of a search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apps.core.db.fast_sql import fetch
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.responses import as_json
from apps.ml.experiments.filters.sql import Sql, marks, milliseconds, on_postgres
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.search.runs import RunRow

TOGETHER = 1000  # runs of which the parts are read at once
PARAMS, TAGS, METRICS, DATASETS, INPUTS, OUTPUTS = range(6)
Parts = dict[tuple[int, str], str]
Members = dict[str, str]  # name -> SQL of the JSON of its value


def told_runs(rows: Sequence[RunRow]) -> Iterator[str]:
    """Each run as MLflow's JSON, in the order given."""
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        parts = parts_of([row.id for row in some])
        for row in some:
            yield told(row, parts)


def told(row: RunRow, parts: Parts) -> str:
    run = row.id
    name = f'{{"key":"{NAME_TAG}","value":{as_json(row.name)}}}'
    tags = f"{parts[TAGS, run]},{name}" if (TAGS, run) in parts else name
    metrics, params = named("metrics", parts.get((METRICS, run))), named("params", parts.get((PARAMS, run)))
    data = f'{metrics}{"," if metrics else ""}{params}{"," if params else ""}"tags":[{tags}]'
    datasets, used = (
        named("dataset_inputs", parts.get((DATASETS, run))),
        named("model_inputs", parts.get((INPUTS, run))),
    )
    inputs = f"{datasets}{',' if datasets and used else ''}{used}"
    outputs = named("model_outputs", parts.get((OUTPUTS, run)))
    return f'{{"info":{info_of(row)},"data":{{{data}}},"inputs":{{{inputs}}},"outputs":{{{outputs}}}}}'


def named(name: str, items: str | None) -> str:
    return f'"{name}":[{items}]' if items else ""


def info_of(row: RunRow) -> str:
    place, run = row.experiment, row.id
    uri = as_json(f"{serializers.location(place.number, place.artifact_location)}/{run}/artifacts")
    ended = "" if row.ended_at is None else f'"end_time":{milliseconds(row.ended_at)},'
    stage = serializers.ACTIVE if row.deleted_at is None else serializers.DELETED
    return (
        f'{{"run_uuid":"{run}","experiment_id":"{place.number}","run_name":{as_json(row.name)},'
        f'"user_id":{as_json(row.user)},"status":"{row.state.upper()}",'
        f'"start_time":{milliseconds(row.started_at)},{ended}"artifact_uri":{uri},'
        f'"lifecycle_stage":"{stage}","run_id":"{run}"}}'
    )


# -- parts ----------------------------------------------------------------------------------------------------------
def parts_of(ids: Sequence[str]) -> Parts:
    """{(part, run): the JSON of its items, commas between}, each in the order in which the rows were written."""
    model = {"model_id": quoted("model_id")}
    pair = {"key": quoted("key"), "value": quoted("value")}
    metric = {"key": quoted("key"), "value": number(), "timestamp": moment("at"), "step": "step"}
    dataset = {name: quoted(name) for name in ("name", "digest", "source_type", "source", "schema", "profile")}
    one_of = [
        aggregated(PARAMS, "experiments_runparam", joined(pair), ids),
        aggregated(TAGS, "experiments_runtag", joined(pair), ids),
        aggregated(METRICS, "experiments_metric", joined(metric), ids),
        aggregated(DATASETS, "experiments_rundataset", dataset_input(dataset), ids),
        aggregated(INPUTS, "experiments_runmodel", joined(model), ids, "direction = 'input'"),
        aggregated(
            OUTPUTS,
            "experiments_runmodel",
            joined(model | {"step": "step"}),
            ids,
            "direction = 'output'",
        ),
    ]
    text = " UNION ALL ".join(one.text for one in one_of)
    params = tuple(value for one in one_of for value in one.params)
    return {(part, run): items for part, run, items in fetch(text, params)}


def aggregated(part: int, table: str, item: str, ids: Sequence[str], condition: str = "") -> Sql:
    also = f" AND {condition}" if condition else ""
    if on_postgres():  # ids are hex digits, and one parameter is cheaper than a thousand
        text = (
            f"SELECT {part}, run_id, STRING_AGG({item}, ',' ORDER BY id) FROM {table} WHERE run_id = ANY(%s::varchar[])"
        )
        return Sql(f"{text}{also} GROUP BY run_id", (f"{{{','.join(ids)}}}",))
    rows = f"SELECT * FROM {table} WHERE run_id IN ({marks(ids)}){also} ORDER BY run_id, id"
    return Sql(f"SELECT {part}, run_id, GROUP_CONCAT({item}, ',') FROM ({rows}) GROUP BY run_id", tuple(ids))


def joined(members: Members) -> str:
    """SQL of the JSON object with these members."""
    return "'{' || " + " || ',' || ".join(f"'\"{name}\":' || {value}" for name, value in members.items()) + " || '}'"


def dataset_input(dataset: Members) -> str:
    """A schema and a profile that are empty are left out, as in MLflow, and so are no tags."""
    always, rest = ["name", "digest", "source_type", "source"], []
    for name, value in dataset.items():
        if name not in always:
            rest.append(f"CASE WHEN {name} = '' THEN '' ELSE ',\"{name}\":' || {value} END")
    first = " || ',' || ".join(f"'\"{name}\":' || {dataset[name]}" for name in always)
    tags = "tags::text" if on_postgres() else "tags"
    told_tags = f"CASE WHEN {tags} = '[]' THEN '' ELSE '\"tags\":' || {tags} || ',' END"
    return f"'{{' || {told_tags} || '\"dataset\":{{' || {first} || {' || '.join(rest)} || '}}}}'"


def quoted(column: str) -> str:
    return f"TO_JSON({column})::text" if on_postgres() else f"JSON_QUOTE({column})"


def number() -> str:
    """A value in digits that give it back exactly. JSON has no infinity; MLflow sends the greatest number there is."""
    digits = "value::text" if on_postgres() else "PRINTF('%%!.17g', value)"
    top = "1.7976931348623157e308"
    ends = f"WHEN value > {top} THEN '{top}' WHEN value < -{top} THEN '-{top}'"
    return f"CASE WHEN is_nan THEN '\"NaN\"' {ends} ELSE {digits} END"


def moment(column: str) -> str:
    """Milliseconds after the beginning of 1970. SQLite keeps `2026-01-02 03:04:05.678901`, or without what is 0."""
    if on_postgres():
        return f"FLOOR(EXTRACT(EPOCH FROM {column}) * 1000)::bigint"
    return f"(STRFTIME('%%s', {column}) * 1000 + CAST(SUBSTR({column}, 21, 3) AS INTEGER))"
