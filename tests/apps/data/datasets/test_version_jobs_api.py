import pytest

from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/datasets/wti-daily/versions"


@pytest.fixture
def submitted(api, engineer, added, held):
    """submitted(body) -> the answer to a job posted to version 1, whose table is the CSV file."""

    def submit(body, media_type="text/csv", **headers):
        added({"table.csv": held()}, media_type=media_type)
        return api(engineer).post(f"{URL}/1/jobs", body, headers=headers)

    return submit


def test_the_table_of_the_version_goes_in_and_the_dataset_gets_the_result(submitted, held):
    answer = submitted({"kind": "clean", "spec": {"window_size": 3}, "priority": 5, "name": "try"})
    assert answer.status_code == 201
    job = Job.objects.get()
    assert (job.inputs.get().slot, job.inputs.get().artifact) == ("table", held())
    assert (job.register, job.priority, job.name) == ({"dataset": "wti-daily"}, 5, "try")
    assert answer.json()["spec"]["window_size"] == 3


@pytest.mark.parametrize("register", [{}, {"dataset": "elsewhere"}])
def test_the_body_may_register_otherwise(submitted, register):
    submitted({"kind": "clean", "register": register})
    assert Job.objects.get().register == register


def test_the_csv_file_is_read_as_its_upload_was(submitted):
    body = {"kind": "clean", "spec": {"csv": {"missing_tokens": ["-"]}}}
    answer = submitted(body, media_type="text/csv; charset=gb18030; delimiter=%3B")
    assert answer.json()["spec"]["csv"] == {"encoding": "gb18030", "delimiter": ";", "missing_tokens": ["-"]}


def test_a_kind_that_registers_nothing_is_given_nothing(submitted):
    submitted({"kind": "noop"})
    assert Job.objects.get().register == {}


def test_the_same_key_is_one_job(api, engineer, submitted):
    first = submitted({"kind": "clean"}, **{"Idempotency-Key": "k1"})
    again = submitted({"kind": "clean"}, **{"Idempotency-Key": "k1"})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    other = submitted({"kind": "noop"}, **{"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


WRONG_BODIES = [
    ([], None),
    ({}, "/kind"),
    ({"kind": "banana"}, "/kind"),
    ({"kind": "clean", "spec": []}, "/spec"),
    ({"kind": "clean", "spec": {"window_size": 0}}, "/spec/window_size"),
    ({"kind": "clean", "spec": {"csv": 3}}, "/spec/csv"),
    ({"kind": "clean", "inputs": {"table": {"digest": "0" * 64}}}, "/inputs/table"),
    ({"kind": "clean", "inputs": []}, "/inputs"),
    ({"kind": "clean", "inputs": {"more": {"digest": "0" * 64}}}, "/inputs/more"),
]


def test_wrong_bodies_are_refused(submitted):
    wrong = {}
    for body, field in WRONG_BODIES:
        answer = submitted(body)
        if answer.status_code != 422 or not (answer.json()["error"]["field"] or "").startswith(field or ""):
            wrong[repr(body)] = answer.json()
    assert wrong == {}
    assert not Job.objects.exists()


def test_no_table_among_the_files(api, engineer, added, held):
    added({"a": held(b"1"), "b": held(b"2")}, media_type="image/png")
    answer = api(engineer).post(f"{URL}/1/jobs", {"kind": "clean"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "no_table")


@pytest.mark.parametrize(("who", "status"), [("viewer", 403), ("stranger", 404)])
def test_takes_an_engineer_of_the_project(request, api, added, held, who, status):
    added({"table.csv": held()})
    assert api(request.getfixturevalue(who)).post(f"{URL}/1/jobs", {"kind": "clean"}).status_code == status
    assert not Job.objects.exists()
