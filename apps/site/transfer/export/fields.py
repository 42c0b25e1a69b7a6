"""Which fields of which rows travel. Keys of other rows do not: they are made anew on the target."""

DATASET_VERSION = (
    "number",
    "digest",
    "manifest",
    "media_type",
    "rows",
    "size",
    "columns",
    "script",
    "params",
    "note",
    "created_by",
    "created_at",
)
MODEL_VERSION = (
    "number",
    "digest",
    "document",
    "task",
    "target",
    "metrics",
    "note",
    "source",
    "run_link",
    "description",
    "created_by",
    "created_at",
)
VARIANT = ("name", "format", "file", "size", "heldout", "machine", "figures")
RUN = (
    "id",
    "name",
    "kind",
    "state",
    "started_at",
    "ended_at",
    "created_by",
    "client_user",
    "environment",
    "code_digest",
    "spec_digest",
    "inputs",
    "figures",
    "metrics_digest",
    "metrics_count",
)
METRIC = (
    "key",
    "value",
    "is_nan",
    "step",
    "at",
    "first_step",
    "lowest",
    "lowest_step",
    "highest",
    "highest_step",
    "count",
    "digest",
    "open_buckets",
)
POINT = ("step", "value", "is_nan", "at")
BUCKET = (
    "level",
    "upto",
    "count",
    "odd",
    "total",
    "first_step",
    "last_step",
    "lowest",
    "lowest_step",
    "lowest_at",
    "highest",
    "highest_step",
    "highest_at",
)
EVALUATION_SET = ("name", "description", "task", "target", "primary_metric", "spec", "created_by")
EVALUATION = ("pairing", "rows", "metrics", "document", "created_by")
IMAGE = ("manifest_digest", "media_type", "architecture", "size", "source_name")
EDGE = (
    "source_type",
    "source_id",
    "source_digest",
    "source_label",
    "target_type",
    "target_id",
    "target_digest",
    "target_label",
    "role",
)
