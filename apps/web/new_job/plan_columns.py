"""The columns before each step of a cleaning plan, from which the fields of the step are picked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from apps.data.datasets.column_choices import TableColumn, build_column_choices
from apps.platform.jobs.specforms.fields import ListOption

NUMERIC_STEPS = {"fill_median", "fill_linear", "fill_group", "outliers", "hampel", "convert"}
TEXT_STEPS = {"normalise_text", "replace_text"}
TYPES = {
    "integer": "int64",
    "number": "double",
    "boolean": "bool",
    "text": "string",
    "date": "date32[day]",
    "timestamp": "timestamp[us]",
}
FLAG_SUFFIX = "__outlier"


def build_step_choices(columns: Sequence[TableColumn], steps: Any) -> dict[str, list[ListOption]]:
    """{pointer: offers} of the lists of columns of every step, of what was typed in a form: nothing is checked here."""
    offers: dict[str, list[ListOption]] = {}
    for number, (step, step_columns) in enumerate(walk_steps(columns, steps)):
        pointer, kind = f"/steps/{number}", step.get("kind")
        offers[f"{pointer}/columns"] = build_column_choices(
            list(step_columns), lambda column, kind=kind: can_treat(kind, column)
        )
        for name in ("by", "on"):
            offers[f"{pointer}/{name}"] = build_column_choices(list(step_columns), lambda column: True)
    return offers


def walk_steps(columns: Sequence[TableColumn], steps: Any) -> Iterator[tuple[Mapping[str, Any], list[TableColumn]]]:
    """Yield each step with the columns before it."""
    current = list(columns)
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping):
            yield step, current
            current = apply_step(step, current)


def apply_step(step: Mapping[str, Any], columns: list[TableColumn]) -> list[TableColumn]:
    """The columns after a step, as far as its spec determines them."""
    names = [str(name) for name in step.get("columns") or ()]
    match step.get("kind"):
        case "keep":
            return [column for column in columns if column.name in names] or columns
        case "drop":
            return [column for column in columns if column.name not in names]
        case "cast":
            dtype = TYPES.get(str(step.get("to")), "")
            return [replace(column, dtype=dtype) if column.name in names else column for column in columns]
        case "rename":
            pairs = [pair for pair in step.get("names") or () if isinstance(pair, Mapping)]
            new = {str(pair.get("column")): str(pair.get("name")) for pair in pairs if pair.get("name")}
            return [replace(column, name=new.get(column.name, column.name)) for column in columns]
        case "derive" if step.get("name"):
            rest = [column for column in columns if column.name != step["name"]]
            return [*rest, TableColumn(str(step["name"]), "double")]
        case "outliers" | "hampel" if step.get("action") == "flag":
            flagged = names or [column.name for column in columns if column.is_number]
            return [*columns, *(TableColumn(name + FLAG_SUFFIX, "bool") for name in flagged)]
    return columns


def can_treat(kind: Any, column: TableColumn) -> bool:
    """Whether a step of this kind treats the column."""
    if kind == "mask":  # phones and card numbers are often read as numbers
        return column.is_number or is_text_column(column)
    return column.is_number if kind in NUMERIC_STEPS else is_text_column(column) if kind in TEXT_STEPS else True


def is_text_column(column: TableColumn) -> bool:
    return column.dtype.startswith(("string", "large_string", "text"))


def describe_step(step: Mapping[str, Any]) -> list[str]:
    """Describe what one step of a preview changed, in short phrases."""
    parts = []
    counts = (
        (step.get("found"), _("%(count)s found")),
        (step.get("cells"), _("%(count)s cells change")),
        (step.get("rows_dropped"), _("%(count)s rows dropped")),
        (max(step.get("rows_added") or 0, 0), _("%(count)s rows added")),
    )
    parts += [text % {"count": f"{count:,}"} for count, text in counts if count]
    if step.get("columns_added"):
        parts.append(_("columns added: %(names)s") % {"names": ", ".join(step["columns_added"][:6])})
    if step.get("columns_dropped"):
        parts.append(_("columns dropped: %(names)s") % {"names": ", ".join(step["columns_dropped"][:6])})
    if step.get("dropped_rows"):
        more = " …" if step["rows_dropped"] > len(step["dropped_rows"]) else ""
        row_numbers = ", ".join(f"{row:,}" for row in step["dropped_rows"]) + more
        parts.append(_("dropped rows: %(rows)s") % {"rows": row_numbers})
    return parts or [_("nothing changes")]
