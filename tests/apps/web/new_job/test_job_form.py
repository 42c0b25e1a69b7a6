"""What the form of a job says before it is queued: columns, schedule, sample, where it runs, the REST call."""

import html
import json
import re

import pytest

from apps.data.datasets.services import create_dataset, upload_csv
from apps.data.datasets.versions.manifest import JSON_LINES
from apps.data.datasets.versions.registration import add_version
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell
from apps.platform.nodes.models import Node
from apps.web.new_job import clean_preview
from apps.web.new_job.job_form import JobForm

CSV = b"day,close,open\n" + b"".join(
    b"%d,%s,%d\n" % (n, b"" if n % 9 == 4 else b"5%d.5" % (n % 7), n) for n in range(60)
)
HTMX = {"HX-Request": "true"}
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_engine")]


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    clean_preview.cache.clear()


@pytest.fixture
def upload(actor_for, engineer, project, held):
    def make(data=CSV, name="wti", **more):
        asked = {"dataset_name": name, "artifact": held(data)} | more
        return upload_csv(actor=actor_for(engineer), project=project, **asked)[0]

    return make


@pytest.fixture
def post(engineer, web, upload):
    """post(kind, op, field=...) -> the text of the answer, of a form on an uploaded table."""
    digest, client = upload().files.get().artifact_id, web(engineer)

    def send(kind, op, headers=HTMX, **fields):
        data = {"inputs/table": digest, "read_as": digest, **{k.replace("__", "/"): v for k, v in fields.items()}}
        answer = client.post(f"/p/demo/jobs/new/{kind}", {**data, "op": op}, headers=headers)
        return html.unescape(answer.content.decode())

    return send


def test_table_columns_are_offered(engineer, web, upload):
    text = web(engineer).get(f"/p/demo/jobs/new/train?version={upload().pk}").content.decode()
    assert '<option value="close" label="double"></option>' in text
    assert 'name="/features" value="open"' in text


def test_columns_follow_the_table(post):
    text = post("clean", "check")
    assert 'name="/columns" value="close"' in text
    assert 'hx-select-oob="#columns,#f-columns-f,#f-steps-l,#f-csv-g,#read_as"' in text


def test_schedule_is_drawn_and_updated(post):
    filled = {"__task": "forecast", "__target": "close", "__epochs": "4", "__lags": "5"}
    text = post("train", "ahead", **filled)
    assert '<section class="card" aria-labelledby="schedule-h">' in text
    assert '<th scope="row" class="n">256</th>' in text
    assert "the highest rate is never reached" in text
    assert "the highest rate is never reached" not in post("train", "ahead", **filled, __schedule__warmup_steps="1")


def test_schedule_reports_invalid_fields(post):
    text = post("train", "ahead", __schedule__warmup_steps="-1")
    assert '<li><a href="#f-schedule-warmup_steps">Warm-up</a>: Input should be greater' in text


def test_preview_reports_no_blank_fields(post):
    assert 'id="f-target-e" aria-live="polite" hidden>' in post("train", "ahead")
    assert 'id="f-target-e" aria-live="polite">' in post("train", "check")


def test_sample_shows_changes(post):
    text = post("clean", "sample")
    assert "Fill by the median of 5 rows: 7 cells" in text
    assert "all 60 rows looked at" in text
    assert "Distribution of close" in text


def test_sample_without_script_is_a_whole_page(post):
    text = post("clean", "sample", headers={})
    assert "<html" in text
    assert "Fill by the median of 5 rows: 7 cells" in text
    assert '<button class="btn" form="job" name="op" value="sample">' in text


def test_engine_error_is_shown_at_its_field(post):
    text = post("clean", "sample", __columns="opne")
    assert 'id="f-columns-e" aria-live="polite">' in text
    assert "The table has no column 'opne'. Did you mean 'open'?" in text


def test_invalid_spec_is_not_sampled(post, monkeypatch):
    monkeypatch.setattr(clean_preview, "run_child", None)
    text = post("clean", "sample", __window_size="0")
    assert '<li><a href="#f-window_size">Window</a></li>' in text


def test_csv_fields_follow_the_chosen_version(post, upload):
    other = upload(b"a;b\n1;2\n", "other", delimiter=";").files.get().artifact_id
    text = post("clean", "check", **{"inputs__table": other, "__csv__delimiter": ","})
    assert 'name="/csv/delimiter" type="text" autocomplete="off" spellcheck="false" value=";"' in text
    kept = post("clean", "check", **{"inputs__table": other, "read_as": other, "__csv__delimiter": "|"})
    assert 'spellcheck="false" value="|"' in kept


def test_placement_is_shown_beside_the_button(post):
    text = post("clean", "ahead")
    assert "No node of the queue cpu is online: it will wait until one is." in text
    assert "NODE_QUEUES=cpu python manage.py worker" in text
    assert "no job of this kind has succeeded here yet" in text


def test_too_little_memory_is_reported(post):
    assert "more than the 134.2 MB requested" in post("train", "ahead", needs__memory_bytes="0.125")


def test_memory_is_shown_by_part_and_by_node(post):
    for name, size in (("large", 2**36), ("small", 2**28)):
        Node.objects.create(name=name, host=name, queues=["cpu"], cpus=4, memory_bytes=size)
    text = post("train", "ahead")
    assert 'data-part="activations"' in text
    assert 'data-node="large" data-fits="yes"' in text
    assert 'data-node="small" data-fits="no"' in text
    assert "MB of memory" in text[text.index('data-node="small"') :]


@pytest.fixture
def add_files(actor_for, engineer, project, held):
    """add_files(name, path=bytes) -> version 1 of a dataset with these files, which registers as 20 images."""

    def make(name, files):
        actor = actor_for(engineer)
        dataset = create_dataset(actor=actor, project=project, name=name)
        rows = [(path, held(data), "application/octet-stream") for path, data in files.items()]
        values = {"rows": 20, "columns": [], "script": "test", "params": {"images": {"classes_count": 4}}}
        return add_version(actor=actor, dataset=dataset, files=rows, media_type=rows[0][2], **values)[0]

    return make


def test_memory_of_images_and_of_a_base_follows_from_the_versions_named(post, add_files):
    """The data of 20 images are their pixels; the parameters of a base are those that its config.json says."""
    Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=2**36, extras=["language"])
    add_files("pics", {"images.csv": b"path,label\n", "1.png": b"1"})
    config = {"model_type": "deepseek_v3", "num_hidden_layers": 2, "hidden_size": 64, "n_routed_experts": 4}
    add_files("base", {"config.json": json.dumps(config).encode(), "model.safetensors": b"2"})
    parts = {}
    for kind, part, fields in (
        ("train_image", "data", {"__images": "pics:v1"}),
        ("train_image", "data", {"__images": "nothing:v1"}),
        ("train_language", "parameters", {"__base": "base:v1"}),
        ("train_language", "parameters", {"__base": "nothing:v1"}),
    ):
        found = re.search(rf'data-part="{part}">.*?<td class="n">(.*?)</td>', post(kind, "ahead", **fields), re.S)
        parts[kind, *fields.values()] = found and found[1]
    assert parts == {
        ("train_image", "pics:v1"): "3.0 MB",
        ("train_image", "nothing:v1"): None,
        ("train_language", "base:v1"): parts["train_language", "base:v1"] or "its parameters",
        ("train_language", "nothing:v1"): None,
    }


def test_a_training_that_fits_no_node_is_refused_beside_its_memory(post):
    Node.objects.create(name="small", host="small", queues=["cpu"], cpus=4, memory_bytes=2**28)
    text = post("train", "submit", __task="regression", __target="open")
    assert 'id="fneeds-memory_bytes-e" aria-live="polite">' in text
    assert "GB of memory (" in text
    assert not Job.objects.exists()


def test_shown_rest_call_makes_the_same_job(engineer, web, api, post, upload):
    fields = {"__window_size": "7", "__outliers__method": "iqr", "__columns": "close", "needs__cpus": "2"}
    fields |= {
        "__csv__delimiter": ",",
        "__csv__encoding": "utf-8",
        "priority": "3",
        "register__dataset": "x",
        "name": "n",
    }
    body = body_of(post("clean", "ahead", **fields))
    answer = api(engineer).post("/api/v1/projects/demo/jobs", body, format="json")
    assert answer.status_code == 201, answer.content
    post("clean", "submit", headers={}, **fields)
    by_rest, by_form = Job.objects.order_by("pk")
    for name in ("spec", "name", "priority", "register", "need_cpus", "time_limit_seconds"):
        assert getattr(by_rest, name) == getattr(by_form, name), name


def body_of(text: str) -> dict:
    return json.loads(re.search(r"-d '(\{.*?\n\})'", text, re.S)[1])


def test_invalid_spec_of_a_cloned_job_is_reported(engineer, web, upload, project):
    facts = {"kind": "clean", "spec": '{"window_size": 0}', "grant": {}, "time_limit_seconds": 60}
    old = Job.objects.create(project=project, **facts)
    text = web(engineer).get(f"/p/demo/jobs/new/clean?from={old.pk}").content.decode()
    assert 'id="f-window_size-e" aria-live="polite">' in text
    assert 'value="0"' in text


def test_table_that_is_not_offered_keeps_its_name(actor_for, engineer, project, upload, monkeypatch):
    version = upload()
    monkeypatch.setattr("apps.web.new_job.job_form.list_latest_tables", lambda actor, project: [])
    form = JobForm(actor_for(engineer), project, "clean")
    form.bind({"inputs/table": version.files.get().artifact_id})
    assert form.table.version == version
    assert [column.name for column in form.columns] == ["day", "close", "open"]


def test_unknown_digest_is_no_table(post):
    assert "Choose a table" in post("clean", "sample", inputs__table="a" * 64)
    assert Artifact.objects.count() == 1


@pytest.mark.parametrize("op", ["ahead", "sample", "check"])
def test_preview_query_count(op, post, django_assert_max_num_queries):
    post("clean", op)
    with django_assert_max_num_queries(16):
        post("clean", op)


def test_chosen_model_fills_related_inputs(post, project, held):
    facts = {"kind": "train", "state": "succeeded", "spec": "{}", "grant": {}, "time_limit_seconds": 60}
    job = Job.objects.create(project=project, **facts)
    made = {slot: held(slot.encode()) for slot in ("model", "manifest", "heldout")}
    for slot, artifact in made.items():
        job.outputs.create(slot=slot, artifact=artifact, name=slot, media_type="x/y")
    text = post("quantize", "check", inputs__model=made["model"].digest)
    assert 'hx-select-oob="#finputs-manifest-f,#finputs-heldout-f"' in text
    for slot, artifact in made.items():
        assert f'<option value="{artifact.digest}" selected>{slot} of #{job.pk} train</option>' in text


def test_evaluation_inputs(engineer, web, upload):
    version = upload()
    text = web(engineer).get(f"/p/demo/jobs/new/evaluate?version={version.pk}").content.decode()
    digest = version.files.get().artifact_id
    table, model = (text.partition(f'name="inputs/{slot}"')[2].partition("</select>")[0] for slot in ("table", "model"))
    assert f'value="{digest}" selected' in table
    assert "Choose an output" in model
    assert digest not in model
    assert '<option value="close" label="double"></option>' in text


def test_texts_are_offered_as_files(engineer, web, worker_actor, project, held):
    dataset = create_dataset(actor=worker_actor, project=project, name="letters")
    artifact = held(b'{"text": "Ada", "spans": []}\n', media_type=JSON_LINES)
    about = {"rows": None, "columns": [], "script": "test", "params": {}, "media_type": JSON_LINES}
    add_version(actor=worker_actor, dataset=dataset, files=[("letters.jsonl", artifact, JSON_LINES)], **about)
    text = html.unescape(web(engineer).get("/p/demo/jobs/new/train_entities").content.decode())
    assert f'value="{artifact.digest}"' in text
    assert "letters.jsonl" in text
    answer = web(engineer).post(
        "/p/demo/jobs/new/train_entities", {"op": "submit", "inputs/texts": artifact.digest, "/labels": "PERSON"}
    )
    assert answer.status_code in (200, 302), answer.content[:500]
    assert Job.objects.get(kind="train_entities").inputs.get().artifact_id == artifact.digest


def test_a_job_of_another_kind_gives_what_it_made_and_what_it_was_made_from(engineer, web, project, held):
    """Register after quantize: the form that it made, and the trained one with its figures."""
    facts = {"state": "succeeded", "spec": "{}", "grant": {}, "time_limit_seconds": 60, "name": "mine"}
    jobs, made = {}, {}
    for kind in ("train", "quantize"):
        jobs[kind] = Job.objects.create(project=project, kind=kind, **facts)
        for slot in ("model", "manifest", "figures"):
            made[kind, slot] = held(f"{kind} {slot}".encode())
            jobs[kind].outputs.create(slot=slot, artifact=made[kind, slot], name=slot, media_type="x/y")
    for slot in ("model", "manifest"):
        jobs["quantize"].inputs.create(slot=slot, artifact=made["train", slot], source_job=jobs["train"])
    text = web(engineer).get(f"/p/demo/jobs/new/register?from={jobs['quantize'].pk}").content.decode()
    chosen = set(re.findall(r'<option value="([0-9a-f]{64})" selected>', text))
    assert chosen == {artifact.digest for artifact in made.values()}
    assert 'value="mine"' not in text
