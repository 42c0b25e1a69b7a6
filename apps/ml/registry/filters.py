"""What filters of registered models and of their versions may name, and the conditions in SQL that they become."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apps.ml.experiments.filters.grammar import ATTRIBUTE, TAG, Comparison, FilterError, Vocabulary
from apps.ml.experiments.filters.sql import Sql, build_number_condition, build_text_condition
from apps.ml.experiments.filters.vocabularies import PLAIN_KINDS, map_to_themselves
from apps.ml.experiments.search.tables import build_key_condition, build_text_value_condition
from deepseek.messages import Message

REFUSED = {ATTRIBUTE: "Invalid comparator for attribute: {operator}", TAG: "Invalid comparator for tag: {operator}"}
MODELS = Vocabulary(
    kinds=PLAIN_KINDS,
    attributes=map_to_themselves(("name",)),
    listed=frozenset({"name"}),
    orderable=map_to_themselves(("name", "timestamp", "last_updated_timestamp")),
    operator_texts=REFUSED,
)
VERSIONS = Vocabulary(
    kinds=PLAIN_KINDS,
    attributes=map_to_themselves(("name", "version_number", "run_id", "source_path")),
    numeric=frozenset({"version_number"}),
    listed=frozenset({"name", "run_id"}),
    orderable=map_to_themselves(("name", "version_number", "creation_timestamp", "last_updated_timestamp")),
    texts_as_numbers=True,
    operator_texts=REFUSED | {"number": "Invalid comparator for attribute {key}: {operator}"},
)
PROMPT = "mlflow.prompt.is_prompt"  # "true" on what MLflow keeps as a prompt, and on nothing else
MODEL, VERSION = "registry_model", "registry_modelversion"
TAGS = {MODEL: ("registry_modeltag", "model_id"), VERSION: ("registry_modelversiontag", "version_id")}
COLUMNS = {
    MODEL: {"name": f"{MODEL}.name"},
    VERSION: {
        "name": f"{MODEL}.name",
        "version_number": f"{VERSION}.number",
        "run_id": f"{VERSION}.run_id",
        "source_path": f"{VERSION}.source",
    },
}


def build_conditions(comparisons: Sequence[Comparison], table: str) -> list[Sql]:
    """Models, or versions, of which every comparison is true. Prompts are left out, unless they are asked for."""
    prompt_comparison = next(
        (comparison for comparison in comparisons if comparison.kind == TAG and comparison.key == PROMPT), None
    )
    conditions = [
        build_condition(comparison, table)
        for comparison in comparisons
        if comparison.kind != TAG or comparison.key != PROMPT
    ]
    return [
        *conditions,
        build_prompt_condition(table, wanted=prompt_comparison is not None and is_for_prompts(prompt_comparison)),
    ]


def is_for_prompts(asked: Comparison) -> bool:
    value = str(asked.value).lower()
    return (asked.operator, value) in {("=", "true"), ("!=", "false")}


def build_prompt_condition(table: str, *, wanted: bool) -> Sql:
    """A model without the tag is none: `!= 'true'` holds for it, which is what clients send to see models only."""
    tags, owner = TAGS[table]
    exists_sql = f"EXISTS (SELECT 1 FROM {tags} x WHERE x.{owner} = {table}.id AND x.key = %s AND x.value = 'true')"
    return Sql(exists_sql if wanted else f"NOT {exists_sql}", (PROMPT,))


def build_condition(comparison: Comparison, table: str) -> Sql:
    if comparison.kind == TAG:
        tags, owner = TAGS[table]
        return build_key_condition(tags, owner, f"{table}.id", comparison, build_text_value_condition)
    column, operator, value = COLUMNS[table][comparison.key], comparison.operator, comparison.value
    if comparison.key != "version_number":
        return build_text_condition(column, operator, value)  # type: ignore[arg-type]
    if isinstance(value, float):
        message = Message("Invalid value for numeric attribute '{key}': {value!r}", key=comparison.key, value=value)
        raise FilterError(message, start=comparison.start, end=comparison.end)
    return build_number_condition(column, operator, value)  # type: ignore[arg-type]


def normalize_order(text: str) -> str:
    """`timestamp` is a word of SQL to MLflow, and means the last update here."""
    return re.sub(r"^\s*timestamp\b", "last_updated_timestamp", text)
