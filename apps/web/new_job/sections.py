"""The order of a job form: what decides first, then the parameters by section; and the two ways to say how to clean."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from apps.platform.jobs.specforms.fields import FormItem
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.web.new_job.layout import RULED_OUT, FormLayout

MODE, SIMPLE, STEPS = "mode", "simple", "steps"
RARE = "/rare"  # the group of what is rarely changed, which the spec's form makes


def arrange_sections(
    layout: FormLayout, head: list[FormItem], spec: list[FormItem], needs: FormItem, tail: list[FormItem]
) -> list[FormItem]:
    """The table and what decides all else first, then a group for each section, resources, and the rest folded."""
    by_pointer = {item.pointer: item for item in spec}
    inputs = [item for item in head if item.pointer.startswith("inputs/")]
    first = [*inputs, *(by_pointer.pop(pointer) for pointer in layout.first)]
    advanced = by_pointer.pop(RARE, None) or FormItem(kind="group", pointer=RARE, label=_("Advanced"), folded=True)
    groups = [
        FormItem(
            kind="group",
            pointer=f"/section-{number}",
            label=str(heading),
            items=[by_pointer.pop(pointer) for pointer in pointers if pointer in by_pointer],
        )
        for number, (heading, pointers) in enumerate(layout.sections)
    ]
    names = [item for item in head if item not in inputs]
    advanced.items = [*advanced.items, *by_pointer.values(), *tail]
    if any(item.error for item in advanced.items):
        advanced.folded = False
    return [*first, *groups, *names, needs, advanced]


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
