"""POST /api/v1/lineage: what is taken, what is refused and why, and what follows from it."""

import gzip
import json
from uuid import UUID

import pytest

from apps.data.datasets.models import Dataset, DatasetVersion
from apps.gateways.openlineage.models import ForeignEnd, ForeignRun, LineageEvent
from apps.gateways.openlineage.naming import get_namespace
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.models import Edge
from tests.apps.gateways.openlineage.conftest import RUN_ID, URL

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def edges():
    return sorted(Edge.objects.values_list("source_type", "source_label", "target_type", "target_label", "role"))


def test_a_run_event_is_kept_and_drawn(send, event):
    answer = send(event())
    assert (answer.status_code, answer.content) == (201, b"")
    row = LineageEvent.objects.get()
    assert (row.kind, row.event_type, row.run_id, row.job_name) == ("RunEvent", "START", UUID(RUN_ID), "nightly/load")
    assert row.event == event()
    assert edges() == [
        ("foreign_dataset", "public.orders", "foreign_job", "nightly/load", "input"),
        ("foreign_job", "nightly/load", "foreign_dataset", "/lake/orders.parquet", "output"),
    ]


def test_the_same_event_twice_is_one(send, event):
    assert [send(event()).status_code for _ in range(2)] == [201, 200]
    assert (LineageEvent.objects.count(), Edge.objects.count()) == (1, 2)


def test_every_event_is_audited_though_it_brings_no_edges(send, event, project):
    for _ in range(2):  # the second is there already: nothing is written
        assert send(event(inputs=[], outputs=[])).status_code in (200, 201)
    record = json.loads(AuditRecord.objects.get(action="lineage.receive").body)
    row = LineageEvent.objects.get()
    assert (record["object"], record["digests"]) == ({"type": "lineageevent", "id": str(row.pk)}, {"event": row.digest})
    assert record["after"] == {"kind": "RunEvent", "event_type": "START", "run": RUN_ID, "job": "nightly/load"}
    assert (record["project"], Edge.objects.count()) == (project.pk, 0)


def test_the_facets_of_a_run_come_together(send, event, facet):
    send(event(run={"runId": RUN_ID, "facets": {"a": facet(x=1), "b": facet(x=1)}}))
    late = {"runId": RUN_ID, "facets": {"b": facet(x=2), "c": facet(x=2)}}
    send(event(eventType="COMPLETE", eventTime="2026-11-25T10:05:00+00:00", run=late))
    send(
        event(eventType="RUNNING", eventTime="2026-11-25T10:02:00Z", run={"runId": RUN_ID, "facets": {"b": facet(x=3)}})
    )
    run = ForeignRun.objects.get()
    assert (run.state, {name: told["x"] for name, told in run.facets.items()}) == ("COMPLETE", {"a": 1, "b": 2, "c": 2})
    assert (run.ended_at - run.started_at).total_seconds() == pytest.approx(299.877)


def test_a_dataset_of_ours_is_joined(send, event, project, facet):
    version = DatasetVersion.objects.create(
        dataset=Dataset.objects.create(project=project, name="wti", created_by="x"),
        number=3,
        digest="d" * 64,
        manifest="",
        media_type="text/csv",
        size=1,
        created_by="x",
    )
    told = {"namespace": get_namespace("demo"), "name": "wti"}
    send(event(inputs=[told | {"facets": {"version": facet(datasetVersion="3")}}], outputs=[]))
    assert list(Edge.objects.values_list("source_type", "source_id")) == [("dataset_version", str(version.pk))]
    send(event(inputs=[told | {"facets": {"version": facet(datasetVersion="4")}}], outputs=[]))
    assert edges()[-1][:2] == ("foreign_dataset", "wti 4")


def test_versions_of_a_foreign_dataset_are_ends_of_their_own(send, event, facet):
    for version in ("1", "2"):
        facets = {"version": facet(datasetVersion=version)}
        send(event(inputs=[{"namespace": "s3://lake", "name": "orders", "facets": facets}], outputs=[]))
    assert sorted(ForeignEnd.objects.filter(name="orders").values_list("version", flat=True)) == ["1", "2"]


def test_a_job_event_and_a_dataset_event(send, event, facet):
    job = event()
    del job["run"], job["eventType"]
    dataset = {key: job[key] for key in ("eventTime", "producer", "schemaURL")}
    dataset["dataset"] = {"namespace": "file", "name": "/lake/x", "facets": {"schema": facet(fields=[{"name": "a"}])}}
    assert [send(one).status_code for one in (job, dataset)] == [201, 201]
    assert sorted(LineageEvent.objects.values_list("kind", flat=True)) == ["DatasetEvent", "JobEvent"]
    assert ForeignEnd.objects.get(name="/lake/x").facets["schema"]["fields"] == [{"name": "a"}]
    assert not ForeignRun.objects.exists()


def test_a_facet_that_is_deleted_goes(send, event, facet):
    send(event(job={"namespace": "etl", "name": "a", "facets": {"x": facet(), "y": facet()}}))
    later = {"namespace": "etl", "name": "a", "facets": {"x": facet(_deleted=True)}}
    send(event(eventTime="2026-11-25T11:00:00Z", job=later))
    assert list(ForeignEnd.objects.get(type="foreign_job").facets) == ["y"]


WRONG_EVENTS = [
    ({"eventTime": "2026-11-25T10:00:00"}, "/eventTime"),
    ({"eventTime": "2026-13-25T10:00:00Z"}, "/eventTime"),
    ({"eventTime": 5}, "/eventTime"),
    ({"producer": "not a uri"}, "/producer"),
    ({"schemaURL": None}, "/schemaURL"),
    ({"eventType": "BEGIN"}, "/eventType"),
    ({"run": {"runId": "7"}}, "/run/runId"),
    ({"run": []}, "/run"),
    ({"job": {"namespace": "a"}}, "/job/name"),
    ({"job": {"namespace": "", "name": "x"}}, "/job/namespace"),
    ({"inputs": {}}, "/inputs"),
    ({"outputs": [{"namespace": "a", "name": "b"}, {"name": "b"}]}, "/outputs/1/namespace"),
    ({"run": {"runId": RUN_ID, "facets": {"a/b": {"_producer": "x:y"}}}}, "/run/facets/a~1b/_schemaURL"),
    ({"inputs": [{"namespace": "a", "name": "b", "inputFacets": {"q": 1}}]}, "/inputs/0/inputFacets/q"),
]


def test_wrong_events_are_refused(send, event):
    wrong = {}
    for change, field in WRONG_EVENTS:
        answer = send(event(**change))
        if (answer.status_code, answer.json()["error"]["field"]) != (422, field):
            wrong[field] = answer.json()
    assert wrong == {}
    assert not LineageEvent.objects.exists()


@pytest.mark.parametrize("body", [[], "x", {}, {"eventTime": "2026-11-25T10:00:00Z"}])
def test_what_is_no_event(send, body):
    assert send(body).status_code == 422


def test_gzip(api, engineer, event):
    def send(data, coding="gzip"):
        more = {"content_type": "application/json", "headers": {"Content-Encoding": coding}}
        return api(engineer).generic("POST", URL, data, **more).status_code

    packed = gzip.compress(json.dumps(event()).encode())
    assert send(packed) == 201
    assert send(packed[:-9]) == 400
    assert send(b"no gzip") == 400
    assert send(packed, "br") == 415
    assert send(gzip.compress(b"[" + b" " * 2**21 + b"]")) == 413
    assert LineageEvent.objects.count() == 1


def test_a_large_body_is_refused(send, event):
    assert send(event(job={"namespace": "a", "name": "b", "x": "y" * 2**20})).status_code == 413


def test_many_datasets_of_one_event(send, event):
    many = [{"namespace": "a", "name": f"n{n}"} for n in range(1000)]
    assert send(event(inputs=many, outputs=[])).status_code == 201
    assert Edge.objects.count() == 1000


def test_who_may(api, viewer, engineer, stranger, web, make_token, event):
    def status(client):
        return client.post(URL, data=json.dumps(event()), content_type="application/json").status_code

    assert status(api(viewer)) == 403
    assert status(api(make_token(engineer, scopes=["read"])[0])) == 403
    assert status(web(engineer)) == 403
    assert status(api("dso_nonsense")) == 401
    assert status(api(stranger)) == 201
    assert LineageEvent.objects.get().project.slug == "other"


def test_what_came_is_read_again(api, send, event, viewer, stranger):
    send(event())
    url = "/api/v1/projects/demo/lineage/events"
    found = api(viewer).get(url, {"run": RUN_ID, "namespace": "etl", "name": "nightly/load"}).json()
    assert [one["event"] for one in found["items"]] == [event()]
    assert api(viewer).get(url, {"namespace": "etl", "name": "x"}).json()["items"] == []
    assert api(viewer).get(url, {"run": "x"}).status_code == 422
    assert api(stranger).get(url).status_code == 404


@pytest.mark.parametrize("count", [1, 40])
def test_no_number_of_datasets_costs_more_queries(
    send, event, count, django_assert_max_num_queries, settings, facet, project
):
    many = [{"namespace": "a", "name": f"n{n}"} for n in range(count)]
    send(event())
    with django_assert_max_num_queries(40):
        assert send(event(inputs=many, outputs=many[:0])).status_code == 201


def test_facets_do_not_heap_up_without_end(send, event, facet):
    def job(first: int):
        facets = {f"f{number}": facet() for number in range(first, first + 600)}
        return {"namespace": "etl", "name": "nightly/load", "facets": facets}

    assert send(event(job=job(0))).status_code == 201
    answer = send(event(job=job(600)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too_many_facets")
    assert (LineageEvent.objects.count(), len(ForeignEnd.objects.get(type="foreign_job").facets)) == (1, 600)
    gone = {f"f{number}": facet(_deleted=True) for number in range(600)}
    assert send(event(eventType="RUNNING", job=job(0) | {"facets": gone})).status_code == 201
    assert send(event(eventType="RUNNING", job=job(600))).status_code == 201
