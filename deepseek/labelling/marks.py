"""One annotation in a form of its own: spans, relations between them, a class, fields. Light to import.

Two annotations are equal if and only if their documents are: spans and relations are in order, without repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """Characters (code points) of the text from `start` up to `end`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, order=True, slots=True)
class Relation:
    """`source` and `target` are places in the list of spans."""

    source: int
    target: int
    type: str


@dataclass(frozen=True)
class Marks:
    """What an annotator marked in one task."""

    spans: tuple[Span, ...] = ()
    relations: tuple[Relation, ...] = ()
    label: str = ""  # the class of an image or a row
    fields: Mapping[str, float | str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what is empty is left out."""
        document: dict[str, Any] = {
            "spans": [{"start": span.start, "end": span.end, "label": span.label} for span in self.spans],
            "relations": [{"source": row.source, "target": row.target, "type": row.type} for row in self.relations],
            "class": self.label,
            "fields": dict(sorted(self.fields.items())),
        }
        return {name: value for name, value in document.items() if value}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Marks:
        """Of a document that `to_dict` made. Raises KeyError, TypeError or ValueError for another."""
        return build_marks(
            [Span(int(row["start"]), int(row["end"]), str(row["label"])) for row in document.get("spans", [])],
            [
                Relation(int(row["source"]), int(row["target"]), str(row["type"]))
                for row in document.get("relations", [])
            ],
            str(document.get("class", "")),
            dict(document.get("fields", {})),
        )


def build_marks(
    spans: Iterable[Span],
    relations: Iterable[Relation] = (),
    label: str = "",
    fields: Mapping[str, float | str] | None = None,
) -> Marks:
    """Marks with spans and relations in order and once each. Raises ValueError for a relation to no span."""
    listed = list(spans)
    ordered = sorted(set(listed))
    places = {span: place for place, span in enumerate(ordered)}
    moved = set()
    for row in relations:
        if not (0 <= row.source < len(listed) and 0 <= row.target < len(listed)):
            raise ValueError("a relation to a span that is not there")
        moved.add(Relation(places[listed[row.source]], places[listed[row.target]], row.type))
    return Marks(tuple(ordered), tuple(sorted(moved)), label, dict(sorted((fields or {}).items())))
