"""The fields of a form as a template draws them, and how a piece of a JSON Schema becomes one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext, pgettext_lazy

from apps.platform.jobs.specforms.typed_lists import join_entries, split_entries

SCALARS = {"string", "integer", "number", "boolean"}
CONTEXT_TEXTS = (  # elsewhere another word: of an experiment, a pipeline, a list, a cipher; and the name of a class
    pgettext_lazy("field", "Condition"),
    pgettext_lazy("field", "Key"),
    pgettext_lazy("field", "Pages"),
    pgettext_lazy("field", "Renamed"),
    pgettext_lazy("field", "Runs"),
    pgettext_lazy("field", "Steps"),
)


@dataclass(kw_only=True)
class FormItem:
    """What the template draws: kind `field`, `group` (of items) or `list` (of groups)."""

    kind: str
    pointer: str
    label: str
    doc: str = ""
    error: str = ""
    unit: str = ""
    limit: str = ""
    control: str = "text"
    value: Any = ""
    choices: list[tuple[str, str]] = field(default_factory=list)
    required: bool = False
    items: list[FormItem] = field(default_factory=list)
    datalist: str = ""  # id of the <datalist> whose entries a text field offers
    suggestions: list[str] = field(default_factory=list)  # that a text field offers: the examples of its schema
    renews: str = ""  # selector of what else of the page changes with this field
    folded: bool = False  # a group that opens on demand
    open: bool = False  # one that does, and stands open: something in it is not as it was at first
    default: str = ""  # what holds if nothing is typed
    keys: str = ""  # of a phone: numeric, decimal
    adds: list[tuple[str, str]] = field(default_factory=list)  # of a list: kinds of entries that may be added
    boxes: list[CheckboxOption] = field(
        default_factory=list
    )  # of the control `boxes`: a list picked from what there is


@dataclass(frozen=True, slots=True)
class CheckboxOption:
    """One entry that may be ticked. `unfit` says why it should not be; one that is ticked can always be taken back."""

    value: str  # as a list typed as text has it
    label: str
    note: str = ""
    ticked: bool = False
    unfit: bool = False


@dataclass(frozen=True, slots=True)
class ListOption:
    """One entry that a list of texts may be picked from."""

    value: str
    note: str = ""
    fits: bool = True


def flatten_items(items: list[FormItem]) -> list[FormItem]:
    return [nested for item in items for nested in (item, *flatten_items(item.items))]


def list_problem_items(items: list[FormItem]) -> list[FormItem]:
    return [item for item in flatten_items(items) if item.error]


def classify_schema(schema: dict[str, Any], resolve: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """group, variant (one of several groups), list (of either), choice, boolean, number, text, numbers, texts, json."""
    if "enum" in schema or "const" in schema:
        return "choice"
    if "discriminator" in schema:
        return "variant"
    match schema.get("type"):
        case "object" if schema.get("properties"):
            return "group"
        case "array" if "items" in schema and "prefixItems" not in schema:
            items_schema = resolve(schema["items"])
            if items_schema.get("type") in SCALARS:
                return "numbers" if items_schema["type"] in ("integer", "number") else "texts"
            return "list" if classify_schema(items_schema, resolve) in ("group", "variant") else "json"
        case "boolean":
            return "boolean"
        case "integer" | "number":
            return "number"
        case "string":
            return "text"
    return "json"


def draw_field(item: FormItem, shape: str, schema: dict[str, Any], nullable: bool, value: Any) -> None:
    item.value = "" if value is None else value
    match shape:
        case "boolean" if not nullable:
            item.control, item.required = "checkbox", True
            item.value = value is True or value == "true"
        case "choice" | "boolean":
            item.control = "select"
            options = list_members(schema) if shape == "choice" else [True, False]
            blank = [("", _("(none)"))] if nullable else [("", _("Choose"))] if value is None else []
            item.choices = blank + [
                (format_choice(v), label_choice(format_choice(v), schema.get("words", {}))) for v in options
            ]
            item.value = "" if value is None else format_choice(value)
        case "number":
            item.control = "number"
            is_integer, least = (
                schema.get("type") == "integer",
                schema.get("minimum", schema.get("exclusiveMinimum", -1)),
            )
            item.keys = (
                "text" if least < 0 else "numeric" if is_integer else "decimal"
            )  # a phone's digits have no minus
        case "numbers":
            item.value = ", ".join(str(each) for each in value) if isinstance(value, list) else item.value
            item.doc = f"{item.doc} {_('Between commas.')}".strip()
        case "texts":
            item.control = "textarea"
            item.value = join_entries(value) if isinstance(value, list) else item.value
            item.doc = f"{item.doc} {_('One entry a line, or between commas.')}".strip()
        case "json":
            item.control = "textarea"
            item.value = "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)
        case _ if schema.get("maxLength", 0) > 500:
            item.control = "textarea"


def label_choice(value: str, words: Mapping[str, str]) -> str:
    """Build the label of a choice with its short description."""
    if value in words:
        return _("%(choice)s: %(doc)s") % {"choice": value, "doc": translate_spec_text(words[value])}
    return translate_spec_text(value) or _("(none)")


def draw_boxes(item: FormItem, offers: list[ListOption]) -> None:
    """A list of texts as boxes to tick; what was typed and is not on offer stands among them, and says so."""
    entries = split_entries(str(item.value))
    offered = {offer.value for offer in offers}
    item.control, item.limit = "boxes", ""
    item.boxes = [
        CheckboxOption(join_entries([o.value]), o.value, o.note, o.value in entries, not o.fits) for o in offers
    ]
    item.boxes += [
        CheckboxOption(join_entries([entry]), entry, _("not in this table"), ticked=True, unfit=True)
        for entry in entries
        if entry not in offered
    ]
    item.doc = item.doc.removesuffix(_("One entry a line, or between commas.")).strip()


def render_default(shape: str, value: Any) -> str:
    """The default as a reader would type it; nothing where it is none, or where the control shows it by itself."""
    match shape:
        case "number" if value is not None:
            return f"{value:g}" if isinstance(value, float) else str(value)
        case "numbers" if value:
            return ", ".join(map(str, value))
        case "choice" | "text" if value not in (None, ""):
            return format_choice(value)
    return ""


def list_members(schema: dict[str, Any]) -> list[Any]:
    return list(schema["enum"]) if "enum" in schema else [schema["const"]]


def format_choice(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe_limits(schema: dict[str, Any], resolve: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> str:
    """The limits of a value, in words; of a list of numbers those of each first."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = []
    if classify_schema(schema, resolve) == "numbers":
        each = describe_limits(resolve(schema["items"]))
        parts += [_("each %(limit)s") % {"limit": each}] if each else []
    if low is not None and high is not None:
        parts.append(_("%(low)s to %(high)s") % {"low": f"{low:,}", "high": f"{high:,}"})
    elif low is not None:
        parts.append(_("at least %(low)s") % {"low": f"{low:,}"})
    if above is not None:
        parts.append(_("above %(low)s") % {"low": f"{above:,}"})
    if high is not None and low is None:
        parts.append(_("at most %(high)s") % {"high": f"{high:,}"})
    if below is not None:
        parts.append(_("below %(high)s") % {"high": f"{below:,}"})
    if schema.get("maxLength"):
        parts.append(describe_length(schema))
    if schema.get("maxItems"):
        parts.append(_("at most %(count)s entries") % {"count": f"{schema['maxItems']:,}"})
    return _(", ").join(parts)


def describe_length(schema: dict[str, Any]) -> str:
    most, params = schema["maxLength"], {"count": f"{schema['maxLength']:,}"}
    if schema.get("minLength") == most:
        return ngettext("exactly %(count)s character", "exactly %(count)s characters", most) % params
    return ngettext("at most %(count)s character", "at most %(count)s characters", most) % params


def translate_spec_text(text: str) -> str:
    """Translate a text of a spec schema: the engine has no gettext, makemessages reads the schemas."""
    if not text:
        return ""  # gettext("") is the catalogue's header
    own = pgettext("field", text)
    return own if own != text else _(text)
