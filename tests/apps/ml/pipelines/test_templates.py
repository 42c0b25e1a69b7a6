"""Templates are data: from parameters to steps, before any job is made."""

from __future__ import annotations

import json

import pytest

from apps.core.errors import Invalid
from apps.data.datasets.services import upload_csv
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.templates import TEMPLATES, TemplateInputs, build_pipeline_request, find_target_faults
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from deepseek.register.spec import QUANTIZED_FORMS
from tests.apps.data.datasets.conftest import held  # noqa: F401

pytestmark = pytest.mark.django_db
CHAIN = "clean-train-quantize-compile-register"
TRAIN = {"task": "forecast", "target": "close"}


@pytest.fixture
def version(actor_for, engineer, project, held):  # noqa: F811
    """version(delimiter) -> v1 of the dataset wti, with the columns day and close."""

    def make(delimiter=","):
        data = b"day,close\n2026-01-02,57.3\n2026-01-03,\n".replace(b",", delimiter.encode())
        asked = {"dataset_name": "wti", "artifact": held(data), "delimiter": delimiter}
        return upload_csv(actor=actor_for(engineer), project=project, **asked)[0]

    return make


@pytest.fixture
def expand(version):
    """expand(params, ...) -> {step: its body} of the built-in template."""

    def make(params, delimiter=",", strict=True, **more):
        made = version(delimiter)
        ground = TemplateInputs(version=made, table=made.files.get(), **({"model": "wti-forecaster"} | more))
        asked = build_pipeline_request(CHAIN, ground, params, strict=strict)
        return {step.name: step.document() for step in asked.steps}

    return make


def test_cleans_trains_makes_both_forms_and_registers_all_three(expand):
    steps = expand({"train": TRAIN})
    assert list(steps) == ["clean", "train", "quantize", "compile", "register"]
    assert steps["clean"]["register"] == {"dataset": "wti-clean"}
    assert steps["train"]["inputs"] == {"table": {"step": "clean", "slot": "table"}}
    assert steps["train"]["spec"]["lags"] == 20
    for name in ("quantize", "compile"):
        assert steps[name]["inputs"] == {
            slot: {"step": "train", "slot": slot} for slot in ("model", "manifest", "heldout")
        }
    assert steps["register"]["inputs"]["int8_figures"] == {"step": "quantize", "slot": "figures"}
    others = {f"{form}{end}" for form in ("exported", *QUANTIZED_FORMS) for end in ("", "_manifest", "_figures")}
    slots = {*KINDS["register"].inputs, *KINDS["register"].optional_inputs}
    assert set(steps["register"]["inputs"]) == slots - others
    assert steps["register"]["register"] == {"model": "wti-forecaster"}


def test_every_template_makes_steps_of_the_kinds_that_it_lists(expand):
    steps = expand({"train": TRAIN, "with_export": True})
    assert {name: step["kind"] for name, step in steps.items()} == TEMPLATES[CHAIN].kinds
    assert steps["register"]["inputs"]["exported"] == {"step": "export", "slot": "model"}


def test_an_export_without_torchscript_gives_no_variant(expand):
    steps = expand({"train": TRAIN, "with_export": True, "export": {"forms": ["pt2"]}})
    assert (steps["export"]["spec"]["forms"], "exported" in steps["register"]["inputs"]) == (["pt2"], False)


def test_cleaning_may_be_skipped(expand, version):
    steps = expand({"skip_cleaning": True, "train": TRAIN})
    assert "clean" not in steps
    assert steps["train"]["inputs"]["table"] == {"digest": version().files.get().artifact_id}


def test_the_cleaned_table_may_go_elsewhere(expand):
    assert expand({"train": TRAIN}, cleaned="tidy")["clean"]["register"] == {"dataset": "tidy"}


@pytest.mark.parametrize(
    ("clean", "read"),
    [
        ({}, (";", "utf-8")),
        ({"window_size": 9}, (";", "utf-8")),
        ({"csv": {"delimiter": "|"}}, ("|", "utf-8")),
    ],
)
def test_a_csv_file_is_read_as_its_version_was(expand, clean, read):
    csv = expand({"clean": clean, "train": TRAIN}, delimiter=";")["clean"]["spec"]["csv"]
    assert (csv["delimiter"], csv["encoding"]) == read


def test_what_a_form_sends_is_text(expand):
    spec = expand({"train": {**TRAIN, "lags": "7", "hidden": ["8", "4"]}}, strict=False)["train"]["spec"]
    assert (spec["lags"], spec["hidden"]) == (7, [8, 4])


@pytest.mark.parametrize(
    ("params", "more", "fields"),
    [
        ({}, {}, {"/params/train"}),
        ({"train": {"task": "guess"}}, {}, {"/params/train/task", "/params/train/target"}),
        ({"train": {**TRAIN, "lags": "7"}}, {}, {"/params/train/lags"}),
        ({"train": {**TRAIN, "schedule": {"max_lr": 1e-9}}}, {}, {"/params/train/schedule/max_lr"}),
        ({"train": {**TRAIN, "target": "clsoe"}}, {}, {"/params/train/target"}),
        ({"train": {**TRAIN, "target": "clsoe", "lags": 0}}, {}, {"/params/train/target", "/params/train/lags"}),
        ({"train": [], "clean": 1}, {}, {"/params/train", "/params/clean"}),
        (
            {"train": {"task": "regression", "target": "close", "features": ["day", "x"]}},
            {},
            {"/params/train/features/1"},
        ),
        ({"clean": {"columns": ["x"]}, "train": TRAIN}, {}, {"/params/clean/columns/0"}),
        ({"skip_cleaning": True, "clean": {}, "train": TRAIN}, {}, {"/params/clean"}),
        ({"skip_cleaning": True, "train": TRAIN}, {"cleaned": "tidy"}, {"/cleaned"}),
        ({"skip_cleaning": True, "train": TRAIN}, {"delimiter": ";"}, {"/params/skip_cleaning"}),
        ({"train": TRAIN}, {"model": "Not A Name", "cleaned": "x" * 51}, {"/model", "/cleaned"}),
        ({"train": TRAIN}, {"needs": {"bake": None}}, {"/needs/bake"}),
        (
            {"train": TRAIN, "quantize": {"runs": 0}, "compile": {"x": 1}},
            {},
            {f"/params/{at}" for at in ("quantize/runs", "compile/x")},
        ),
    ],
)
def test_names_every_error_by_its_place_in_the_request(expand, params, more, fields):
    with pytest.raises(Invalid) as caught:
        expand(params, **more)
    assert {error["field"] for error in caught.value.errors} == fields


def test_a_column_nearly_right_is_offered(expand):
    with pytest.raises(Invalid) as caught:
        expand({"train": {**TRAIN, "target": "clsoe"}})
    assert (caught.value.code, caught.value.hint) == ("unknown_column", "Did you mean close?")


def test_a_target_of_text_is_refused_where_numbers_are_predicted():
    texts, judged = {"site": "string", "load": "double"}, {}
    for name, more in {"plain": {}, "plan": {"clean": {"steps": [{"kind": "cast"}]}}}.items():
        for task, target in (("regression", "site"), ("classification", "site"), ("regression", "load")):
            faults = find_target_faults({"train": {"task": task, "target": target}, **more}, texts)
            judged |= {(name, task, target): [error["field"] for error in faults]} if faults else {}
    assert judged == {("plain", "regression", "site"): ["/params/train/target"]}


def test_flags_of_outliers_may_be_features(expand):
    train = {"task": "regression", "target": "close", "features": ["close__outlier"]}
    assert expand({"clean": {"outliers": {"method": "iqr"}}, "train": train})
    with pytest.raises(Invalid):
        expand({"skip_cleaning": True, "train": train})


# -- by REST --------------------------------------------------------------------------------------------------------
@pytest.fixture
def body(version):
    version()
    return {"template": CHAIN, "dataset": "wti", "version": 1, "params": {"train": TRAIN}, "model": "wti-forecaster"}


def test_rest_makes_the_whole_chain(api, engineer, url, body, job):
    asked = {**body, "needs": {"train": {"cpus": 2.0}}, "cleaned": "tidy"}
    answer = api(engineer).post(url(), asked, format="json")
    assert answer.status_code == 201
    made = answer.json()
    assert (made["name"], made["template"]) == ("wti-forecaster", CHAIN)
    assert {s["name"]: s["state"] for s in made["steps"]} == {
        "clean": "queued", "train": "waiting", "quantize": "waiting", "compile": "waiting", "register": "waiting"
    }  # fmt: skip
    assert made["document"]["parameters"] | {"params": {}} == {
        "dataset": "wti", "version": 1, "model": "wti-forecaster", "cleaned": "tidy", "params": {}
    }  # fmt: skip
    train = job(Pipeline.objects.get(), "train")
    assert (train.need_cpus, train.name) == (2.0, "wti-forecaster: train")
    assert json.loads(train.spec)["target"] == "close"


def test_rest_takes_the_newest_version_if_none_is_named(api, engineer, url, body):
    del body["version"]
    made = api(engineer).post(url(), body, format="json").json()
    assert made["document"]["parameters"]["version"] == 1


def test_the_same_key_means_the_version_that_it_first_took(api, engineer, url, body, version):
    asked = {key: value for key, value in body.items() if key != "version"}
    client, headers = api(engineer), {"Idempotency-Key": "k"}
    first = client.post(url(), asked, format="json", headers=headers)
    version(";")  # other bytes: v2 of the dataset
    again = client.post(url(), asked, format="json", headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"dataset": "none", "version": None}, "/dataset"),
        ({"version": 2}, "/version"),
        ({"params": {}}, "/params/train"),
    ],
)
def test_rest_names_what_is_wrong(api, engineer, url, body, wrong, field):
    answer = api(engineer).post(url(), {**body, **wrong}, format="json")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert not Job.objects.exists()


def test_steps_and_a_template_at_once_are_refused(api, engineer, url, body):
    answer = api(engineer).post(url(), {**body, "steps": []}, format="json")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "/steps")


@pytest.mark.parametrize("key", TEMPLATES)
def test_what_waits_for_what_is_what_it_builds(key, version):
    template, made = TEMPLATES[key], version()
    ground = TemplateInputs(version=made, table=made.files.get(), model="m")
    parameters = {"train": {"task": "forecast", "target": "close"}, "with_export": True}
    values = template.parameters.model_validate(parameters)
    built = {
        one["name"]: {i["step"] for i in one["inputs"].values() if "step" in i}
        for one in template.build(values, ground)
    }
    assert {step: set(above) for step, above in template.waits.items()} == built
    assert list(template.waits) == list(template.kinds)
