"""What a dataset expects: set by an engineer, recorded, and demanded of every new version."""

import json

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.services import add_files
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.services import InputSpec, Submission, submit_job
from apps.platform.nodes.models import Node

pytestmark = pytest.mark.django_db
RANGE = {"kind": "range", "column": "close", "minimum": 0}
URL = "/api/v1/projects/demo/datasets/wti-daily/expectations"


@pytest.fixture
def actor(actor_for, engineer):
    return actor_for(engineer)


def clean(actor, project, artifact, **more):
    asked = Submission(kind="clean", spec={}, inputs=[InputSpec(slot="table", digest=artifact.pk)], **more)
    return submit_job(actor=actor, project=project, submission=asked)[0]


def test_they_are_kept_whole_and_recorded(actor, dataset):
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    dataset.refresh_from_db()
    assert dataset.expectations[0]["minimum"] == 0
    assert dataset.expectations[0]["severity"] == "error"
    record = AuditRecord.objects.get(action="dataset.set_expectations")
    assert json.loads(record.body)["after"]["expectations"] == dataset.expectations


def test_the_same_again_is_recorded_once(actor, dataset):
    for _ in range(2):
        set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    assert AuditRecord.objects.filter(action="dataset.set_expectations").count() == 1


def test_what_is_wrong_is_named(actor, dataset):
    with pytest.raises(Invalid) as refused:
        set_expectations(actor=actor, dataset=dataset, expectations=[RANGE, {"kind": "range", "column": "close"}])
    assert refused.value.errors[0]["field"] == "/expectations/1"


def test_a_viewer_may_not_and_a_stranger_sees_nothing(actor_for, viewer, stranger, dataset):
    with pytest.raises(Refused):
        set_expectations(actor=actor_for(viewer), dataset=dataset, expectations=[])
    with pytest.raises(NotFound):
        set_expectations(actor=actor_for(stranger), dataset=dataset, expectations=[])


def test_a_job_that_registers_there_gets_them_into_its_spec(actor, project, dataset, held):
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    job = clean(actor, project, held(), register={"dataset": "wti-daily"})
    assert '"expectations":[{"column":"close"' in job.spec
    assert '"expectations":[]' in clean(actor, project, held()).spec


def test_a_collection_too(actor, project, dataset, settings):
    Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=8 * 2**30, extras=["collect"])
    settings.ENV = settings.ENV.model_copy(update={"collect_hosts": ["wiki.bank.example"]})
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    page = {"fields": [{"name": "close", "select": "b", "type": "number"}]}
    spec = {"start_urls": ["http://wiki.bank.example/"], "allowed_hosts": ["wiki.bank.example"], "pages": [page]}
    asked = Submission(kind="collect", spec=spec, register={"dataset": "wti-daily"})
    job = submit_job(actor=actor, project=project, submission=asked)[0]
    assert json.loads(job.spec)["expectations"][0]["column"] == "close"


def test_the_same_expectation_stands_there_once(actor, project, dataset, held):
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    asked = Submission(
        kind="clean",
        spec={"expectations": [RANGE, {"kind": "row_count", "minimum": 1}]},
        inputs=[InputSpec(slot="table", digest=held().pk)],
        register={"dataset": "wti-daily"},
    )
    assert submit_job(actor=actor, project=project, submission=asked)[0].spec.count('"kind":') == 2


def test_bytes_that_nothing_has_checked_become_no_version(actor, project, dataset, held):
    set_expectations(actor=actor, dataset=dataset, expectations=[RANGE])
    files = [("t.txt", held().pk, "text/plain")]
    with pytest.raises(Conflict) as refused:
        add_files(actor=actor, project=project, dataset_name="wti-daily", files=files)
    assert refused.value.code == "expectations_unchecked"
    set_expectations(actor=actor, dataset=dataset, expectations=[{**RANGE, "severity": "warning"}])
    add_files(actor=actor, project=project, dataset_name="wti-daily", files=files)


def test_over_rest(api, engineer, viewer, dataset):
    assert api(viewer).get(URL).json() == {"expectations": []}
    answer = api(engineer).put(URL, {"expectations": [RANGE]})
    assert (answer.status_code, answer.json()["expectations"][0]["column"]) == (200, "close")
    assert api(viewer).put(URL, {"expectations": []}).status_code == 403
    wrong = api(engineer).put(URL, {"expectations": [{"kind": "guess"}]})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "/expectations/0")
    assert api(engineer).put(URL, {"expectation": []}).json()["error"]["code"] == "unknown_field"
