"""The order of the train form, its target as a choice, and the two ways to say how to clean."""

import re
from pathlib import Path

import pytest

from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.jobs.specforms.fields import FormItem, flatten_items
from apps.web.new_job.choices import TableColumn, offer_column
from apps.web.new_job.job_form import JobForm
from apps.web.new_job.layout import RULED_OUT
from apps.web.new_job.pipeline_form import PipelineForm

pytestmark = pytest.mark.services


@pytest.fixture
def form(actor_for, engineer, project):
    return lambda kind: JobForm(actor_for(engineer), project, kind)


def test_task_and_target_come_before_the_sections(form):
    items = form("train").items
    assert [item.pointer for item in items[:3]] == ["inputs/table", "/task", "/target"]
    labels = [item.label for item in items if item.kind == "group"]
    assert labels == ["Data", "Model", "Training", "Resources", "Advanced"]


def test_no_field_is_lost_by_the_order(form):
    train = form("train")
    fields = {item.pointer for item in flatten_items(train.spec_form.items) if item.kind == "field"}
    fields |= {item.pointer for item in train.own}
    shown = [item.pointer for item in flatten_items(train.items) if item.kind == "field"]
    assert fields - set(shown) == set()
    assert len(shown) == len(set(shown))


def test_the_target_is_a_choice_of_columns_with_their_types():
    columns = [TableColumn("load", "double", 0.0), TableColumn("site", "string")]
    item = FormItem(kind="field", pointer="/target", label="Target", value="gone", datalist="columns")
    offer_column([item], "/target", columns)
    assert (item.control, item.datalist) == ("select", "")
    assert [word for _value, word in item.choices][1:3] == ["load (double, none missing)", "site (string)"]
    assert item.choices[-1][0] == "gone"
    free = FormItem(kind="field", pointer="/target", label="Target")
    offer_column([free], "/target", [])
    assert free.control == "text"


@pytest.mark.parametrize(
    ("mode", "steps", "method"), [("simple", None, "iqr"), ("steps", [{"kind": "normalise_text"}], "none")]
)
def test_one_way_to_clean_forgets_the_other(mode, steps, method, form):
    clean = form("clean")
    data = {item.pointer: str(item.value) for item in flatten_items(clean.spec_form.items) if item.kind == "field"}
    data |= {"/outliers/method": "iqr", "/steps/0/kind": "normalise_text", "mode": mode}
    clean.bind(data)
    spec = clean.spec_form.spec()
    assert [step["kind"] for step in spec["steps"] or []] == [step["kind"] for step in steps or []]
    assert spec["outliers"]["method"] == method
    clean.handle("check")
    assert clean.problems == []


def test_what_the_task_rules_out_is_forgotten(form, actor_for, engineer, project):
    """The page hides it, and a browser sends it: it must neither refuse the job nor change it."""
    rich = {"features": "b", "categories": "c", "lags": "9", "horizon": "3", "class_weights": "balanced"}
    kept = {
        "forecast": {"lags": 9, "horizon": 3},
        "regression": {"features": ["b"], "categories": ["c"]},
        "classification": {"features": ["b"], "categories": ["c"], "class_weights": "balanced"},
    }
    usual = {"features": None, "categories": None, "lags": 20, "horizon": 1, "class_weights": "none", "weights": []}
    for task, own in kept.items():
        train, chain = form("train"), PipelineForm(actor_for(engineer), project, next(iter(TEMPLATES)))
        fields = {**rich, "weights/0/name": "x", "weights/0/weight": "2", "task": task, "target": "y"}
        train.bind({f"/{name}": value for name, value in fields.items()})
        spec = train.spec_form.parsed().model_dump(mode="json")
        weights = {"weights": spec["weights"]} if task == "classification" else {}
        assert {name: spec[name] for name in usual} == usual | own | weights, task
        assert len(spec["weights"]) == (task == "classification")
        chain.bind({f"/train/{name}": value for name, value in fields.items()})
        assert all(chain.training.get(name) in (None, usual[name]) for name in RULED_OUT[task]), task


def test_the_page_hides_what_the_task_rules_out():
    css = Path("static/css/components.css").read_text()
    rules = re.findall(r"\.form:has\(\[name\$=\"/task\"\](.*?):checked\)(.*?)(?=,\n\.form|\{)", css, re.S)
    hidden = {
        task: {
            name
            for tasks, fields in rules
            if f'"{task}"' in tasks
            for name in re.findall(r'data-pointer\$="/(\w+)"', fields)
        }
        for task in RULED_OUT
    }
    assert hidden == {task: set(names) for task, names in RULED_OUT.items()}


def test_the_footer_has_the_queue_button_and_the_estimate(web, engineer, project):
    text = web(engineer).get("/p/demo/jobs/new/train").content.decode()
    foot = re.search(r'<div class="acts foot">.*?</div>', text, re.S)[0]
    assert 'value="submit"' in foot
    assert 'id="estimate"' in foot
    assert "No node" in foot
