"""The inputs and labels of a site's table, by bounds and categories of the study and no statistics of the rows.

What a model sees of a row depends on the study and that row alone: no mean or range of a site is computed, which would
leave with the weights and is in no privacy budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.federated.errors import FederationError
from deepseek.federated.spec import ColumnRule, DataSchema
from deepseek.messages import N_
from deepseek.tables.csv_detection import resolve_csv_spec
from deepseek.tables.files import read_as_is
from deepseek.tables.spec import CsvSpec

Floats = npt.NDArray[np.float32]
DATA = "inputs/table"
MIN_ROWS = 20
"""With a label, at a site: of fewer nothing is learned, and single rows could be told apart."""


@dataclass(frozen=True)
class Examples:
    """`inputs`: rows x inputs of the model; `labels`: 1 for the positive value of the target, else 0."""

    inputs: Floats
    labels: Floats

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        return Examples(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True)
class SiteData:
    """A site's rows, parted once for the whole study; `outside`: cells beyond the schema, by column."""

    training: Examples
    holdout: Examples
    outside: dict[str, int]


def read_site_data(path: Path, schema: DataSchema, *, holdout: float, seed: int) -> SiteData:
    """Read the table and part it. The same table, schema and seed give the same parts.

    Rows without a label are left out. Raises FederationError ``schema_mismatch`` for a table that lacks a column or
    whose values are of another kind, ``too_few_labels``; and what `read_as_is` does.
    """
    texts = [column.name for column in schema.columns if column.kind == "category"]
    csv, _ = resolve_csv_spec(path, CsvSpec(delimiter="auto", encoding="auto"))
    table = read_as_is(path, csv, texts)
    missing = [column.name for column in schema.columns if column.name not in table.column_names]
    if missing:
        raise FederationError(
            "schema_mismatch",
            N_("The table lacks the column {name!r} of the study."),
            field=DATA,
            value=", ".join(table.column_names)[:200],
            limit=", ".join(column.name for column in schema.columns)[:200],
            hint=N_("Rename or add the column in a dataset version of this site, and bind that one."),
            name=missing[0],
        )
    examples, outside = build_examples(table, schema)
    if len(examples) < MIN_ROWS:
        raise FederationError(
            "too_few_labels",
            N_("The table has {count} rows with a label."),
            field=DATA,
            value=str(len(examples)),
            limit=f"{MIN_ROWS} rows at least",
            hint=N_("Bind a dataset version with more rows, or check the values of the target."),
            count=len(examples),
        )
    training, held = split_rows(examples.labels, holdout, seed)
    return SiteData(examples.take(training), examples.take(held), outside)


def build_examples(table: pa.Table, schema: DataSchema) -> tuple[Examples, dict[str, int]]:
    """Inputs and labels of the rows that have a label, and how many cells of each column lay outside the schema."""
    outside: dict[str, int] = {}
    blocks = []
    for rule in schema.features:
        if rule.kind == "number":
            block, count = encode_number(table.column(rule.name), rule)
        else:
            block, count = encode_category(table.column(rule.name), rule)
        blocks.append(block)
        outside[rule.name] = count
    target = next(column for column in schema.columns if column.name == schema.target)
    labels, outside[schema.target] = encode_category(table.column(target.name), target)
    rows = np.flatnonzero(labels.sum(axis=1) > 0)
    refuse_foreign_values(outside, table, schema)
    return Examples(np.concatenate(blocks, axis=1)[rows], labels[rows, 1]), {k: v for k, v in outside.items() if v}


def encode_number(column: pa.ChunkedArray, rule: ColumnRule) -> tuple[Floats, int]:
    """Two inputs: the value between -1 and 1 by the bounds, 0 where missing; and 1 where it is missing."""
    low, high = float(rule.low or 0.0), float(rule.high or 0.0)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise FederationError(
            "schema_mismatch",
            N_("The column {name!r} holds no numbers."),
            field=DATA,
            value=str(column.type),
            limit="number",
            hint=N_("Clean the column in a dataset version of this site, and bind that one."),
            name=rule.name,
        )
    values = column.cast(pa.float64()).to_numpy()
    is_inside = np.isfinite(values) & (values >= low) & (values <= high)
    scaled = np.where(is_inside, (np.where(is_inside, values, low) - low) / (high - low) * 2 - 1, 0.0)
    outside = int((~is_inside & ~np.isnan(values)).sum())
    return np.stack([scaled, ~is_inside], axis=1).astype(np.float32), outside


def encode_category(column: pa.ChunkedArray, rule: ColumnRule) -> tuple[Floats, int]:
    """One input for each category, all 0 where the value is missing or none of them."""
    places = {category: place for place, category in enumerate(rule.categories)}
    found = [None if value is None else places.get(to_text(value), -1) for value in column.to_pylist()]
    block = np.zeros((len(found), len(places)), np.float32)
    for row, place in enumerate(found):
        if place is not None and place >= 0:
            block[row, place] = 1.0
    return block, sum(place == -1 for place in found)


def to_text(value: object) -> str:
    """A cell as the study's categories write it: true, 1, and text as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def refuse_foreign_values(outside: dict[str, int], table: pa.Table, schema: DataSchema) -> None:
    """Raise FederationError ``schema_mismatch`` for a column of which no value is of the schema: another unit, other
    words. A number that is the same in every row is how some sites write that it is missing."""
    for rule in schema.columns:
        column = table.column(rule.name)
        filled = len(column) - column.null_count
        if (
            filled
            and outside[rule.name] == filled
            and (rule.kind == "category" or len(column.drop_null().unique()) > 1)
        ):
            bounds = f"{rule.low} to {rule.high}" if rule.kind == "number" else ", ".join(rule.categories)[:200]
            raise FederationError(
                "schema_mismatch",
                N_("No value of the column {name!r} is one of the study."),
                field=DATA,
                value=to_text(column.drop_null()[0].as_py())[:80],
                limit=bounds,
                hint=N_("Bring the column to the study's units or categories in a dataset version, and bind that one."),
                name=rule.name,
            )


def split_rows(labels: Sequence[float] | Floats, holdout: float, seed: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Rows to train on and rows held out, each with the same share of positive ones as far as that goes."""
    draw = np.random.default_rng(seed)
    values = np.asarray(labels)
    held: list[int] = []
    for label in (0, 1):
        rows = draw.permutation(np.flatnonzero(values == label))
        held.extend(rows[: round(len(rows) * holdout)].tolist())
    is_held = np.zeros(len(values), bool)
    is_held[held] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)
