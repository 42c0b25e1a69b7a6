"""A form that comes back as it was sent opens no group: what stands open was changed."""

from django.http import QueryDict

from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.specforms.fields import flatten_items
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.web.new_job.layout import LAYOUTS
from apps.web.new_job.pipeline_form import FOLDED, RARE


def all_forms():
    for key, template in TEMPLATES.items():
        yield key, template.parameters, FOLDED, RARE
    for key, layout in LAYOUTS.items():
        yield key, KINDS[key].spec, layout.folded, layout.rare


def form_of(model, folded, rare) -> SpecForm:
    form = SpecForm(model)
    form.folded, form.rare = folded, rare
    return form


def sent(form) -> QueryDict:
    """What a browser sends of the form as it is drawn."""
    data = QueryDict(mutable=True)
    for item in flatten_items(form.items):
        if item.kind == "field" and item.boxes:
            data.setlist(item.pointer, [box.value for box in item.boxes if box.ticked])
        elif item.kind == "field" and item.control == "checkbox":
            data.update({item.pointer: "true"} if item.value else {})
        elif item.kind == "field":
            data[item.pointer] = "" if item.value is None else str(item.value)
    return data


def opened(items) -> list[str]:
    return [found for item in items for found in ([item.pointer] if item.open else []) + opened(item.items or [])]


def test_a_form_sent_back_as_it_was_opens_no_group():
    wrong = {
        key: opened(form_of(model, folded, rare).bind(sent(form_of(model, folded, rare))).items)
        for key, model, folded, rare in all_forms()
    }
    assert {key: groups for key, groups in wrong.items() if groups} == {}


def test_a_group_with_a_change_stands_open():
    form = form_of(TEMPLATES["clean-train-quantize-compile-register"].parameters, FOLDED, RARE)
    data = sent(form)
    data["/quantize/batches"] = "1\n64"
    assert opened(form.bind(data).items) == ["/quantize"]
