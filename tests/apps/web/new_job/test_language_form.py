"""The form of a language model's training: every field of its spec, a job by it, and errors beside their fields."""

import html
import re

import pytest

from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.manifest import JSON_LINES, UNKNOWN_TYPE
from apps.data.datasets.versions.registration import add_version
from apps.ml.sweeps.models import Sweep
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.web.new_job.job_form import JobForm
from apps.web.new_job.sweep_form import list_scalar_pointers

pytestmark = pytest.mark.django_db
TEXTS = b'{"prompt": "a", "completion": "b"}\n'
FILES = {"config.json": b"{}", "tokenizer.json": b"[]", "model.safetensors": b"shard"}


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def add_folder(actor_for, engineer, project, held):
    """add_folder(name, {path: bytes}) -> the digests of a new version's files by their paths."""

    def add(name, files, media_type=UNKNOWN_TYPE):
        actor = actor_for(engineer)
        dataset = create_dataset(actor=actor, project=project, name=name)
        artifacts = {path: held(data, media_type=media_type) for path, data in files.items()}
        rows = [(path, artifact, media_type) for path, artifact in artifacts.items()]
        facts = {"rows": None, "columns": [], "script": "test", "params": {}}
        add_version(actor=actor, dataset=dataset, files=rows, media_type=media_type, **facts)
        return {path: artifact.pk for path, artifact in artifacts.items()}

    return add


@pytest.fixture
def post(engineer, web, add_folder):
    """post(**fields) -> the answer to the form with texts, the base base:v1 and these values."""
    add_folder("base", FILES)
    texts = add_folder("texts", {"texts.jsonl": TEXTS}, JSON_LINES)["texts.jsonl"]

    def send(address="/p/demo/jobs/new/train_language", **fields):
        client = web(engineer)
        assert f'value="{texts}"' in client.get(address).content.decode()  # offered
        data = {"inputs/texts": texts, "/base": "base:v1", "op": "submit"}
        return client.post(address, {**data, **fields})

    return send


def test_it_has_every_field(engineer, web, project, actor_for):
    page = web(engineer).get("/p/demo/jobs/new/train_language").content.decode()
    form = SpecForm("train_language")
    expected = {*list_scalar_pointers(form, form.schema, "")}
    expected |= {item.pointer for item in JobForm(actor_for(engineer), project, "train_language").own}
    assert expected - set(re.findall(r' name="([^"]+)"', page)) == set()


def test_a_job_is_queued(post):
    answer = post(**{"/lora/rank": "4", "/method": "lora"})
    job = Job.objects.get()
    assert answer["Location"] == f"/p/demo/jobs/{job.pk}"
    assert '"rank":4' in job.spec
    assert set(job.inputs.values_list("slot", flat=True)) == {"texts", *(f"base/{path}" for path in FILES)}


def test_errors_stand_beside_their_fields(post, add_folder):
    add_folder("shards", {"model.safetensors": b"shard"})
    cases = {
        "/base": {"/base": "shards:v1"},
        "/lora/rank": {"/lora/rank": "0"},
        "/max_length": {"/max_length": "x"},
        "inputs/texts": {"inputs/texts": ""},
    }
    found, texts = {}, {}
    for pointer, fields in cases.items():
        answer = post(**fields)
        problems = {item.pointer: item.error for item in answer.context["form"].problems}
        found[pointer] = (answer.status_code, set(problems))
        texts[pointer] = html.unescape(answer.content.decode()).count(problems.get(pointer) or "no such text")
    assert found == {pointer: (422, {pointer}) for pointer in cases}
    assert all(texts.values()), texts
    assert not Job.objects.exists()


def test_a_sweep_is_begun_by_its_form(post, engineer, web):
    settings = {"metric": "validation_loss", "direction": "minimize", "value": "last", "trials": "2", "parallel": "1"}
    parameter = {"type": "int", "name": "/lora/rank", "low": "1", "high": "8"}
    fields = {f"/sweep/{name}": value for name, value in settings.items()}
    fields |= {f"/sweep/space/0/{name}": value for name, value in parameter.items()}
    answer = post(address="/p/demo/sweeps/new/train_language", **fields)
    assert answer.status_code == 302, [(i.pointer, i.error) for i in answer.context["form"].problems]
    assert '"base":"base:v1"' in Sweep.objects.get().document
