import pytest

from apps.data.datasets.services import upload_csv
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell

URL = "/p/demo/jobs/new/clean"


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def version(actor_for, engineer, project, held):
    artifact = held(b"day;close\n2026-01-02;57.3\n2026-01-03;\n")
    asked = {"dataset_name": "wti", "artifact": artifact, "delimiter": ";"}
    return upload_csv(actor=actor_for(engineer), project=project, **asked)[0]


@pytest.fixture
def form(version):
    digest = version.files.get().artifact_id
    return {"inputs/table": digest, "register/dataset": "wti-clean", "/window_size": "5", "/csv/delimiter": ";"}


def text_of(answer) -> str:
    return answer.content.decode()


def test_a_version_fills_the_form(engineer, web, version):
    text = text_of(web(engineer).get(f"{URL}?version={version.pk}"))
    assert 'value="wti-clean"' in text
    assert f'<option value="{version.files.get().artifact_id}" selected>' in text
    assert 'name="/csv/delimiter" type="text" autocomplete="off" spellcheck="false" value=";"' in text


def test_submit_queues_and_leads_to_the_job(engineer, web, form):
    answer = web(engineer).post(URL, {**form, "op": "submit", "priority": "3", "time_limit_seconds": "60"})
    job = Job.objects.get()
    assert answer.url == f"/p/demo/jobs/{job.pk}"
    assert (job.priority, job.time_limit_seconds, job.register) == (3, 60, {"dataset": "wti-clean"})
    assert job.inputs.get().artifact_id == form["inputs/table"]


WRONG_FIELDS = [
    ({"/window_size": "0"}, "f-window_size-e"),
    ({"inputs/table": ""}, "finputs-table-e"),
    ({"inputs/table": "a" * 64}, "finputs-table-e"),
    ({"register/dataset": "Not A Name"}, "fregister-dataset-e"),
    ({"priority": "much"}, "fpriority-e"),
    ({"needs/gpus": "one"}, "fneeds-gpus-e"),
    ({"needs/gpus": "65"}, "fneeds-gpus-e"),
    ({"needs/memory_bytes": "1e400"}, "fneeds-memory_bytes-e"),
    ({"time_limit_seconds": "soon"}, "ftime_limit_seconds-e"),
]


def test_errors_are_shown_at_their_fields(engineer, web, form):
    client, missing = web(engineer), {}
    for wrong, field in WRONG_FIELDS:
        answer = client.post(URL, {**form, "name": "kept & well", "op": "submit", **wrong})
        text = text_of(answer)
        shown = f'id="{field}" aria-live="polite">' in text  # not hidden
        if not (answer.status_code == 422 and shown and 'value="kept &amp; well"' in text):
            missing[repr(wrong)] = (answer.status_code, shown)
    assert missing == {}
    assert not Job.objects.exists()


def test_check_answers_the_form_alone(engineer, web, form):
    answer = web(engineer).post(URL, {**form, "/window_size": "x", "op": "check"}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert 'id="f-window_size-e" aria-live="polite">' in text_of(answer)
    assert "<html" not in text_of(answer)
    assert not Job.objects.exists()


def test_the_same_again_starts_from_the_old_one(engineer, web, form):
    client = web(engineer)
    client.post(URL, {**form, "/window_size": "9", "op": "submit"})
    text = text_of(client.get(f"{URL}?from={Job.objects.get().pk}"))
    assert 'value="9"' in text
    assert 'value="wti-clean"' in text


def test_a_gpu_asked_for_says_where_it_will_run_and_queues_there(engineer, web, form):
    client, asked = web(engineer), {**form, "needs/gpus": "1", "needs/memory_bytes": "1.5"}
    assert "No node of the queue gpu is online" in text_of(client.post(URL, {**asked, "op": "check"}))
    client.post(URL, {**asked, "op": "submit"})
    job = Job.objects.get()
    assert (job.queue, job.need_gpus, job.need_memory_bytes, job.need_cpus) == ("gpu", 1, 3 * 2**29, 1.0)
    again = text_of(client.get(f"{URL}?from={job.pk}"))
    assert "No node of the queue gpu is online" in again
    assert 'name="needs/memory_bytes"' in again


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("stranger", 404), ("auditor", 403)])
def test_form_requires_an_engineer(who, status, request, web, form):
    client = web(request.getfixturevalue(who))
    answers = [client.get(URL), client.get("/p/demo/jobs/new"), client.post(URL, {**form, "op": "submit"})]
    assert [answer.status_code for answer in answers] == [status] * 3
    assert not Job.objects.exists()


def test_an_unknown_kind_is_not_there(engineer, web):
    assert web(engineer).get("/p/demo/jobs/new/bake").status_code == 404
