"""The form of a new pipeline: what it offers, what it says before anything is queued, and what it queues."""

from __future__ import annotations

import html
import json
import re

import pytest

from apps.data.datasets.services import upload_csv
from apps.ml.pipelines.models import Pipeline
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


def text_of(answer) -> str:
    return answer.content.decode()


@pytest.fixture
def version(actor_for, engineer, project, held):
    asked = {"dataset_name": "wti", "artifact": held(b"day;close\n2026-01-02;57.3\n"), "delimiter": ";"}
    return upload_csv(actor=actor_for(engineer), project=project, **asked)[0]


@pytest.fixture
def form(version):
    """What a browser sends of the form: what matters of it."""
    filled = {
        "version": str(version.pk),
        "model": "wti-forecaster",
        "/train/task": "forecast",
        "/train/target": "close",
    }
    return filled | {"op": "submit"}


def test_a_version_fills_the_form_and_offers_its_columns(engineer, web, version, page):
    text = text_of(web(engineer).get(page(f"/new?version={version.pk}")))
    assert f'<option value="{version.pk}" selected>' in text
    assert '<option value="close" label="double"></option>' in text
    assert "Its columns: day, close." in text
    assert "/clean/csv/missing_tokens" in text
    assert "/clean/csv/delimiter" not in text  # the version says so
    assert 'value="wti-model"' in text
    assert "No node of the queue cpu is online" in text
    assert 'href="#f-train-task"' in text
    assert 'href="#f-clean-g"' in text


def test_submit_makes_the_pipeline_and_leads_to_it(engineer, web, form, page, job):
    asked = {**form, "/train/hidden": "8, 4", "/train/schedule/max_lr": "0.01", "needs/cpus": "2"}
    answer = web(engineer).post(page("/new"), asked)
    pipeline = Pipeline.objects.get()
    assert answer.url == page(f"/{pipeline.pk}")
    spec = json.loads(job(pipeline, "train").spec)
    assert (spec["hidden"], spec["schedule"]["max_lr"], spec["target"]) == ([8, 4], 0.01, "close")
    assert job(pipeline, "train").need_cpus == 2
    assert job(pipeline, "clean").register == {"dataset": "wti-clean"}
    assert json.loads(job(pipeline, "clean").spec)["csv"]["delimiter"] == ";"
    assert job(pipeline, "register").register == {"model": "wti-forecaster"}


ERRORS = {  # what is typed -> the ids of the errors; together where one does not hide the other
    (("version", ""),): {"fversion-e"},
    (("model", "Not A Name"),): {"fmodel-e"},
    (("model", ""), ("cleaned", "Not A Name")): {"fmodel-e", "fcleaned-e"},
    (("/train/target", "clsoe"), ("/clean/columns", "none")): {"f-train-target-e", "f-clean-columns-e"},
    (("/train/task", ""), ("/train/hidden", "x"), ("/compile/batch", "0")): {
        "f-train-task-e", "f-train-hidden-e", "f-compile-batch-e"
    },
    (("/train/schedule/max_lr", "1e-9"),): {"f-train-schedule-max_lr-e"},
    (("/skip_cleaning", "true"),): {"f-skip_cleaning-e"},  # training reads no such CSV file
    (("needs/cpus", "many"),): {"fneeds-cpus-e"},
    (("needs/cpus", "-1"),): {"fneeds-cpus-e"},
}  # fmt: skip


def test_errors_stand_beside_their_fields_and_the_input_is_kept(engineer, web, form, page):
    client, wrong = web(engineer), {}
    for typed, expected in ERRORS.items():
        answer = client.post(page("/new"), {**form, "/note": "kept & well", **dict(typed)})
        text = text_of(answer)
        found = set(re.findall(r'id="(f[\w-]*-e)" aria-live="polite">', text))  # a hidden one has no error
        if (answer.status_code, found, "kept &amp; well" in text) != (422, expected, True):
            wrong[typed] = answer.status_code, found
    assert wrong == {}
    assert not Job.objects.exists()


def test_check_answers_the_form_alone_with_the_columns_of_the_version(engineer, web, form, page):
    answer = web(engineer).post(page("/new"), {**form, "op": "check"}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "<html" not in text_of(answer)
    assert '<option value="close" label="double"></option>' in text_of(answer)
    assert not Pipeline.objects.exists()


def test_what_is_hidden_is_not_checked(engineer, web, form, page, held, actor_for, project, job):
    plain = upload_csv(actor=actor_for(engineer), project=project, dataset_name="plain", artifact=held())[0]
    asked = {**form, "version": str(plain.pk), "/skip_cleaning": "true", "/clean/window_size": "x", "cleaned": "No!"}
    assert web(engineer).post(page("/new"), asked).status_code == 302
    assert [s.name for s in Pipeline.objects.get().steps.order_by("position")] == [
        "train", "quantize", "compile", "register"
    ]  # fmt: skip


def test_without_data_the_form_says_so(engineer, web, page, project):
    text = text_of(web(engineer).get(page("/new")))
    assert "/p/demo/upload" in text


def test_an_unknown_template_is_not_there(engineer, web, page, project):
    assert web(engineer).get(page("/new?template=bake")).status_code == 404


def test_a_viewer_gets_no_form(viewer, web, form, page):
    client = web(viewer)
    assert client.get(page("/new")).status_code == 403
    assert client.post(page("/new"), form).status_code == 403
    assert not Job.objects.exists()


def test_the_page_of_a_version_offers_to_train(engineer, web, version, page):
    text = text_of(web(engineer).get("/p/demo/data/wti/1"))
    assert f"{page('/new')}?version={version.pk}" in text


# -- what the form says before it is queued ---------------------------------------------------------------------------
def test_a_skipped_step_is_not_drawn(engineer, web, version, page):
    skipping = {"version": version.pk, "/skip_cleaning": "true", "op": "ahead"}
    text = text_of(web(engineer).post(page("/new"), skipping, headers={"HX-Request": "true"}))
    assert 'href="#f-train-task"' in text
    assert 'href="#f-clean-g"' not in text


def test_the_schedule_is_that_of_the_train_step(engineer, web, form, page):
    data = {**form, "/train/schedule/warmup_steps": "-3", "op": "ahead"}
    text = text_of(web(engineer).post(page("/new"), data, headers={"HX-Request": "true"}))
    assert '<li><a href="#f-train-schedule-warmup_steps">Warm-up</a>' in text


def test_the_sample_is_that_of_the_clean_step(engineer, web, form, page):
    text = text_of(web(engineer).post(page("/new"), {**form, "op": "sample"}, headers={"HX-Request": "true"}))
    assert "Fill by the median of" in text


def test_the_rest_call_makes_the_same_pipeline(engineer, web, api, form, page):
    client = web(engineer)
    data = {**form, "/clean/window_size": "9", "/train/epochs": "3", "needs/cpus": "2"}
    text = html.unescape(text_of(client.post(page("/new"), {**data, "op": "ahead"}, headers={"HX-Request": "true"})))
    body = json.loads(re.search(r"-d '(\{.*?\n\})'", text, re.S)[1])
    answer = api(engineer).post("/api/v1/projects/demo/pipelines", body, format="json")
    assert answer.status_code == 201, answer.content
    client.post(page("/new"), {**data, "op": "submit"})
    by_rest, by_form = Pipeline.objects.order_by("pk")
    assert by_rest.document == by_form.document
