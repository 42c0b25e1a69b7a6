"""What the form of a training, and REST, say of the columns of a table before anything is queued."""

import html
import json

import pytest

from apps.data.datasets.services import upload_csv
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell

CSV = b"price,colour,rooms\n" + b"".join(b"%d.5,%s,%d\n" % (n, (b"red", b"blue")[n % 2], n % 4) for n in range(30))
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_engine")]


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def digest(actor_for, engineer, project, held):
    actor = actor_for(engineer)
    version = upload_csv(actor=actor, project=project, dataset_name="houses", artifact=held(CSV))[0]
    return version.files.get().artifact_id


@pytest.fixture
def post(engineer, web, digest):
    """post(op, field=...) -> the text of the form's answer."""

    def send(op, **fields):
        data = {"inputs/table": digest, "read_as": digest, **{k.replace("__", "/"): v for k, v in fields.items()}}
        answer = web(engineer).post("/p/demo/jobs/new/train", {**data, "op": op}, headers={"HX-Request": "true"})
        return html.unescape(answer.content.decode())

    return send


@pytest.mark.parametrize("op", ["check", "submit"])
def test_text_is_no_target_of_a_regression(post, op):
    text = post(op, __task="regression", __target="colour")
    assert "The column 'colour' holds text" in text
    assert 'id="f-target-e" aria-live="polite">' in text
    assert not Job.objects.exists()


def test_it_is_one_of_a_classification(post):
    assert "holds text" not in post("check", __task="classification", __target="colour")
    assert "holds text" not in post("check", __task="regression", __target="price")


def test_columns_are_offered_as_categories(post):
    text = post("check", __task="regression", __target="price")
    assert all(f'name="/categories" value="{name}"' in text for name in ("colour", "rooms"))
    assert 'name="/features" value="colour"' in text


@pytest.mark.parametrize(("task", "status"), [("regression", 422), ("forecast", 422), ("classification", 201)])
def test_rest_says_the_same(engineer, web, digest, task, status):
    body = {"kind": "train", "spec": {"task": task, "target": "colour"}, "inputs": {"table": {"digest": digest}}}
    answer = web(engineer).post("/api/v1/projects/demo/jobs", json.dumps(body), content_type="application/json")
    assert answer.status_code == status, answer.content
    if status == 422:
        error = answer.json()["error"]
        assert (error["code"], error["field"]) == ("column_not_numeric", "/spec/target")


def test_a_table_of_no_version_is_left_to_the_engine(engineer, web, held):
    body = {
        "kind": "train",
        "spec": {"task": "regression", "target": "colour"},
        "inputs": {"table": {"digest": held(CSV + b"1,red,2\n").pk}},
    }
    answer = web(engineer).post("/api/v1/projects/demo/jobs", json.dumps(body), content_type="application/json")
    assert answer.status_code == 201
