"""The tasks of a file: JSON lines, CSV, Parquet or plain lines; and the pre-labels of a model for them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from deepseek.job import EngineError
from deepseek.labelling.label_studio import list_violations
from deepseek.labelling.marks import Marks, Span, build_marks
from deepseek.labelling.schema import LabellingSchema
from deepseek.messages import N_

TEXT_COLUMN = "text"
MAX_TEXT = 100_000  # characters of one task
TEXTS_AT_ONCE = 256
Task = dict[str, Any]
"""{row, data, gold, prelabel, uncertainty}: `row` counts the rows of the file from 0."""


def iterate_tasks(path: Path, name: str, schema: LabellingSchema, text_column: str = "") -> Iterator[Task]:
    """The tasks of the file at `path`, which is called `name`. Rows without a text are left out.

    JSON lines may have `spans`, and `gold: true` with them: these are right, and annotators are compared with them;
    other spans are where annotators begin. Raises EngineError ``tasks_unreadable``.
    """
    column = text_column or TEXT_COLUMN
    for row, record in enumerate(iterate_records(path, name)):
        text = render_row(record) if schema.data == "row" else record.get(column)
        if text is None and schema.data == "text":
            raise build_task_error(row, f"there is no column {column!r}")
        if not isinstance(text, str) or not text.strip():
            continue
        if len(text) > MAX_TEXT:
            raise build_task_error(row, f"a text of {len(text):,} characters, and {MAX_TEXT:,} are the most")
        marks = read_marks(row, record, text, schema)
        is_gold = marks is not None and record.get("gold") is True
        yield {
            "row": row,
            "data": {"text": text},
            "gold": marks if is_gold else None,
            "prelabel": None if is_gold else marks,
            "uncertainty": None,
        }


def iterate_records(path: Path, name: str) -> Iterator[dict[str, Any]]:
    suffix = Path(name).suffix.lower()
    try:
        if suffix == ".parquet":
            import pyarrow.parquet

            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1000):
                yield from batch.to_pylist()
        elif suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
        elif suffix in (".jsonl", ".json"):
            with path.open(encoding="utf-8-sig") as file:
                for line in file:
                    if line.strip():
                        record = json.loads(line)
                        if not isinstance(record, dict):
                            raise ValueError("a line that is no JSON object")
                        yield record
        else:
            with path.open(encoding="utf-8-sig") as file:
                yield from ({TEXT_COLUMN: line.rstrip("\r\n")} for line in file)
    except (OSError, ValueError, RecursionError, csv.Error) as fault:
        raise EngineError(
            "tasks_unreadable",
            N_("The file {name} cannot be read as tasks: {reason}."),
            name=name,
            reason=str(fault)[:200],
            field="source_file",
            value=name,
            limit="UTF-8: .jsonl, .csv, .tsv, .txt or .parquet",
            hint=N_("One text on each line, or a column of texts."),
        ) from fault


def render_row(record: dict[str, Any]) -> str:
    """A row of a table as annotators read it: a column on each line."""
    return "\n".join(f"{name}: {value}" for name, value in record.items())


def read_marks(row: int, record: dict[str, Any], text: str, schema: LabellingSchema) -> dict[str, Any] | None:
    """The spans, relations, class and fields that the record brings along; None where it has none."""
    document = {name: record[name] for name in ("spans", "relations", "class", "fields") if record.get(name)}
    if not document and record.get("gold") is not True:
        return None
    try:
        marks = Marks.from_dict(document)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise build_task_error(row, "its spans are none") from None
    labels = {label.value for label in schema.labels}
    if any(span.label not in labels or not 0 <= span.start < span.end <= len(text) for span in marks.spans):
        raise build_task_error(row, "a span lies outside the text, or its label outside the schema")
    if record.get("gold") is True and (broken := list_violations(schema, marks, text)):
        raise build_task_error(row, f"it is gold and violates {', '.join(broken)}")
    return marks.to_dict()


def build_task_error(row: int, found: str) -> EngineError:
    return EngineError(
        "task_unreadable",
        N_("Row {row} cannot be a task: {found}."),
        row=row + 1,
        found=found,
        field="source_file",
        value=found,
        limit=N_("a text, and spans of the schema's labels"),
        hint=N_("Mend the row in a new version of the dataset."),
    )


def add_prelabels(tasks: Iterable[Task], model: Path, manifest: Path, schema: LabellingSchema) -> Iterator[Task]:
    """Tasks of texts with what a model of entities finds in them, where they bring nothing along.

    `uncertainty`: 1 minus the mean probability of the tags that the model chose; labels of the model that the schema
    lacks are left out.
    """
    from deepseek.entities.predictor import open_entities
    from deepseek.models.manifest import ModelManifest

    predictor = open_entities(ModelManifest.model_validate_json(manifest.read_bytes()), model)
    labels = {label.value for label in schema.labels}
    rows = iter(tasks)
    while batch := list(islice(rows, TEXTS_AT_ONCE)):
        texts = [task["data"]["text"] for task in batch]
        predictions = predictor.predict(texts)
        sure = estimate_certainty(predictor, texts)
        for task, spans, certainty in zip(batch, predictions, sure, strict=True):
            if task["prelabel"] is None and task["gold"] is None:
                chosen = [Span(span.start, span.end, span.label) for span in spans if span.label in labels]
                task["prelabel"] = build_marks(chosen).to_dict()
            task["uncertainty"] = round(1 - certainty, 6)
            yield task


def estimate_certainty(predictor: Any, texts: Sequence[str]) -> list[float]:
    """The mean probability of the likeliest tag over the tokens of each text; 1 for a text without tokens."""
    import numpy as np

    from deepseek.entities.tokens import encode_tokens, pad_tokens, tokenize

    certainties = []
    for text in texts:
        tokens = tokenize(text)[: predictor.max_length]
        if not tokens:
            certainties.append(1.0)
            continue
        encoded = encode_tokens(tokens, predictor.ids, predictor.architecture.buckets)
        shares = np.exp(predictor.network(pad_tokens([encoded]))[0, : len(tokens)])
        certainties.append(float(shares.max(axis=-1).mean()))
    return certainties
