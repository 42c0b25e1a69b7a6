"""Which columns the features of many predictions become, and of what type: found in a first pass over all rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deepseek.job import EngineError
from deepseek.messages import N_

MAX_COLUMNS = 5_000
FEATURES = "features"  # the column of what is neither a mapping nor a list of plain values


@dataclass(frozen=True, slots=True)
class Row:
    """One prediction: its facts, its features by name, and as they were sent; the answer and the label; and how long
    these were as JSON."""

    meta: Mapping[str, Any]
    named: Mapping[str, Any]
    features: Any
    answer: Any
    label: Any
    characters: int


def flatten_features(features: Any) -> dict[str, Any]:
    """The features by name; those of a list are x0, x1 and so on, and what holds more than plain values is one JSON
    text."""
    if features is None:
        return {}
    if isinstance(features, dict):
        return features
    if isinstance(features, list) and not any(isinstance(value, dict | list) for value in features):
        return {f"x{place}": value for place, value in enumerate(features)}
    return {FEATURES: features}


class ColumnTypes:
    """The type of each column, widened row by row: whole numbers, numbers, truth values, else text."""

    def __init__(self, reserved: tuple[str, ...], *, as_json: bool = False) -> None:
        self.reserved, self.as_json = frozenset(reserved), as_json
        self.kinds: dict[str, set[str]] = {}
        self.targets: dict[str, set[str]] = {"prediction": set(), "label": set()}
        self._names: dict[str, str] = {}

    def observe(self, row: Row) -> None:
        for name, value in self.get_features(row).items():
            if name not in self.kinds and len(self.kinds) >= MAX_COLUMNS:
                raise EngineError(
                    "too_many_features",
                    N_("The features have more than {most} names."),
                    most=MAX_COLUMNS,
                    field="/features",
                    value=name[:60],
                    limit=MAX_COLUMNS,
                    hint=N_("Make one column of JSON of them: features json."),
                )
            self.kinds.setdefault(name, set()).add(get_kind(value))
        self.targets["prediction"].add(get_kind(row.answer))
        self.targets["label"].add(get_kind(row.label))

    def get_features(self, row: Row) -> Mapping[str, Any]:
        if self.as_json:
            return {} if row.features is None else {FEATURES: row.features}
        return row.named

    def build_fields(self) -> list[pa.Field]:
        """The features in the order in which they were met, then the answer and the label. A feature of a name that is
        taken has `feature_` before it."""
        used = set(self.reserved)
        for name in self.kinds:
            column = name
            while column in used:
                column = f"feature_{column}"
            used.add(column)
            self._names[name] = column
        features = [pa.field(self._names[name], choose_type(kinds)) for name, kinds in self.kinds.items()]
        return features + [pa.field(name, choose_type(kinds)) for name, kinds in self.targets.items()]

    def convert(self, row: Row) -> dict[str, Any]:
        cells = {
            self._names[name]: convert_value(value, self.kinds[name]) for name, value in self.get_features(row).items()
        }
        cells["prediction"] = convert_value(row.answer, self.targets["prediction"])
        cells["label"] = convert_value(row.label, self.targets["label"])
        return {**row.meta, **cells}


def get_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "text"
    return {float: "float", str: "text", type(None): "none"}.get(type(value), "json")


def choose_type(kinds: set[str]) -> pa.DataType:
    kinds = kinds - {"none"}
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds == {"int"}:
        return pa.int64()
    if kinds and kinds <= {"int", "float"}:
        return pa.float64()
    return pa.string()


def convert_value(value: Any, kinds: set[str]) -> Any:
    """A cell of the column's type; in a column of text, JSON of what is none."""
    if value is None or isinstance(value, str):
        return value
    if choose_type(kinds) == pa.string():
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return float(value) if "float" in kinds else value
