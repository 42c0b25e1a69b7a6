import pytest

from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db
NOOP = {"kind": "noop", "spec": {"seconds": 0.0}}


def test_201_with_the_whole_job_and_its_links(api, engineer, url):
    answer = api(engineer).post(url(), {**NOOP, "name": "try"}, format="json")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["state"], body["attempt"], body["name"]) == ("queued", "0 of 3", "try")
    assert body["spec"]["steps"] == 1
    assert body["wait"]["summary"] == "No node that serves the queue cpu is online."
    assert answer.headers["Location"] == body["links"]["self"] == url(f"/{body['id']}")


def test_the_same_key_replays(api, engineer, url):
    client = api(engineer)
    first, second = (client.post(url(), NOOP, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert first.json()["id"] == second.json()["id"]


def test_the_same_key_for_another_body_is_a_conflict(api, engineer, url):
    client = api(engineer)
    client.post(url(), NOOP, headers={"Idempotency-Key": "k1"})
    answer = client.post(url(), {**NOOP, "priority": 1}, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_inputs_needs_and_parents_arrive(api, engineer, url, artifact, submit):
    parent = submit()
    inputs = {"a": {"digest": artifact.pk}, "b": {"job": parent.pk, "slot": "note"}}
    body = {**NOOP, "inputs": inputs, "after": [parent.pk, parent.pk], "needs": {"gpus": 1}, "max_attempts": 1}
    made = api(engineer).post(url(), body).json()
    assert (made["state"], made["attempt"]) == ("waiting", "0 of 1")
    assert [(i["slot"], i["digest"], i["job"]) for i in made["inputs"]] == [
        ("a", artifact.pk, None),
        ("b", None, parent.pk),
    ]
    sizes = {"cpus": 0.1, "memory_bytes": 2**26, "gpus": 1, "gpu_memory_bytes": 0, "nodes": 1}
    assert made["needs"] == {**sizes, "labels": []}
    assert made["parents"] == [{"id": parent.pk, "kind": "noop", "state": "queued"}]
    assert made["wait"]["summary"] == f"It waits for #{parent.pk} (Queued)."


def test_a_train_job_with_a_gpu_queues_where_gpus_are(api, engineer, url, artifact):
    body = {"kind": "train", "spec": {"task": "regression", "target": "y"}, "needs": {"gpus": 1}}
    made = api(engineer).post(url(), {**body, "inputs": {"table": {"digest": artifact.pk}}}, format="json").json()
    assert made["queue"] == "gpu"
    assert made["wait"]["summary"] == "It needs a GPU, and no node that serves the queue gpu is online."


def test_422_names_every_field_at_once(api, engineer, url):
    client, wrong = api(engineer), []
    for body, fields in (
        ({}, {"/kind"}),
        ({"kind": 1}, {"/kind"}),
        ({"kind": "nop"}, {"/kind"}),
        ({"kind": "noop", "colour": 1}, {"/colour"}),
        ({"kind": "noop", "spec": []}, {"/spec"}),
        ({"kind": "noop", "spec": {"seconds": "1"}}, {"/spec/seconds"}),
        ({"kind": "noop", "after": ["1"]}, {"/after/0"}),
        ({"kind": "noop", "after": [2**70]}, {"/after/0"}),
        ({"kind": "noop", "inputs": {"x": {"digest": "A"}}}, {"/inputs/x/digest"}),
        ({"kind": "noop", "inputs": {"x": {"digest": "a" * 64, "job": 1}}}, {"/inputs/x"}),
        ({"kind": "noop", "needs": {"cpus": 0, "gpu": 1}}, {"/needs/cpus", "/needs/gpu"}),
        ({"kind": "clean", "spec": {"window_size": 0, "x": 1}}, {"/spec/window_size", "/spec/x", "/inputs/table"}),
        ({"kind": "clean", "spec": {"fill": 1}, "priority": "9", "y": 0}, {"/priority", "/y", "/spec/fill"}),
        ([], {None}),
    ):
        answer = client.post(url(), body, format="json")
        error = answer.json()["error"]
        found = answer.status_code, {each["field"] or None for each in error["errors"]}
        if found != (422, fields) or error["field"] != error["errors"][0]["field"]:
            wrong.append((body, found))
    assert wrong == []
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [("[" * 100_000, "malformed_json"), ('{"kind": "noop"', "malformed_json"), ('{"a": NaN}', "malformed_json")],
)
def test_what_is_not_json_is_400(api, engineer, url, text, code):
    answer = api(engineer).generic("POST", url(), text, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_a_body_over_the_limit_is_413(api, engineer, url, settings):
    text = '{"kind": "noop", "name": "' + "x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE + '"}'
    assert api(engineer).generic("POST", url(), text, content_type="application/json").status_code == 413


def test_submitting_requires_an_engineer(api, url, viewer, approver, stranger):
    for user, status in ((viewer, 403), (approver, 403), (stranger, 404)):
        assert api(user).post(url(), {"kind": "wrong"}, format="json").status_code == status, user.username


def test_a_token_without_the_scope_may_not(api, make_token, engineer, url):
    answer = api(make_token(engineer, scopes=["read"])[0]).post(url(), NOOP)
    assert (answer.status_code, answer.json()["error"]["limit"]) == (403, "jobs:write")


def test_without_a_token_401(client, project, url):
    answer = client.post(url(), NOOP, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


def test_a_session_needs_the_csrf_token(web, engineer, url):
    assert web(engineer, csrf=True).post(url(), NOOP, content_type="application/json").status_code == 403
