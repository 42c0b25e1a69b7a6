"""A schema as a Label Studio configuration and back, and annotations of such a project as Marks. Light to import."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from pydantic import ValidationError

from deepseek.labelling.marks import Marks, Relation, Span, build_marks
from deepseek.labelling.schema import LabellingSchema
from deepseek.messages import Message

LABELS, CLASS = "labels", "class"  # names of controls
OBJECTS = {"text": "text", "row": "text", "image": "image"}
"""Name of the object that annotators see, which is also its key in the data of a task, by kind of data."""
MAX_CONFIG = 200_000  # characters


class ConfigError(ValueError):
    """A configuration of Label Studio that is no schema."""

    def __init__(self, message: Message | str) -> None:
        super().__init__(str(message))
        self.message = message


def render_config(schema: LabellingSchema) -> str:
    """The labelling interface of a project, as XML in one line."""
    name = OBJECTS[schema.data]
    tag = "Image" if schema.data == "image" else "Text"
    parts = [f'<{tag} name="{name}" value="${name}"/>']
    if schema.labels:
        labels = "".join(
            f"<Label value={quoteattr(label.value)} background={quoteattr(label.background)}/>"
            for label in schema.labels
        )
        parts.append(f'<Labels name="{LABELS}" toName="{name}">{labels}</Labels>')
    if schema.relations:
        rows = "".join(f"<Relation value={quoteattr(relation.value)}/>" for relation in schema.relations)
        parts.append(f"<Relations>{rows}</Relations>")
    if schema.classes:
        parts.append(render_choices(CLASS, name, schema.classes, required=True))
    for field in schema.fields:
        if field.kind == "choice":
            parts.append(render_choices(field.name, name, field.choices, required=field.required))
        else:
            control = "Number" if field.kind == "number" else "TextArea"
            required = ' required="true"' if field.required else ""
            parts.append(f'<{control} name={quoteattr(field.name)} toName="{name}"{required}/>')
    return f"<View>{''.join(parts)}</View>"


def render_choices(name: str, to: str, choices: Sequence[str], *, required: bool) -> str:
    rows = "".join(f"<Choice value={quoteattr(choice)}/>" for choice in choices)
    need = ' required="true"' if required else ""
    return f'<Choices name={quoteattr(name)} toName="{to}" choice="single"{need}>{rows}</Choices>'


def parse_config(xml: str) -> LabellingSchema:
    """The schema of a configuration: View with Text or Image, Labels, Relations, Choices, Number and TextArea.

    Rules are no part of a configuration: a schema with fields needs one, and cannot be imported. Raises ConfigError.
    """
    if len(xml) > MAX_CONFIG or "<!" in xml:
        raise ConfigError(
            Message("It is no configuration without declarations of up to {limit} characters.", limit=MAX_CONFIG)
        )
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - declarations, and with them entities, are refused above
    except ElementTree.ParseError as fault:
        raise ConfigError(Message("It is not XML: {reason}.", reason=str(fault))) from None
    objects = [node for node in root if node.tag in ("Text", "Image")]
    if root.tag != "View" or len(objects) != 1:
        raise ConfigError(Message("It has to be a View with one Text or Image."))
    document: dict[str, Any] = {"level": "basic", "data": "image" if objects[0].tag == "Image" else "text"}
    for node in root:
        if node.tag == "Labels":
            document["labels"] = [
                {
                    "value": row.get("value", ""),
                    **({"background": row.get("background")} if row.get("background") else {}),
                }
                for row in node
            ]
        elif node.tag == "Relations":
            document["level"] = "semantic"
            document["relations"] = [{"value": row.get("value", "")} for row in node]
        elif node.tag == "Choices" and "classes" not in document:
            document["classes"] = [row.get("value", "") for row in node]
            if document["data"] == "text":
                document["data"] = "row"
        elif node.tag not in ("Text", "Image", "Header"):
            raise ConfigError(Message("{tag} is not supported.", tag=node.tag))
    try:
        return LabellingSchema.model_validate(document)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = "/".join(map(str, first["loc"]))
        raise ConfigError(Message("{place}: {reason}", place=place or "View", reason=first["msg"])) from None


def parse_result(result: Any, schema: LabellingSchema, text: str) -> tuple[Marks, list[str]]:
    """The regions of one annotation as Marks, and the values among them that the schema does not have.

    Values that are unknown (a label that was renamed there) are left out and named, so that nothing is guessed.
    """
    label_values = {label.value for label in schema.labels}
    relation_types = {relation.value for relation in schema.relations}
    fields = {field.name: field for field in schema.fields}
    spans: list[Span] = []
    places: dict[str, int] = {}
    links: list[dict[str, Any]] = []
    values: dict[str, float | str] = {}
    label, unknown = "", []
    for row in result if isinstance(result, list) else []:
        if not isinstance(row, dict):
            continue
        content = row.get("value")
        value: dict[str, Any] = content if isinstance(content, dict) else {}
        kind, name = row.get("type"), str(row.get("from_name", ""))
        if kind == "labels":
            span, strange = read_span(value, label_values, text)
            unknown += strange
            if span is not None:
                places[str(row.get("id"))] = len(spans)
                spans.append(span)
        elif kind == "relation":
            links.append(row)
        elif kind == "choices" and name == CLASS:
            chosen = str((value.get("choices") or [""])[0])
            if chosen in schema.classes:
                label = chosen
            elif chosen:
                unknown.append(chosen)
        elif name in fields:
            values[name] = read_field(fields[name].kind, value)
            if fields[name].choices and values[name] not in fields[name].choices:
                unknown.append(str(values.pop(name)))
        elif kind in ("choices", "number", "textarea"):
            unknown.append(name)
    relations = []
    for link in links:
        ends = places.get(str(link.get("from_id"))), places.get(str(link.get("to_id")))
        if ends[0] is None or ends[1] is None:
            continue  # to a region that is gone, or whose label is unknown
        if link.get("direction") == "left":
            ends = ends[1], ends[0]
        types = link.get("labels") or []
        chosen = str(types[0]) if types else (next(iter(relation_types)) if len(relation_types) == 1 else "")
        if chosen not in relation_types:
            unknown.append(chosen or "relation")
        else:
            relations.append(Relation(ends[0], ends[1], chosen))  # type: ignore[arg-type]
    return build_marks(spans, relations, label, values), sorted(set(unknown))


def read_span(value: Mapping[str, Any], known: set[str], text: str) -> tuple[Span | None, list[str]]:
    """A region as a span. Browsers count in UTF-16: where the quoted text tells so, the offsets are converted."""
    labels = value.get("labels") or []
    start, end = value.get("start"), value.get("end")
    if len(labels) != 1 or not isinstance(start, int) or not isinstance(end, int):
        return None, []
    label, quoted = str(labels[0]), value.get("text")
    if label not in known:
        return None, [label]
    if isinstance(quoted, str) and text[start:end] != quoted:
        units = text.encode("utf-16-le")
        if units[2 * start : 2 * end].decode("utf-16-le", "replace") == quoted:
            start = len(units[: 2 * start].decode("utf-16-le", "replace"))
            end = start + len(quoted)
    if not 0 <= start < end <= len(text):
        return None, []
    return Span(start, end, label), []


def read_field(kind: str, value: Mapping[str, Any]) -> float | str:
    if kind == "number":
        number = value.get("number")
        return float(number) if isinstance(number, int | float) else 0.0
    if kind == "choice":
        return str((value.get("choices") or [""])[0])
    written = value.get("text") or [""]
    return str(written[0] if isinstance(written, list) else written)[:2000]


def render_result(marks: Marks, schema: LabellingSchema, text: str) -> list[dict[str, Any]]:
    """Marks as regions: of a prediction, or of an annotation."""
    name = OBJECTS[schema.data]
    rows: list[dict[str, Any]] = []
    for place, span in enumerate(marks.spans):
        value = {"start": span.start, "end": span.end, "text": text[span.start : span.end], "labels": [span.label]}
        rows.append({"id": f"s{place}", "from_name": LABELS, "to_name": name, "type": "labels", "value": value})
    for relation in marks.relations:
        ends = {"from_id": f"s{relation.source}", "to_id": f"s{relation.target}", "direction": "right"}
        rows.append({"type": "relation", **ends, "labels": [relation.type]})
    if marks.label:
        rows.append(build_choice_region(CLASS, name, marks.label))
    kinds = {field.name: field.kind for field in schema.fields}
    for field, content in marks.fields.items():
        if kinds.get(field) == "choice":
            rows.append(build_choice_region(field, name, str(content)))
        elif kinds.get(field) == "number":
            row = {"id": f"f-{field}", "from_name": field, "to_name": name, "type": "number"}
            rows.append({**row, "value": {"number": content}})
        elif kinds.get(field) == "text":
            row = {"id": f"f-{field}", "from_name": field, "to_name": name, "type": "textarea"}
            rows.append({**row, "value": {"text": [content]}})
    return rows


def build_choice_region(control: str, name: str, chosen: str) -> dict[str, Any]:
    row = {"id": f"c-{control}", "from_name": control, "to_name": name, "type": "choices"}
    return {**row, "value": {"choices": [chosen]}}


def list_violations(schema: LabellingSchema, marks: Marks, text: str) -> list[str]:
    """Names of the rules that the annotation does not meet: those of the schema, and `relation-ends`, `required`."""
    from deepseek.labelling.rules import parse_rule
    from deepseek.labelling.schema import build_scope

    scope = build_scope(schema)
    broken = [rule.name for rule in schema.rules if not parse_rule(rule.condition, scope)(marks, text)]
    ends = {relation.value: relation for relation in schema.relations}
    for row in marks.relations:
        kind = ends[row.type]
        source, target = marks.spans[row.source].label, marks.spans[row.target].label
        if (kind.sources and source not in kind.sources) or (kind.targets and target not in kind.targets):
            broken.append(f"{row.type}: {source} - {target}")
    broken += [
        f"{field.name} is required" for field in schema.fields if field.required and field.name not in marks.fields
    ]
    return list(dict.fromkeys(broken))
