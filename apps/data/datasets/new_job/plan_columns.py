"""Which columns a table has before each step of a cleaning plan: what the step's own fields are picked from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from apps.data.datasets.new_job.choices import Column, offers_of
from apps.platform.jobs.specforms.fields import ListOption

NUMERIC = {"fill_median", "fill_linear", "fill_group", "outliers", "hampel", "convert"}
TEXTS = {"normalise_text", "replace_text"}
TYPES = {
    "integer": "int64",
    "number": "double",
    "boolean": "bool",
    "text": "string",
    "date": "date32[day]",
    "timestamp": "timestamp[us]",
}
FLAGS = "__outlier"


def offers_of_steps(columns: Sequence[Column], steps: Any) -> dict[str, list[ListOption]]:
    """{pointer: offers} of the lists of columns of every step, of what was typed in a form: nothing is checked here."""
    offers: dict[str, list[ListOption]] = {}
    for number, (step, here) in enumerate(walk(columns, steps)):
        at, kind = f"/steps/{number}", step.get("kind")
        offers[f"{at}/columns"] = offers_of(list(here), lambda one, kind=kind: fits(kind, one))
        for name in ("by", "on"):
            offers[f"{at}/{name}"] = offers_of(list(here), lambda one: True)
    return offers


def walk(columns: Sequence[Column], steps: Any) -> Iterator[tuple[Mapping[str, Any], list[Column]]]:
    """Each step with the columns that it finds."""
    here = list(columns)
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping):
            yield step, here
            here = after(step, here)


def after(step: Mapping[str, Any], here: list[Column]) -> list[Column]:
    """The columns behind a step, as far as it says so."""
    named = [str(name) for name in step.get("columns") or ()]
    match step.get("kind"):
        case "keep":
            return [one for one in here if one.name in named] or here
        case "drop":
            return [one for one in here if one.name not in named]
        case "cast":
            dtype = TYPES.get(str(step.get("to")), "")
            return [replace(one, dtype=dtype) if one.name in named else one for one in here]
        case "rename":
            pairs = [pair for pair in step.get("names") or () if isinstance(pair, Mapping)]
            new = {str(pair.get("column")): str(pair.get("name")) for pair in pairs if pair.get("name")}
            return [replace(one, name=new.get(one.name, one.name)) for one in here]
        case "derive" if step.get("name"):
            rest = [one for one in here if one.name != step["name"]]
            return [*rest, Column(str(step["name"]), "double")]
        case "outliers" | "hampel" if step.get("action") == "flag":
            flagged = named or [one.name for one in here if one.is_number]
            return [*here, *(Column(name + FLAGS, "bool") for name in flagged)]
    return here


def fits(kind: Any, column: Column) -> bool:
    """Whether a step of this kind treats the column."""
    if kind == "mask":  # phones and card numbers are often read as numbers
        return column.is_number or is_text(column)
    return column.is_number if kind in NUMERIC else is_text(column) if kind in TEXTS else True


def is_text(column: Column) -> bool:
    return column.dtype.startswith(("string", "large_string", "text"))


def told_of(step: Mapping[str, Any]) -> list[str]:
    """What one step of a preview did, in a few words each."""
    words = []
    counts = (
        (step.get("found"), _("%(count)s found")),
        (step.get("cells"), _("%(count)s cells change")),
        (step.get("rows_dropped"), _("%(count)s rows dropped")),
        (max(step.get("rows_added") or 0, 0), _("%(count)s rows added")),
    )
    words += [text % {"count": f"{count:,}"} for count, text in counts if count]
    if step.get("columns_added"):
        words.append(_("columns added: %(names)s") % {"names": ", ".join(step["columns_added"][:6])})
    if step.get("columns_dropped"):
        words.append(_("columns dropped: %(names)s") % {"names": ", ".join(step["columns_dropped"][:6])})
    if step.get("dropped_rows"):
        more = " …" if step["rows_dropped"] > len(step["dropped_rows"]) else ""
        shown = ", ".join(f"{row:,}" for row in step["dropped_rows"]) + more
        words.append(_("dropped rows: %(rows)s") % {"rows": shown})
    return words or [_("nothing changes")]
