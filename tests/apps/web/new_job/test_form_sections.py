"""The order of the train form, its target as a choice, and the two ways to say how to clean."""

import re
from pathlib import Path

import pytest
from django.http import QueryDict

from apps.data.datasets.column_choices import TableColumn, offer_column
from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.specforms.fields import FormItem, flatten_items
from apps.web.new_job.job_form import JobForm
from apps.web.new_job.layout import RULED_OUT
from apps.web.new_job.pipeline_form import PipelineForm
from apps.web.new_job.sweep_form import SweepForm

pytestmark = pytest.mark.services


@pytest.fixture
def form(actor_for, engineer, project):
    return lambda kind: JobForm(actor_for(engineer), project, kind)


@pytest.fixture
def chain(actor_for, engineer, project):
    return lambda: PipelineForm(actor_for(engineer), project, next(iter(TEMPLATES)))


@pytest.fixture
def sweep(actor_for, engineer, project):
    return lambda kind: SweepForm(actor_for(engineer), project, kind)


def list_groups(form) -> list[str]:
    return [item.label for item in form.items if item.kind == "group"]


def test_the_three_forms_of_a_training_have_one_order(form, chain, sweep):
    sections = ["Data", "Model", "Training", "Resources", "Advanced"]
    assert [item.pointer for item in form("train").items[:3]] == ["inputs/table", "/task", "/target"]
    assert [item.pointer for item in chain().items[:3]] == ["version", "/train/task", "/train/target"]
    assert list_groups(form("train")) == list_groups(chain()) == sections
    assert list_groups(sweep("train")) == ["Sweep", *sections]


def test_every_kind_folds_resources_and_what_is_rare(form):
    offered = [key for key, kind in KINDS.items() if not kind.internal]
    trainings = {key: list_groups(form(key)) for key in offered if key.startswith("train_")}
    assert set(map(tuple, trainings.values())) == {("Data", "Model", "Training", "Resources", "Advanced")}
    wrong, long = {}, {}
    for key in offered:
        items = form(key).items
        if [(item.label, item.folded) for item in items[-2:]] != [("Resources", True), ("Advanced", True)]:
            wrong[key] = [item.label for item in items]
        open_groups = [item.items if item.kind == "group" and not item.folded else [item] for item in items]
        count = len([item for group in open_groups for item in group if item.kind == "field"])
        long |= {key: count} if count > 19 else {}
    assert (wrong, long) == ({}, {})


def test_no_field_is_lost_by_the_order(form, chain, sweep):
    forms = {key: form(key) for key, kind in KINDS.items() if not kind.internal}
    lost = {}
    for key, one in {**forms, "chain": chain(), "sweep": sweep("train")}.items():
        fields = {item.pointer for item in flatten_items(one.spec_form.items) if item.kind in ("field", "list")}
        fields |= {item.pointer for item in one.own}
        shown = [item.pointer for item in flatten_items(one.items) if item.kind in ("field", "list")]
        if fields - set(shown) or len(shown) != len(set(shown)):
            lost[key] = fields - set(shown), shown
    assert lost == {}


def test_the_target_is_a_choice_in_each_form(form, chain, sweep):
    for one, pointer in (
        (form("train"), "/target"),
        (sweep("train"), "/target"),
        (form("evaluate_predictions"), "/target"),
        (chain(), "/train/target"),
    ):
        one.columns = [TableColumn("load", "double", 0.0)]
        target = next(item for item in flatten_items(one.items) if item.pointer == pointer)
        assert (target.control, target.choices[1][0]) == ("select", "load"), pointer


def test_what_was_typed_goes_over_to_the_other_forms(form, chain, sweep):
    typed = QueryDict(mutable=True)
    typed.update({"version": "7", "/train/task": "regression", "/train/target": "y", "/train/epochs": "9"})
    typed.setlist("/train/features", ["a", "b"])
    typed.update({"needs/cpus": "2", "model": "kept-there", "/quantize/threads": "3"})
    for one in (form("train"), sweep("train")):
        one.take_over(typed)
        spec = one.spec_form.spec()
        assert (spec["task"], spec["target"], spec["epochs"], spec["features"]) == ("regression", "y", "9", ["a", "b"])
        assert one.values["needs/cpus"] == "2"
    assert one.settings_form.spec()["sweep"]["trials"] == 20
    back = QueryDict(mutable=True)
    back.update({"inputs/table": "gone", "/task": "forecast", "/target": "z", "/sweep/trials": "4", "needs/gpus": "1"})
    other = chain()
    other.take_over(back)
    spec = other.spec_form.spec()
    assert (spec["train"]["task"], spec["train"]["target"]) == ("forecast", "z")
    assert spec["quantize"] == chain().spec_form.spec()["quantize"]
    assert (other.values["needs/gpus"], other.values.get("version")) == ("1", None)


def test_what_only_one_form_has_comes_back_to_it(form, chain, sweep):
    typed = QueryDict(mutable=True)
    typed.update(
        {"version": "", "model": "mine", "/train/target": "y", "/clean/window_size": "9", "/quantize/seed": "4"}
    )
    typed.setlist("/clean/columns", ["a", "b"])
    one = sweep("train")
    one.take_over(typed)
    typed = send(one, {"/target": "z", "/sweep/trials": "3", "name": "night"})
    two = form("train")
    two.take_over(typed)
    back = chain()
    back.take_over(send(two, {"inputs/table": ""}))
    spec = back.spec_form.spec()
    assert (back.values["model"], spec["train"]["target"]) == ("mine", "z")
    assert (spec["clean"]["columns"], spec["clean"]["window_size"], spec["quantize"]["seed"]) == (["a", "b"], "9", "4")
    again = sweep("train")
    again.take_over(send(back, {"version": ""}))
    assert (again.settings_form.spec()["sweep"]["trials"], again.values["name"]) == ("3", "night")
    bound = sweep("train")
    bound.bind(send(again, {}))
    assert bound.carried == again.carried
    assert "carried:model" in dict(bound.carried)


def send(form, typed) -> QueryDict:
    """What a browser sends of this form, with a few values typed over."""
    data = QueryDict(mutable=True)
    for item in flatten_items(form.items):
        if item.kind == "field" and item.value not in (False, None):
            data.setlist(item.pointer, str(item.value).split("\n"))
    for name, value in form.carried:
        data.appendlist(name, value)
    for name, value in typed.items():
        data[name] = value
    return data


def test_each_form_leads_to_the_others_and_writes_nothing(web, engineer, project):
    client, paths = web(engineer), ["/p/demo/pipelines/new", "/p/demo/jobs/new/train", "/p/demo/sweeps/new/train"]
    typed = {"op": "take-over", "/epochs": "8", "cleaned": "mine"}
    texts = {path: client.post(path, typed).content.decode() for path in paths[1:]}
    for path, text in texts.items():
        assert [other for other in paths if f'formaction="{other}"' not in text] == [path]
        assert 'name="/epochs"' in text
        assert '<input type="hidden" name="carried:cleaned" value="mine">' in text
        assert "data-problems" not in text
    assert not Job.objects.exists()


def test_the_kinds_stand_below_headings_and_training_leads_to_its_form(web, engineer, project):
    for path, first, last in (("jobs", "clean", "noop"), ("sweeps", "train", "noop")):
        text = web(engineer).get(f"/p/demo/{path}/new").content.decode()
        kinds = re.findall(r'<code class="quiet">(\w+)</code>', text)
        assert (kinds[0], kinds[-1], len(set(kinds))) == (first, last, len(kinds))
        assert ("/p/demo/pipelines/new" in text) == (path == "jobs")


def test_a_refused_submit_opens_only_the_group_with_the_error(form):
    typed = {"/task": "regression", "/target": "y", "needs/cpus": "2", "/threads": "many", "/schedule/max_lr": "0.01"}
    train = form("train")
    train.bind(typed)
    train.handle("submit")
    assert train.status == 422
    groups = {item.pointer: item.open for item in flatten_items(train.items) if item.folded}
    assert groups == {"/schedule": False, "needs": False, "/rare": True}


def test_a_group_with_a_changed_field_is_open(form):
    for values, cluster, opened in (
        ({}, False, []),
        ({"priority": "5"}, False, ["/rare"]),
        ({"time_limit_seconds": "60"}, True, ["needs", "/rare"]),
    ):
        clean = form("clean")
        clean.values |= values
        clean.spec_form.values["cluster"] = cluster
        assert [item.pointer for item in clean.items if item.folded and item.open] == opened


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
