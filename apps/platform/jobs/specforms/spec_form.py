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
from apps.platform.jobs.spec_validation import kind_of, parse_model, problem_of
from apps.platform.jobs.specforms.fields import (
    Item,
    Offer,
    default_text,
    draw_boxes,
    draw_field,
    limit_of,
    members,
    problems_of,
    said,
    shape_of,
    walked,
)
from apps.platform.jobs.specforms.typed_lists import split

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
        self.model = kind_of(spec).spec if isinstance(spec, str) else spec
        self.schema = self.model.model_json_schema()
        self.values: Any = dict(initial) if initial is not None else self.default_of(self.schema)
        self.errors: dict[str, str] = {}
        self.error = ""
        self.datalists: dict[str, str] = {}  # pointer -> id of the datalist of its text field
        self.folded: frozenset[str] = frozenset()  # pointers of groups that open on demand, or where an error is
        self.left_out: frozenset[str] = frozenset()  # pointers of fields that are neither drawn nor read
        self.offers: dict[str, list[Offer]] = {}  # pointer of a list of texts -> what it is picked from
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
        elif verb == "add" and self.entries_at(pointer) is not None:
            entries, schema = self.entries_at(pointer) or ([], {})
            fresh = self.fresh(schema["items"], self.kinds.get(pointer, ""))
            if fresh is not None and len(entries) < min(MAX_ITEMS, schema.get("maxItems", MAX_ITEMS)):
                entries.append(fresh)
        elif verb in ("del", "up", "down"):
            parent, _slash, index = pointer.rpartition("/")
            found = self.entries_at(parent)
            if found and INTEGRAL.fullmatch(index) and int(index) < len(found[0]):
                moved(found[0], int(index), verb)
        return verb in ("add", "del", "up", "down", "json")

    def take_pasted(self) -> None:
        """Fill the fields with the spec that was pasted; what it leaves out takes its default, and errors are told."""
        try:
            spec = json.loads(self.pasted, parse_constant=not_a_number)
        except (ValueError, RecursionError) as failure:
            self.paste_error = _("This is not JSON: %(why)s") % {"why": str(failure)[:200]}
            return
        if not isinstance(spec, dict):
            self.paste_error = _("A spec is one object: its fields by name, between { and }.")
            return
        self.values = {**self.default_of(self.schema), **spec}
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
        places = {item.pointer for item in walked(self.items)}
        for error in errors:
            full = str(error.get("field") or "")
            text = translate_message(problem_of(error))
            here = full.removeprefix(prefix) if full.startswith(prefix) else ""
            while here and here not in places:
                here = here.rpartition("/")[0]  # of an entry in a list typed as text: beside the list
            if here:
                self.errors.setdefault(here, text)
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
    def problems(self) -> list[Item]:
        """The fields that have an error, in the order of the page."""
        return problems_of(self.items)

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
            case "variant":
                tag = plain["discriminator"]["propertyName"]
                held = {tag: data.get(f"{pointer}/{tag}", "")}
                return held | (self.read(branch, pointer, data) if (branch := self.branch(plain, held)) else {})
            case "list":
                return [self.read(plain["items"], f"{pointer}/{i}", data) for i in range(count_at(pointer, data))]
            case "texts":
                return read_field("texts", plain, nullable, every(pointer, data))
            case shape:
                return read_field(shape, plain, nullable, data.get(pointer))

    def entries_at(self, pointer: str) -> tuple[list[Any], dict[str, Any]] | None:
        """The list of groups at `pointer` and its schema; None if there is none, and none may be made up."""
        schema, value = self.schema, self.values
        for part in [unescaped(part) for part in pointer.split("/")[1:]]:
            plain = self.plain(schema)
            plain = self.branch(plain, value) or plain
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
        chosen = self.branch(plain, value)
        if chosen is not None:
            return self.drawn_variant(plain, chosen, pointer, value)
        told: dict[str, Any] = plain | {key: schema[key] for key in ("title", "description", "unit") if key in schema}
        item = Item(
            kind="field",
            pointer=pointer,
            label=said(told.get("title") or pointer.rpartition("/")[2]),
            doc=said(told.get("description", "")),
            unit=said(told.get("unit", "")),
            error=self.errors.get(pointer, ""),
            required=required and not nullable,
            datalist=self.datalists.get(pointer, self.datalists.get(INDEX.sub("/*", pointer), "")),
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
                fresh = self.default_of(plain)
                item.open = item.folded and differs(held, fresh)
                self.put_rare_apart(item, pointer, held, fresh)
            case "list":
                item.kind, item.limit, item.adds = "list", limit_of(plain, self.plain), self.choices(plain["items"])
                entries = value if isinstance(value, list) else []
                item.items = [self.drawn(plain["items"], f"{pointer}/{i}", e) for i, e in enumerate(entries)]
                for number, entry in enumerate(item.items, start=1):
                    entry.label = f"{entry.label} {number}"
            case shape:
                item.limit = limit_of(plain, self.plain)
                item.default = default_text(shape, schema.get("default"))
                draw_field(item, shape, plain, nullable, schema.get("default") if value is ABSENT else value)
                offers = self.offers.get(pointer, self.offers.get(INDEX.sub("/*", pointer)))
                if shape == "texts" and offers is None and "enum" in (each := self.plain(plain["items"])):
                    offers = [Offer(value, said(each.get("words", {}).get(value, ""))) for value in each["enum"]]
                if offers is not None and shape == "texts":
                    draw_boxes(item, offers)
        return item

    def drawn_variant(self, plain: dict[str, Any], chosen: dict[str, Any], pointer: str, value: Any) -> Item:
        """An entry of one of several kinds: its kind is what it is called, and is sent along unseen."""
        tag = plain["discriminator"]["propertyName"]
        item = self.drawn(chosen, pointer, value)
        for each in item.items:
            if each.pointer == f"{pointer}/{tag}":
                each.control = "hidden"
        item.label, item.doc = said(chosen["properties"][tag].get("title", "")), said(chosen.get("description", ""))
        return item

    def put_rare_apart(self, group: Item, pointer: str, held: Mapping[str, Any], fresh: Mapping[str, Any]) -> None:
        """Move the group's rare fields into a folded group at its end."""
        rare = [item for item in group.items if item.pointer in self.rare]
        if not rare:
            return
        names = {unescaped(item.pointer.rpartition("/")[2]) for item in rare}
        changed = differs({name: value for name, value in held.items() if name in names}, fresh)
        apart = Item(kind="group", pointer=f"{pointer}/rare", label=_("Rarely changed"), items=rare)
        apart.folded, apart.open = not any(item.error for item in rare), changed
        group.items = [item for item in group.items if item not in rare] + [apart]

    # -- the schema -----------------------------------------------------------------------------------------------
    def plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema behind a `$ref`, and the other branch of "or null"."""
        branches = [b for b in schema.get("anyOf", ()) if b.get("type") != "null"]
        if len(branches) == 1:
            return self.plain(branches[0])
        if "$ref" in schema:
            return self.plain(self.schema["$defs"][schema["$ref"].rpartition("/")[2]])
        return schema

    def branch(self, plain: dict[str, Any], value: Any) -> dict[str, Any] | None:
        """Of a group that may be of several kinds, the schema of the one that the value names."""
        found = plain.get("discriminator")
        if found is None or not isinstance(value, Mapping):
            return None
        ref = found["mapping"].get(str(value.get(found["propertyName"], "")))
        return self.plain({"$ref": ref}) if ref else None

    def choices(self, items: dict[str, Any]) -> list[tuple[str, str]]:
        """The kinds of entries that may be added to a list, with what each is called; none where there is but one."""
        found = self.plain(items).get("discriminator")
        if found is None:
            return []
        tag = found["propertyName"]
        titles = {
            kind: self.plain({"$ref": ref})["properties"][tag].get("title", kind)
            for kind, ref in found["mapping"].items()
        }
        return [(kind, said(title)) for kind, title in titles.items()]

    def fresh(self, items: dict[str, Any], kind: str) -> dict[str, Any] | None:
        """A new entry of a list; None where it must be of a kind and names none there is."""
        plain = self.plain(items)
        if "discriminator" not in plain:
            return self.default_of(plain)
        tag = {plain["discriminator"]["propertyName"]: kind}
        chosen = self.branch(plain, tag)
        return None if chosen is None else self.default_of(chosen) | tag

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
            elif shape_of(plain, self.plain) == "list" and plain.get("minItems"):
                values[name] = [self.default_of(self.plain(plain["items"]))]  # where there must be one, it is there
        return values


def not_a_number(name: str) -> None:
    raise ValueError(_("%(name)s is no number of JSON") % {"name": name})


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


def differs(held: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether something was changed, through all groups; texts of a form are compared with values."""
    for name, value in held.items():
        old = fresh.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if differs(value, old):
                return True
        elif as_texts(value) != as_texts(old):
            return True
    return False


def as_texts(value: Any) -> list[str]:
    """A value as a form sends it back: a list entry by entry, and nothing for nothing."""
    if isinstance(value, list | tuple):
        return [str(entry) for entry in value]
    return [] if value in (None, "") else [str(value)]


def moved(entries: list[Any], index: int, verb: str) -> None:
    """Remove the entry, or let it change places with its neighbour."""
    entry = entries.pop(index)
    if verb != "del":
        entries.insert(max(0, index - 1) if verb == "up" else index + 1, entry)


def every(pointer: str, data: Mapping[str, Any]) -> Any:
    """The text sent under this name; of several, as ticked boxes send them, all, one a line."""
    several = data.getlist(pointer) if hasattr(data, "getlist") else []
    return "\n".join(several) if several else data.get(pointer)


def count_at(pointer: str, data: Mapping[str, Any]) -> int:
    """How many entries of the list at `pointer` were sent: one more than the highest index."""
    heads = (key.removeprefix(f"{pointer}/").partition("/")[0] for key in data if key.startswith(f"{pointer}/"))
    indices = [int(head) for head in heads if INTEGRAL.fullmatch(head)]
    return min(MAX_ITEMS, max(indices, default=-1) + 1)


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
