"""The order of a job form: what decides first, then the parameters by section; and the two ways to say how to clean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _

from apps.platform.jobs.specforms.fields import FormItem, flatten_items
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.web.new_job.layout import RULED_OUT, FormLayout

MODE, SIMPLE, STEPS = "mode", "simple", "steps"
RARE = "/rare"  # the group of what is rarely changed, which the spec's form makes
REFUSED = 422  # the status of a form whose submit was refused
MAX_OPTIONAL_INPUTS = 3  # that stand beside the required ones; more are folded


def arrange_sections(
    layout: FormLayout,
    head: list[FormItem],
    spec: list[FormItem],
    needs: FormItem,
    tail: Iterable[FormItem] = (),
    *,
    after_first: Iterable[FormItem] = (),
    rare: str = RARE,
) -> list[FormItem]:
    """The inputs and what decides all else first, then a group for each section, names, resources, and the rest folded.

    A kind without sections has one, of all its parameters. `after_first`: groups before the sections; `rare`: the
    pointer of the group that the spec's form makes of what is rarely changed.
    """
    by_pointer = {item.pointer: item for item in (*head, *spec)}
    rare_group = by_pointer.pop(rare, None)
    sections = [take_items(by_pointer, pointers) for _heading, pointers in layout.sections]
    resources = take_items(by_pointer, layout.resources)
    decisive = take_items(by_pointer, layout.first)
    inputs = fold_optional_inputs(take_items(by_pointer, [item.pointer for item in head if is_input(item)]))
    first = [*decisive, *inputs] if any(is_input(item) for item in decisive) else [*inputs, *decisive]
    names = take_items(by_pointer, [item.pointer for item in head])
    if layout.sections:
        groups = [
            build_group(f"/section-{number}", str(heading), items)
            for number, ((heading, _pointers), items) in enumerate(zip(layout.sections, sections, strict=True))
        ]
        rest = list(by_pointer.values())
    else:
        groups, rest = [build_group("", _("Parameters"), list(by_pointer.values()))], []
    needs.items = [*needs.items, *resources]
    needs.open = needs.open or any(map(is_changed, resources))
    others = [*rest, *tail]
    advanced = build_group(RARE, _("Advanced"), [*(rare_group.items if rare_group else ()), *others], folded=True)
    advanced.open = (rare_group is not None and rare_group.open) or any(map(is_changed, others))
    return [*first, *after_first, *(group for group in groups if group.items), *names, needs, advanced]


def take_items(by_pointer: dict[str, FormItem], pointers: Iterable[str]) -> list[FormItem]:
    return [by_pointer.pop(pointer) for pointer in pointers if pointer in by_pointer]


def is_changed(item: FormItem) -> bool:
    """Whether a field is not as in a blank form; of a group, whether its form opens it for that."""
    return item.open if item.kind == "group" else str(item.value) not in ("", "False", item.default)


def is_input(item: FormItem) -> bool:
    return item.pointer.startswith("inputs/")


def build_group(pointer: str, label: str, items: list[FormItem], *, folded: bool = False) -> FormItem:
    return FormItem(kind="group", pointer=pointer, label=label, items=items, folded=folded)


def fold_optional_inputs(inputs: list[FormItem]) -> list[FormItem]:
    """The inputs, of which optional ones stand apart where they are many."""
    optional = [item for item in inputs if not item.required]
    if len(optional) <= MAX_OPTIONAL_INPUTS:
        return inputs
    group = build_group("/optional-inputs", _("Optional inputs"), optional, folded=True)
    group.open = any(item.value for item in optional)
    return [*(item for item in inputs if item.required), group]


def open_faulty_groups(items: list[FormItem], *, was_refused: bool) -> list[FormItem]:
    """Open the folded groups that hold an error; after a refused submit no others, whatever was changed in them."""
    for group in flatten_items(items):
        if group.folded and any(item.error for item in flatten_items([group])):
            group.open = True
        elif group.folded and was_refused:
            group.open = False
    return items


def build_mode_item(value: str) -> FormItem:
    """The switch between the simple fields and a plan of steps."""
    return FormItem(
        kind="field",
        pointer=MODE,
        label=_("How to clean"),
        control="select",
        value=value,
        choices=[(SIMPLE, _("Simple: outliers, then gaps")), (STEPS, _("Step by step"))],
        required=True,
    )


def forget_ruled_out(form: SpecForm, group: str = "") -> None:
    """Set what the chosen task rules out to its defaults: the page hides these fields, but a browser sends them.

    `group`: of the form, in which the task stands; "" for the form itself.
    """
    blank: dict[str, Any] = SpecForm(form.model).spec()
    values, defaults = (form.values.get(group), blank.get(group)) if group else (form.values, blank)
    if not isinstance(values, dict) or not isinstance(defaults, dict):
        return
    for name in RULED_OUT.get(str(values.get("task") or ""), ()):
        if name in values:
            values[name] = defaults.get(name)


def keep_mode(form: SpecForm, layout: FormLayout, mode: str) -> None:
    """Forget what the other way of saying it holds: the page hides it, and the two together are refused."""
    blank: dict[str, Any] = SpecForm(form.model).spec()
    names = [pointer.strip("/") for pointer in (layout.simple if mode == STEPS else (layout.steps,))]
    form.values = {**form.values, **{name: blank.get(name) for name in names}}
