"""What filters of runs, of experiments and of logged models may name. The aliases are MLflow's."""

from __future__ import annotations

from collections.abc import Iterable

from apps.ml.experiments.filters.grammar import ATTRIBUTE, DATASET, METRIC, PARAMETER, TAG, Vocabulary

PLAIN_KINDS = {"attribute": ATTRIBUTE, "tag": TAG, "tags": TAG}


def map_to_themselves(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}


STARTED = {"created": "start_time", "Created": "start_time"}
RUN_NAMES = {"run name": "run_name", "Run name": "run_name", "Run Name": "run_name"}
RUN_ATTRIBUTES = (
    map_to_themselves(("run_id", "run_name", "status", "artifact_uri", "user_id", "start_time", "end_time")) | STARTED
)

RUNS = Vocabulary(
    kinds={
        **dict.fromkeys(("metric", "metrics"), METRIC),
        **dict.fromkeys(("parameter", "parameters", "param", "params"), PARAMETER),
        **dict.fromkeys(("tag", "tags"), TAG),
        **dict.fromkeys(("attribute", "attributes", "attr", "run"), ATTRIBUTE),
        **dict.fromkeys(("dataset", "datasets"), DATASET),
    },
    attributes=RUN_ATTRIBUTES | RUN_NAMES,
    orderable=RUN_ATTRIBUTES,
    numeric=frozenset({"start_time", "end_time"}),
    listed=frozenset({"run_id"}),
    nullable=frozenset({TAG, PARAMETER}),
    datasets=frozenset({"name", "digest", "context"}),
    kind_text=f"Invalid entity type '{{word}}'. Valid values are {[METRIC, PARAMETER, TAG, ATTRIBUTE, DATASET]}",
    clause_quote="'",
)

EXPERIMENT_ATTRIBUTES = map_to_themselves(("name", "experiment_id", "creation_time", "last_update_time"))
EXPERIMENTS = Vocabulary(
    kinds=PLAIN_KINDS,
    attributes=EXPERIMENT_ATTRIBUTES,
    orderable=EXPERIMENT_ATTRIBUTES,
    numeric=frozenset({"creation_time", "last_update_time"}),
    listed=frozenset({"experiment_id"}),
    nullable=frozenset({TAG}),
    operator_texts={
        "number": "Invalid comparator for numeric attribute: {operator}",
        ATTRIBUTE: "Invalid comparator for string attribute: {operator}",
        TAG: "Invalid comparator for tag: {operator}",
    },
)

LOGGED_MODELS = Vocabulary(
    kinds={
        **dict.fromkeys(("attributes", "attribute"), ATTRIBUTE),
        **dict.fromkeys(("metrics", "metric"), METRIC),
        **dict.fromkeys(("params", "parameter"), PARAMETER),
        **dict.fromkeys(("tags", "tag"), TAG),
    },
    attributes=map_to_themselves(
        ("name", "model_id", "model_type", "status", "source_run_id", "creation_timestamp", "last_updated_timestamp")
    )
    | {
        "creation_time": "creation_timestamp",
        "creation_timestamp_ms": "creation_timestamp",
        "last_updated_timestamp_ms": "last_updated_timestamp",
    },
    numeric=frozenset({"creation_timestamp", "last_updated_timestamp"}),
    listed=frozenset({"name", "model_id", "model_type", "status", "source_run_id"}),
    listed_kinds=frozenset({PARAMETER, TAG}),
    bare=True,
    kind_text="Invalid entity type: '{word}'. Expected one of ['attributes', 'metrics', 'params', 'tags'].",
    clause_text="Invalid filter string: {text}. Expected a list of comparisons separated by 'AND' "
    "(e.g. 'metrics.loss > 0.1 AND params.lr = 0.01').",
)
