"""A form from a spec's JSON Schema: fields named by JSON pointers, lists that grow by submit buttons, no script.

templates/components/form.html draws `items`; a value that the walk has no control for is a text area of JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Self

from django.utils.translation import gettext as _
from pydantic import BaseModel

from apps.core.errors import Invalid
from apps.core.messages import translate_message
from apps.platform.jobs.spec_validation import extract_problem, get_job_kind, parse_model
from apps.platform.jobs.specforms.fields import (
    FormItem,
    ListOption,
    classify_schema,
    describe_limits,
    draw_boxes,
    draw_field,
    flatten_items,
    list_members,
    list_problem_items,
    render_default,
    translate_spec_text,
)
from apps.platform.jobs.specforms.typed_lists import split_entries

ABSENT: Any = object()
PASTED = "json"  # the name under which a whole spec is sent
NEW = "new:"  # before a list's pointer: the name under which the kind of the entry to add is sent
MAX_ITEMS = 1000  # of a list of groups: a forged index must not make a form of a million rows
INTEGRAL = re.compile(r"\d{1,4}")
INDEX = re.compile(r"/\d+(?=/)")  # of an entry: pointers of offers and datalists may have /* there


class SpecForm:
    """`SpecForm(kind)` is blank; `.bind(POST)` reads, `.apply(op)` adds and removes, `.is_valid()` checks, `.spec()`
    gives what to submit with `strict=False`. Instead of a kind it takes any model.
    """

    def __init__(self, spec: str | type[BaseModel], initial: Mapping[str, Any] | None = None) -> None:
        self.model = get_job_kind(spec).spec if isinstance(spec, str) else spec
        self.schema = self.model.model_json_schema()
        self.values: Any = dict(initial) if initial is not None else self.build_defaults(self.schema)
        self.errors: dict[str, str] = {}
        self.error = ""
        self.datalists: dict[str, str] = {}  # pointer -> id of the datalist of its text field
        self.folded: frozenset[str] = frozenset()  # pointers of groups that open on demand, or with an error
        self.left_out: frozenset[str] = frozenset()  # pointers of fields that are neither drawn nor read
        self.offers: dict[str, list[ListOption]] = {}  # pointer of a list of texts -> what it is picked from
        self.rare: frozenset[str] = frozenset()  # pointers of fields that stand together, folded, at the end
        self.kinds: dict[str, str] = {}  # pointer of a list of several kinds of groups -> the kind to add
        self.pasted = ""  # the whole spec as JSON, as it was sent beside the fields
        self.paste_error = ""

    # -- in -------------------------------------------------------------------------------------------------------
    def bind(self, data: Mapping[str, Any]) -> Self:
        """Take what a browser sent: text by pointer. Blank is null where null is allowed, else absent."""
        self.values = self.read(self.schema, "", data)
        self.pasted = str(data.get(PASTED, ""))
        self.kinds = {key[len(NEW) :]: str(data[key]) for key in data if key.startswith(NEW)}
        return self

    def apply(self, op: str) -> bool:
        """Do what a button named `add:/steps`, `del:/steps/1`, `up:`, `down:` or `json` asks; False for another one."""
        verb, _colon, pointer = op.partition(":")
        if op == "json":
            self.take_pasted()
        elif verb == "add" and self.find_entries(pointer) is not None:
            entries, schema = self.find_entries(pointer) or ([], {})
            fresh = self.build_entry(schema["items"], self.kinds.get(pointer, ""))
            if fresh is not None and len(entries) < min(MAX_ITEMS, schema.get("maxItems", MAX_ITEMS)):
                entries.append(fresh)
        elif verb in ("del", "up", "down"):
            parent, _slash, index = pointer.rpartition("/")
            target = self.find_entries(parent)
            if target and INTEGRAL.fullmatch(index) and int(index) < len(target[0]):
                move_entry(target[0], int(index), verb)
        return verb in ("add", "del", "up", "down", "json")

    def take_pasted(self) -> None:
        """Fill the fields with the spec that was pasted; what it leaves out takes its default, and errors are told."""
        try:
            spec = json.loads(self.pasted, parse_constant=reject_constant)
        except (ValueError, RecursionError) as failure:
            self.paste_error = _("This is not JSON: %(why)s") % {"why": str(failure)[:200]}
            return
        if not isinstance(spec, dict):
            self.paste_error = _("A spec is one object: its fields by name, between { and }.")
            return
        self.values = {**self.build_defaults(self.schema), **spec}
        self.is_valid()

    def is_valid(self) -> bool:
        """Whether the spec holds; otherwise `errors` stand beside their fields."""
        try:
            parse_model(self.model, self.spec(), strict=False, prefix="")
        except Invalid as failure:
            self.add_errors(failure.errors, prefix="")
        return not (self.errors or self.error)

    def add_errors(self, errors: list[dict[str, Any]], *, prefix: str = "/spec") -> None:
        """Put errors of a submission beside their fields; those of no field come together at the top."""
        places = {item.pointer for item in flatten_items(self.items)}
        for error in errors:
            full = str(error.get("field") or "")
            text = translate_message(extract_problem(error))
            pointer = full.removeprefix(prefix) if full.startswith(prefix) else ""
            while pointer and pointer not in places:
                pointer = pointer.rpartition("/")[0]  # of an entry in a list typed as text: beside the list
            if pointer:
                self.errors.setdefault(pointer, text)
            else:
                self.error = f"{self.error} {translate_message(error)}".strip()

    def spec(self) -> dict[str, Any]:
        """What was entered, texts as they were typed: for `Submission(spec=..., strict=False)`."""
        return dict(self.values) if isinstance(self.values, Mapping) else {}

    def parsed(self) -> BaseModel | None:
        """The spec, typed; None while it does not hold. Tells no errors."""
        try:
            return parse_model(self.model, self.spec(), strict=False, prefix="")
        except Invalid:
            return None

    def as_json(self) -> dict[str, Any]:
        """What is not left at its default, typed as REST asks for it; while it does not hold, as it was typed."""
        spec = self.parsed()
        if spec is None:
            return self.spec()
        return spec.model_dump(mode="json", exclude_defaults=True)

    @property
    def as_text(self) -> str:
        """The spec as JSON to be changed and pasted back; what was pasted, where it could not be taken."""
        if self.paste_error:
            return self.pasted
        return json.dumps(self.as_json(), ensure_ascii=False, indent=2, default=str)

    @property
    def problems(self) -> list[FormItem]:
        """The fields that have an error, in the order of the page."""
        return list_problem_items(self.items)

    def read(self, schema: dict[str, Any], pointer: str, data: Mapping[str, Any]) -> Any:
        """The value at `pointer`, or ABSENT."""
        resolved, nullable = self.resolve_schema(schema), self.is_nullable(schema)
        match classify_schema(resolved, self.resolve_schema):
            case "group":
                read: dict[str, Any] = {
                    name: value
                    for name, property_schema in resolved["properties"].items()
                    if (at := f"{pointer}/{escape_pointer(name)}") not in self.left_out
                    and (value := self.read(property_schema, at, data)) is not ABSENT
                }
                return None if nullable and not read and pointer else read
            case "variant":
                tag = resolved["discriminator"]["propertyName"]
                tag_values = {tag: data.get(f"{pointer}/{tag}", "")}
                return tag_values | (
                    self.read(branch, pointer, data) if (branch := self.select_branch(resolved, tag_values)) else {}
                )
            case "list":
                return [
                    self.read(resolved["items"], f"{pointer}/{i}", data) for i in range(count_entries(pointer, data))
                ]
            case "texts":
                return read_field("texts", resolved, nullable, collect_texts(pointer, data))
            case shape:
                return read_field(shape, resolved, nullable, data.get(pointer))

    def find_entries(self, pointer: str) -> tuple[list[Any], dict[str, Any]] | None:
        """The list of groups at `pointer` and its schema; None if there is none, and none may be made up."""
        schema, value = self.schema, self.values
        for part in [unescape_pointer(part) for part in pointer.split("/")[1:]]:
            resolved = self.resolve_schema(schema)
            resolved = self.select_branch(resolved, value) or resolved
            if part in resolved.get("properties", {}) and isinstance(value, dict):
                schema = resolved["properties"][part]
                fresh: Any = [] if classify_schema(self.resolve_schema(schema), self.resolve_schema) == "list" else {}
                value[part] = fresh if value.get(part) is None else value[part]
                value = value[part]
            elif INTEGRAL.fullmatch(part) and isinstance(value, list) and int(part) < len(value):
                schema, value = resolved["items"], value[int(part)]
            else:
                return None
        resolved = self.resolve_schema(schema)
        return (
            (value, resolved)
            if classify_schema(resolved, self.resolve_schema) == "list" and isinstance(value, list)
            else None
        )

    # -- out ------------------------------------------------------------------------------------------------------
    @property
    def items(self) -> list[FormItem]:
        """What to draw, with the values and errors of now."""
        return self.build_item(self.schema, "", self.values).items

    def build_item(self, schema: dict[str, Any], pointer: str, value: Any, required: bool = True) -> FormItem:
        resolved, nullable = self.resolve_schema(schema), self.is_nullable(schema)
        chosen = self.select_branch(resolved, value)
        if chosen is not None:
            return self.build_variant_item(resolved, chosen, pointer, value)
        annotations: dict[str, Any] = resolved | {
            key: schema[key] for key in ("title", "description", "unit") if key in schema
        }
        item = FormItem(
            kind="field",
            pointer=pointer,
            label=translate_spec_text(annotations.get("title") or pointer.rpartition("/")[2]),
            doc=translate_spec_text(annotations.get("description", "")),
            unit=translate_spec_text(annotations.get("unit", "")),
            error=self.errors.get(pointer, ""),
            required=required and not nullable,
            datalist=self.datalists.get(pointer, self.datalists.get(INDEX.sub("/*", pointer), "")),
            suggestions=[str(example) for example in schema.get("examples", [])],
        )
        match classify_schema(resolved, self.resolve_schema):
            case "group":
                item.kind, values = "group", value if isinstance(value, Mapping) else {}
                needed = resolved.get("required", [])
                item.items = [
                    self.build_item(
                        property_schema, f"{pointer}/{escape_pointer(name)}", values.get(name, ABSENT), name in needed
                    )
                    for name, property_schema in resolved["properties"].items()
                    if f"{pointer}/{escape_pointer(name)}" not in self.left_out
                ]
                item.folded = pointer in self.folded
                fresh = self.build_defaults(resolved)
                is_faulty = any(each.error for each in flatten_items([item]))
                item.open = item.folded and (is_faulty or has_changes(values, fresh))
                self.move_rare_items(item, pointer, values, fresh)
            case "list":
                item.kind, item.limit, item.adds = (
                    "list",
                    describe_limits(resolved, self.resolve_schema),
                    self.list_entry_kinds(resolved["items"]),
                )
                entries = value if isinstance(value, list) else []
                item.items = [self.build_item(resolved["items"], f"{pointer}/{i}", e) for i, e in enumerate(entries)]
                for number, entry in enumerate(item.items, start=1):
                    entry.label = f"{entry.label} {number}"
            case shape:
                item.limit = describe_limits(resolved, self.resolve_schema)
                item.default = render_default(shape, schema.get("default"))
                draw_field(item, shape, resolved, nullable, schema.get("default") if value is ABSENT else value)
                offers = self.offers.get(pointer, self.offers.get(INDEX.sub("/*", pointer)))
                if shape == "texts" and offers is None and "enum" in (each := self.resolve_schema(resolved["items"])):
                    offers = [
                        ListOption(value, translate_spec_text(each.get("words", {}).get(value, "")))
                        for value in each["enum"]
                    ]
                if offers is not None and shape == "texts":
                    draw_boxes(item, offers)
        return item

    def build_variant_item(
        self, resolved: dict[str, Any], chosen: dict[str, Any], pointer: str, value: Any
    ) -> FormItem:
        """An entry of one of several kinds: its kind is what it is called, and is sent along unseen."""
        tag = resolved["discriminator"]["propertyName"]
        item = self.build_item(chosen, pointer, value)
        for each in item.items:
            if each.pointer == f"{pointer}/{tag}":
                each.control = "hidden"
        item.label, item.doc = (
            translate_spec_text(chosen["properties"][tag].get("title", "")),
            translate_spec_text(chosen.get("description", "")),
        )
        return item

    def move_rare_items(
        self, group: FormItem, pointer: str, values: Mapping[str, Any], fresh: Mapping[str, Any]
    ) -> None:
        """Move the group's rare fields into a folded group at its end."""
        rare = [item for item in group.items if item.pointer in self.rare]
        if not rare:
            return
        names = {unescape_pointer(item.pointer.rpartition("/")[2]) for item in rare}
        changed = has_changes({name: value for name, value in values.items() if name in names}, fresh)
        apart = FormItem(kind="group", pointer=f"{pointer}/rare", label=_("Advanced"), items=rare)
        apart.folded, apart.open = True, changed or any(item.error for item in flatten_items(rare))
        group.items = [item for item in group.items if item not in rare] + [apart]

    # -- the schema -----------------------------------------------------------------------------------------------
    def resolve_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema behind a `$ref`, and the other branch of "or null"."""
        branches = [b for b in schema.get("anyOf", ()) if b.get("type") != "null"]
        if len(branches) == 1:
            return self.resolve_schema(branches[0])
        if "$ref" in schema:
            return self.resolve_schema(self.schema["$defs"][schema["$ref"].rpartition("/")[2]])
        return schema

    def select_branch(self, resolved: dict[str, Any], value: Any) -> dict[str, Any] | None:
        """Of a group that may be of several kinds, the schema of the one that the value names."""
        discriminator = resolved.get("discriminator")
        if discriminator is None or not isinstance(value, Mapping):
            return None
        ref = discriminator["mapping"].get(str(value.get(discriminator["propertyName"], "")))
        return self.resolve_schema({"$ref": ref}) if ref else None

    def list_entry_kinds(self, items: dict[str, Any]) -> list[tuple[str, str]]:
        """The kinds of entries that may be added to a list, by their labels; none where there is but one."""
        discriminator = self.resolve_schema(items).get("discriminator")
        if discriminator is None:
            return []
        tag = discriminator["propertyName"]
        titles = {
            kind: self.resolve_schema({"$ref": ref})["properties"][tag].get("title", kind)
            for kind, ref in discriminator["mapping"].items()
        }
        labels = [(kind, translate_spec_text(title)) for kind, title in titles.items()]
        return sorted(labels, key=lambda pair: pair[1])

    def build_entry(self, items: dict[str, Any], kind: str) -> dict[str, Any] | None:
        """A new entry of a list; None where it must be of a kind and names none there is."""
        resolved = self.resolve_schema(items)
        if "discriminator" not in resolved:
            return self.build_defaults(resolved)
        tag = {resolved["discriminator"]["propertyName"]: kind}
        chosen = self.select_branch(resolved, tag)
        return None if chosen is None else self.build_defaults(chosen) | tag

    def is_nullable(self, schema: dict[str, Any]) -> bool:
        return any(branch.get("type") == "null" for branch in schema.get("anyOf", ()))

    def build_defaults(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The defaults of a group's fields, whole."""
        values: dict[str, Any] = {}
        for name, property_schema in schema.get("properties", {}).items():
            resolved = self.resolve_schema(property_schema)
            if "default" in property_schema:
                values[name] = json.loads(json.dumps(property_schema["default"]))
            elif classify_schema(resolved, self.resolve_schema) == "group" and not self.is_nullable(property_schema):
                values[name] = self.build_defaults(resolved)
            elif classify_schema(resolved, self.resolve_schema) == "list" and resolved.get("minItems"):
                values[name] = [
                    self.build_defaults(self.resolve_schema(resolved["items"]))
                ]  # where there must be one, it is there
        return values


def reject_constant(name: str) -> None:
    raise ValueError(_("%(name)s is no number of JSON") % {"name": name})


def read_field(shape: str, schema: dict[str, Any], nullable: bool, text: Any) -> Any:
    blank = None if nullable else ABSENT
    if shape == "boolean" and not nullable:
        return text is not None  # a box that is not ticked is not sent
    if text is not None and shape in ("numbers", "texts") and not nullable:
        return split_entries(str(text))  # emptied: none, not the default
    if text is None or (text == "" and not (shape == "choice" and "" in list_members(schema))):
        return blank
    match shape:
        case "choice":
            return next((member for member in list_members(schema) if str(member) == text), text)
        case "number":
            return str(text).strip() or blank
        case "numbers" | "texts":
            return split_entries(str(text)) or blank
        case "json":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text  # the spec's own check says what it should be
    return str(text).replace("\r\n", "\n")


def has_changes(values: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether something was changed, through all groups; texts of a form are compared with values."""
    for name, value in values.items():
        old = fresh.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if has_changes(value, old):
                return True
        elif as_texts(value) != as_texts(old):
            return True
    return False


def as_texts(value: Any) -> list[str]:
    """A value as a form sends it back: a list entry by entry, and nothing for nothing."""
    if isinstance(value, list | tuple):
        return [str(entry) for entry in value]
    return [] if value in (None, "") else [str(value)]


def move_entry(entries: list[Any], index: int, verb: str) -> None:
    """Remove the entry, or let it change places with its neighbour."""
    entry = entries.pop(index)
    if verb != "del":
        entries.insert(max(0, index - 1) if verb == "up" else index + 1, entry)


def collect_texts(pointer: str, data: Mapping[str, Any]) -> Any:
    """The text sent under this name; of several, as ticked boxes send them, all, one a line."""
    several = data.getlist(pointer) if hasattr(data, "getlist") else []
    return "\n".join(several) if several else data.get(pointer)


def count_entries(pointer: str, data: Mapping[str, Any]) -> int:
    """How many entries of the list at `pointer` were sent: one more than the highest index."""
    heads = (key.removeprefix(f"{pointer}/").partition("/")[0] for key in data if key.startswith(f"{pointer}/"))
    indices = [int(head) for head in heads if INTEGRAL.fullmatch(head)]
    return min(MAX_ITEMS, max(indices, default=-1) + 1)


def escape_pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def unescape_pointer(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
