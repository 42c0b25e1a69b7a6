"""The form of running a pipeline again from a training: the sections of a new job, on the spec as it was."""

import json

import pytest

from apps.data.datasets.services import upload_csv
from apps.ml.pipelines.models import Pipeline
from apps.web.new_job.rerun_form import RerunForm
from tests.apps.ml.pipelines.conftest import artifact, start, step  # noqa: F401
from tests.apps.web.new_job.test_folded_groups import opened, sent

CSV = b"price,colour,rooms\n" + b"".join(b"%d.5,%s,%d\n" % (n, (b"red", b"blue")[n % 2], n % 4) for n in range(30))
SPEC = {"task": "regression", "target": "price", "lags": 3, "features": ["rooms", "gone"], "seed": 7}
pytestmark = pytest.mark.django_db


@pytest.fixture
def form(start, actor_for, engineer, project, held):  # noqa: F811
    actor = actor_for(engineer)
    version = upload_csv(actor=actor, project=project, dataset_name="houses", artifact=held(CSV))[0]
    table = {"digest": version.files.get().artifact_id}
    return RerunForm(actor, start([step("train", kind="train", spec=SPEC, inputs={"table": table})]), "train")


def test_it_has_the_sections_of_a_new_job_and_keeps_what_was_set(form):
    assert [item.label for item in form.items if item.kind == "group"] == [
        "Data",
        "Model",
        "Training",
        "Resources",
        "Advanced",
    ]
    assert [item.pointer for item in form.items if item.kind == "field"] == ["/task", "/target"]
    target = next(item for item in form.items if item.pointer == "/target")
    assert ("rooms", "rooms (int64)") in target.choices
    assert opened(form.items) == ["/rare"]  # with the seed
    form.bind(sent(form))
    assert form.as_body == {"from": "train", "changes": {}}
    data = sent(form)
    data["/task"] = "classification"  # the page hides the lags
    form.bind(data)
    assert form.spec_form.spec()["lags"] != 3


def test_an_error_stands_beside_its_field_in_an_open_group(web, engineer, form, page):
    url = page(f"/{form.pipeline.pk}/rerun?from=train")
    data = sent(form)
    data["/schedule/max_lr"], data["/threads"], data["/target"] = "-1", "x", "colour"
    answer = web(engineer).post(url, data.dict() | {"/features": ["rooms"], "op": "submit"})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert all(f'id="f-{name}-e" aria-live="polite">' in text for name in ("schedule-max_lr", "threads"))
    assert all(f'id="f-{name}-g" open>' in text for name in ("schedule", "rare"))
    checked = web(engineer).post(url, sent(form).dict() | {"/target": "colour", "op": "check"})
    assert 'id="f-target-e" aria-live="polite">' in checked.content.decode()
    sent_again = sent(form).dict() | {"/target": "rooms", "/features": ["price"], "op": "submit"}
    assert web(engineer).post(url, sent_again).status_code == 302
    made = json.loads(Pipeline.objects.latest("pk").steps.get().job.spec)
    assert (made["target"], made["features"], made["seed"]) == ("rooms", ["price"], 7)
