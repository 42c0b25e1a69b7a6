"""The form by which a person decides a task: what annotators marked, to be chosen from, and the schema's fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from apps.core.errors import Invalid
from apps.ml.labelling.models import Annotation, LabelTask
from deepseek.messages import N_

Row = dict[str, Any]
CLASS_FIELD = "class"
FIELD_PREFIX = "field-"


def list_standing_marks(task: LabelTask, annotations: Sequence[Annotation]) -> list[tuple[str, Mapping[str, Any]]]:
    """(pseudonym, marks) of each annotation that is no skip."""
    return [(row.annotator.pseudonym, row.marks) for row in annotations if not row.is_skipped]


def encode_span(span: Mapping[str, Any]) -> str:
    return f"{span['start']}:{span['end']}:{span['label']}"


def encode_relations(marks: Mapping[str, Any]) -> list[str]:
    """Each relation as its two spans and its type."""
    spans = [encode_span(span) for span in marks.get("spans", [])]
    return [f"{spans[row['source']]}|{spans[row['target']]}|{row['type']}" for row in marks.get("relations", [])]


def list_span_choices(task: LabelTask, annotations: Sequence[Annotation]) -> list[Row]:
    """Every span that somebody marked, with who did: those of the result, or that all marked, are chosen at first."""
    text = str(task.data.get("text", ""))
    standing = list_standing_marks(task, annotations)
    names_by_span: dict[str, list[str]] = {}
    places: dict[str, tuple[int, int, str]] = {}
    for name, marks in standing:
        for span in marks.get("spans", []):
            names_by_span.setdefault(encode_span(span), []).append(name)
            places[encode_span(span)] = span["start"], span["end"], span["label"]
    decided = {encode_span(span) for span in (task.marks or {}).get("spans", [])}
    return [
        {
            "value": value,
            "label": places[value][2],
            "text": text[places[value][0] : places[value][1]],
            "by": ", ".join(names_by_span[value]),
            "is_chosen": value in decided if task.marks else len(names_by_span[value]) == len(standing),
        }
        for value in sorted(places, key=lambda value: places[value])
    ]


def list_relation_choices(task: LabelTask, annotations: Sequence[Annotation]) -> list[Row]:
    """Every relation that somebody marked, likewise."""
    text = str(task.data.get("text", ""))
    standing = list_standing_marks(task, annotations)
    names: dict[str, list[str]] = {}
    for name, marks in standing:
        for value in encode_relations(marks):
            names.setdefault(value, []).append(name)
    decided = set(encode_relations(task.marks or {}))
    rows = []
    for value in sorted(names):
        source, target, kind = value.split("|")
        rows.append(
            {
                "value": value,
                "text": f"{quote_span(text, source)} – {kind} → {quote_span(text, target)}",
                "by": ", ".join(names[value]),
                "is_chosen": value in decided if task.marks else len(names[value]) == len(standing),
            }
        )
    return rows


def quote_span(text: str, value: str) -> str:
    start, end, _label = value.split(":")
    return text[int(start) : int(end)]


def list_decision_fields(task: LabelTask, annotations: Sequence[Annotation]) -> list[Row]:
    """The class and the fields of the schema, with what was decided, or what annotators say where they agree."""
    document = task.labelling.schema.document
    sources = [task.marks] if task.marks else [marks for _name, marks in list_standing_marks(task, annotations)]
    rows: list[Row] = []
    if document["classes"]:
        value = find_common([str(marks.get("class", "")) for marks in sources])
        rows.append({"name": CLASS_FIELD, "label": _("Class"), "choices": document["classes"], "value": value})
    for field in document["fields"]:
        name = field["name"]
        value = find_common([str(marks.get("fields", {}).get(name, "")) for marks in sources])
        rows.append({"name": f"{FIELD_PREFIX}{name}", "label": name, "choices": field["choices"], "value": value})
    return rows


def find_common(values: Sequence[str]) -> str:
    return values[0] if values and len(set(values)) == 1 else ""


def read_decision(data: QueryDict, task: LabelTask) -> dict[str, Any]:
    """The marks that were chosen. Raises Invalid for a relation without its entities, and a number that is none."""
    values = list(dict.fromkeys(data.getlist("span")))
    marks: dict[str, Any] = {
        "spans": [split_span(value) for value in values],
        "relations": list(read_relations(data.getlist("relation"), values)),
        "class": data.get(CLASS_FIELD, ""),
        "fields": {},
    }
    for field in task.labelling.schema.document["fields"]:
        name = field["name"]
        written = data.get(f"{FIELD_PREFIX}{name}", "").strip()
        if written:
            marks["fields"][name] = read_number(name, written) if field["kind"] == "number" else written
    return marks


def split_span(value: str) -> dict[str, str]:
    start, _colon, rest = value.partition(":")
    end, _colon, label = rest.partition(":")
    return {"start": start, "end": end, "label": label}


def read_relations(values: Sequence[str], spans: Sequence[str]) -> Iterator[dict[str, Any]]:
    places = {value: place for place, value in enumerate(spans)}
    for value in values:
        source, _bar, rest = value.partition("|")
        target, _bar, kind = rest.partition("|")
        if source not in places or target not in places:
            raise Invalid(
                "The relation {kind!r} lacks an entity.",
                kind=kind[:40],
                field="relation",
                limit=N_("both entities of each relation"),
                hint=N_("Choose its entities as well, or leave the relation out."),
            )
        yield {"source": places[source], "target": places[target], "type": kind}


def read_number(name: str, written: str) -> float:
    try:
        number = float(written)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise Invalid("{text!r} is no number.", text=written[:40], field=f"{FIELD_PREFIX}{name}", limit=N_("a number"))
    return number
