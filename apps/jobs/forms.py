"""A form from a spec's JSON Schema: fields named by JSON pointers, lists that grow by submit buttons, no script.

templates/components/form.html draws `items`; a value that the walk has no control for is a text area of JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from django.utils.translation import gettext as _
from pydantic import BaseModel

from apps.errors import Invalid
from apps.jobs.specs import kind_of, parse_model

ABSENT: Any = object()
MAX_ITEMS = 1000  # of a list of groups: a forged index must not make a form of a million rows
ITEM = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?=[,\n]|$)|([^,\n]+)')  # one entry of a list typed as text
INTEGRAL = re.compile(r"\d{1,4}")
SCALARS = {"string", "integer", "number", "boolean"}


@dataclass(kw_only=True)
class Item:
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
    items: list[Item] = field(default_factory=list)
    datalist: str = ""  # id of the <datalist> whose entries a text field offers
    renews: str = ""  # selector of what else of the page changes with this field
    folded: bool = False  # a group that opens on demand


class SpecForm:
    """`SpecForm(kind)` is blank; `.bind(POST)` reads, `.apply(op)` adds and removes, `.is_valid()` checks, `.spec()`
    gives what to submit with `strict=False`. Instead of a kind it takes any model.
    """

    def __init__(self, spec: str | type[BaseModel], initial: Mapping[str, Any] | None = None) -> None:
        self.model = kind_of(spec).spec if isinstance(spec, str) else spec
        self.schema = self.model.model_json_schema()
        self.values: Any = dict(initial) if initial is not None else self.default_of(self.schema)
        self.errors: dict[str, str] = {}
        self.error = ""
        self.datalists: dict[str, str] = {}  # pointer -> id of the datalist of its text field
        self.folded: frozenset[str] = frozenset()  # pointers of groups that open on demand, or where an error is
        self.left_out: frozenset[str] = frozenset()  # pointers of fields that are neither drawn nor read

    # -- in -------------------------------------------------------------------------------------------------------
    def bind(self, data: Mapping[str, Any]) -> Self:
        """Take what a browser sent: text by pointer. Blank is null where null is allowed, else absent."""
        self.values = self.read(self.schema, "", data)
        return self

    def apply(self, op: str) -> bool:
        """Do what a button named `add:/steps` or `del:/steps/1` asks; False if it is another button."""
        verb, _colon, pointer = op.partition(":")
        if verb == "add" and self.entries_at(pointer) is not None:
            entries, schema = self.entries_at(pointer) or ([], {})
            if len(entries) < min(MAX_ITEMS, schema.get("maxItems", MAX_ITEMS)):
                entries.append(self.default_of(self.plain(schema["items"])))
        elif verb == "del":
            parent, _slash, index = pointer.rpartition("/")
            found = self.entries_at(parent)
            if found and INTEGRAL.fullmatch(index) and int(index) < len(found[0]):
                del found[0][int(index)]
        return verb in ("add", "del")

    def is_valid(self) -> bool:
        """Whether the spec holds; otherwise `errors` stand beside their fields."""
        try:
            parse_model(self.model, self.spec(), strict=False, prefix="")
        except Invalid as failure:
            self.add_errors(failure.errors, prefix="")
        return not (self.errors or self.error)

    def add_errors(self, errors: list[dict[str, Any]], *, prefix: str = "/spec") -> None:
        """Put errors of a submission beside their fields; those of no field come together at the top."""
        places = {item.pointer for item in walked(self.items)}
        for error in errors:
            full = str(error.get("field") or "")
            text = str(error["message"]).removeprefix(f"{full}: ")
            here = full.removeprefix(prefix) if full.startswith(prefix) else ""
            while here and here not in places:
                here = here.rpartition("/")[0]  # of an entry in a list typed as text: beside the list
            if here:
                self.errors.setdefault(here, text)
            else:
                self.error = f"{self.error} {error['message']}".strip()

    def spec(self) -> dict[str, Any]:
        """What was entered, texts as they were typed: for `Submission(spec=..., strict=False)`."""
        return dict(self.values) if isinstance(self.values, Mapping) else {}

    def read(self, schema: dict[str, Any], pointer: str, data: Mapping[str, Any]) -> Any:
        """The value at `pointer`, or ABSENT."""
        plain, nullable = self.plain(schema), self.is_nullable(schema)
        match shape_of(plain, self.plain):
            case "group":
                read: dict[str, Any] = {
                    name: value
                    for name, inner in plain["properties"].items()
                    if (at := f"{pointer}/{escaped(name)}") not in self.left_out
                    and (value := self.read(inner, at, data)) is not ABSENT
                }
                return None if nullable and not read and pointer else read
            case "list":
                return [self.read(plain["items"], f"{pointer}/{i}", data) for i in range(count_at(pointer, data))]
            case shape:
                return read_field(shape, plain, nullable, data.get(pointer))

    def entries_at(self, pointer: str) -> tuple[list[Any], dict[str, Any]] | None:
        """The list of groups at `pointer` and its schema; None if there is none, and none may be made up."""
        schema, value = self.schema, self.values
        for part in [unescaped(part) for part in pointer.split("/")[1:]]:
            plain = self.plain(schema)
            if part in plain.get("properties", {}) and isinstance(value, dict):
                schema = plain["properties"][part]
                fresh: Any = [] if shape_of(self.plain(schema), self.plain) == "list" else {}
                value[part] = fresh if value.get(part) is None else value[part]
                value = value[part]
            elif INTEGRAL.fullmatch(part) and isinstance(value, list) and int(part) < len(value):
                schema, value = plain["items"], value[int(part)]
            else:
                return None
        plain = self.plain(schema)
        return (value, plain) if shape_of(plain, self.plain) == "list" and isinstance(value, list) else None

    # -- out ------------------------------------------------------------------------------------------------------
    @property
    def items(self) -> list[Item]:
        """What to draw, with the values and errors of now."""
        return self.drawn(self.schema, "", self.values).items

    def drawn(self, schema: dict[str, Any], pointer: str, value: Any, required: bool = True) -> Item:
        plain, nullable = self.plain(schema), self.is_nullable(schema)
        told: dict[str, Any] = plain | {key: schema[key] for key in ("title", "description", "unit") if key in schema}
        item = Item(
            kind="field",
            pointer=pointer,
            label=said(told.get("title") or pointer.rpartition("/")[2]),
            doc=said(told.get("description", "")),
            unit=said(told.get("unit", "")),
            error=self.errors.get(pointer, ""),
            required=required and not nullable,
            datalist=self.datalists.get(pointer, ""),
        )
        match shape_of(plain, self.plain):
            case "group":
                item.kind, held = "group", value if isinstance(value, Mapping) else {}
                needed = plain.get("required", [])
                item.items = [
                    self.drawn(inner, f"{pointer}/{escaped(name)}", held.get(name, ABSENT), name in needed)
                    for name, inner in plain["properties"].items()
                    if f"{pointer}/{escaped(name)}" not in self.left_out
                ]
                item.folded = pointer in self.folded and not any(each.error for each in walked([item]))
            case "list":
                item.kind, item.limit = "list", limit_of(plain, self.plain)
                entries = value if isinstance(value, list) else []
                item.items = [self.drawn(plain["items"], f"{pointer}/{i}", e) for i, e in enumerate(entries)]
                for number, entry in enumerate(item.items, start=1):
                    entry.label = f"{entry.label} {number}"
            case shape:
                item.limit = limit_of(plain, self.plain)
                draw_field(item, shape, plain, nullable, schema.get("default") if value is ABSENT else value)
        return item

    # -- the schema -----------------------------------------------------------------------------------------------
    def plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema behind a `$ref`, and the other branch of "or null"."""
        branches = [b for b in schema.get("anyOf", ()) if b.get("type") != "null"]
        if len(branches) == 1:
            return self.plain(branches[0])
        if "$ref" in schema:
            return self.plain(self.schema["$defs"][schema["$ref"].rpartition("/")[2]])
        return schema

    def is_nullable(self, schema: dict[str, Any]) -> bool:
        return any(branch.get("type") == "null" for branch in schema.get("anyOf", ()))

    def default_of(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The defaults of a group's fields, whole."""
        values: dict[str, Any] = {}
        for name, inner in schema.get("properties", {}).items():
            plain = self.plain(inner)
            if "default" in inner:
                values[name] = json.loads(json.dumps(inner["default"]))
            elif shape_of(plain, self.plain) == "group" and not self.is_nullable(inner):
                values[name] = self.default_of(plain)
        return values


def shape_of(plain: dict[str, Any], resolve: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """group, list (of groups), choice, boolean, number, text, numbers and texts (lists of these), json for the rest."""
    if "enum" in plain or "const" in plain:
        return "choice"
    match plain.get("type"):
        case "object" if plain.get("properties"):
            return "group"
        case "array" if "items" in plain and "prefixItems" not in plain:
            inner = resolve(plain["items"])
            if inner.get("type") in SCALARS:
                return "numbers" if inner["type"] in ("integer", "number") else "texts"
            return "list" if shape_of(inner, resolve) == "group" else "json"
        case "boolean":
            return "boolean"
        case "integer" | "number":
            return "number"
        case "string":
            return "text"
    return "json"


def read_field(shape: str, plain: dict[str, Any], nullable: bool, text: Any) -> Any:
    blank = None if nullable else ABSENT
    if shape == "boolean" and not nullable:
        return text is not None  # a box that is not ticked is not sent
    if text is not None and shape in ("numbers", "texts") and not nullable:
        return split(str(text))  # emptied: none, not the default
    if text is None or (text == "" and not (shape == "choice" and "" in members(plain))):
        return blank
    match shape:
        case "choice":
            return next((member for member in members(plain) if str(member) == text), text)
        case "number":
            return str(text).strip() or blank
        case "numbers" | "texts":
            return split(str(text)) or blank
        case "json":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text  # the spec's own check says what it should be
    return str(text).replace("\r\n", "\n")


def draw_field(item: Item, shape: str, plain: dict[str, Any], nullable: bool, value: Any) -> None:
    item.value = "" if value is None else value
    match shape:
        case "boolean" if not nullable:
            item.control, item.required = "checkbox", True
            item.value = value is True or value == "true"
        case "choice" | "boolean":
            item.control = "select"
            options = members(plain) if shape == "choice" else [True, False]
            blank = [("", _("(none)"))] if nullable else [("", _("Choose"))] if value is None else []
            item.choices = blank + [(spelled(v), said(spelled(v)) or _("(none)")) for v in options]
            item.value = "" if value is None else spelled(value)
        case "number":
            item.control = "number"
        case "numbers":
            item.value = ", ".join(str(each) for each in value) if isinstance(value, list) else item.value
            item.doc = f"{item.doc} {_('Between commas.')}".strip()
        case "texts":
            item.control = "textarea"
            item.value = joined(value) if isinstance(value, list) else item.value
            item.doc = f"{item.doc} {_('One entry a line, or between commas.')}".strip()
        case "json":
            item.control = "textarea"
            item.value = "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)
        case _ if plain.get("maxLength", 0) > 500:
            item.control = "textarea"


def members(plain: dict[str, Any]) -> list[Any]:
    return list(plain["enum"]) if "enum" in plain else [plain["const"]]


def spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def limit_of(plain: dict[str, Any], resolve: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> str:
    """The limits of a value, in words; of a list of numbers those of each first."""
    low, high = plain.get("minimum"), plain.get("maximum")
    above, below = plain.get("exclusiveMinimum"), plain.get("exclusiveMaximum")
    parts = []
    if shape_of(plain, resolve) == "numbers":
        each = limit_of(resolve(plain["items"]))
        parts += [_("each %(limit)s") % {"limit": each}] if each else []
    if low is not None and high is not None:
        parts.append(_("%(low)s to %(high)s") % {"low": f"{low:,}", "high": f"{high:,}"})
    elif low is not None or high is not None:
        parts.append(
            _("at least %(low)s") % {"low": f"{low:,}"}
            if high is None
            else _("at most %(high)s") % {"high": f"{high:,}"}
        )
    if above is not None:
        parts.append(_("above %(low)s") % {"low": f"{above:,}"})
    if below is not None:
        parts.append(_("below %(high)s") % {"high": f"{below:,}"})
    if plain.get("maxLength"):
        parts.append(_("at most %(count)s characters") % {"count": f"{plain['maxLength']:,}"})
    if plain.get("maxItems"):
        parts.append(_("at most %(count)s entries") % {"count": f"{plain['maxItems']:,}"})
    return ", ".join(parts)


def said(text: str) -> str:
    return _(text) if text else ""  # gettext("") is the catalogue's header


def split(text: str) -> list[str]:
    """The entries of a list typed as text; in double quotes an entry may be empty or hold a comma."""
    found = []
    for match in ITEM.finditer(text.replace("\r\n", "\n")):
        if match[1] is not None:
            found.append(match[1].replace('""', '"'))
        elif match[2].strip():
            found.append(match[2].strip())
    return found


def joined(values: list[Any]) -> str:
    """The text that `split` reads back."""
    return "\n".join(quoted(str(value)) for value in values)


def quoted(text: str) -> str:
    if text and text == text.strip() and not set(text) & set(',"\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def count_at(pointer: str, data: Mapping[str, Any]) -> int:
    """How many entries of the list at `pointer` were sent: one more than the highest index."""
    heads = (key.removeprefix(f"{pointer}/").partition("/")[0] for key in data if key.startswith(f"{pointer}/"))
    indices = [int(head) for head in heads if INTEGRAL.fullmatch(head)]
    return min(MAX_ITEMS, max(indices, default=-1) + 1)


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def walked(items: list[Item]) -> list[Item]:
    return [found for item in items for found in (item, *walked(item.items))]
