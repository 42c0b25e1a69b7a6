from datetime import timedelta

import pytest

from apps.core.errors import Invalid, Refused
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.provenance.job_inputs import find_source_versions
from apps.data.datasets.services import add_version_from_job_output, set_quality
from apps.data.datasets.versions.manifest import PARQUET
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, JobInput
from apps.platform.lineage.models import Edge

pytestmark = pytest.mark.django_db


@pytest.fixture
def outputs(held, report):
    """outputs(bytes) -> what a clean job made, as succeed_job takes it."""

    def make(data=b"PAR1 clean"):
        meta = {"rows": 3, "columns": [{"name": "close", "dtype": "double"}]}
        kind = "application/vnd.plane.quality+json"
        return [
            ("table", held(data), "table.parquet", PARQUET, meta),
            ("quality_before", held(report(rows=1)), "quality_before.json", kind, {}),
            ("quality_after", held(report(rows=2)), "quality_after.json", kind, {}),
        ]

    return make


@pytest.fixture
def registered(worker_actor, project):
    def register(job, outputs, name="clean", actor=worker_actor, **more):
        values = {"script": "deepseek.clean 0.1.0", "params": {"window_size": 5}} | more
        return add_version_from_job_output(
            actor=actor, project=project, dataset_name=name, outputs=outputs, job=job, **values
        )

    return register


def edges():
    fields = ("source_type", "source_id", "target_type", "target_id", "role")
    return set(Edge.objects.values_list(*fields))


def test_version_quality_of_both_ends_and_lineage(registered, outputs, added, held, job):
    source, _ = added({"table.csv": held()})
    clean = job(table=held())
    made = outputs()
    version, created = registered(clean, made)
    source.refresh_from_db()
    assert created
    assert (version.dataset.name, version.rows, version.job_id) == ("clean", 3, clean.pk)
    assert (version.script, version.params) == ("deepseek.clean 0.1.0", {"window_size": 5})
    assert (source.quality, version.quality) == (made[1][1], made[2][1])
    assert edges() == {
        ("dataset_version", str(source.pk), "job", str(clean.pk), "table"),
        ("job", str(clean.pk), "dataset_version", str(version.pk), "table"),
    }


def test_it_is_made_for_who_asked_for_the_job(registered, outputs, held, job, worker_actor, web, viewer):
    clean = job(table=held())
    Job.objects.filter(pk=clean.pk).update(requester="engineer")
    version, _ = registered(clean, outputs(), actor=worker_actor.with_job(clean.pk))
    assert (version.created_by, version.dataset.created_by) == ("engineer", "engineer")
    assert AuditRecord.objects.filter(action="dataset.add_version", actor=worker_actor.label).count() == 1
    page = web(viewer).get("/p/demo/data/clean/1").content.decode()
    assert f'Created by job <a href="/p/demo/jobs/{clean.pk}">#{clean.pk}</a> for engineer.' in page


def test_twice_is_once(registered, outputs, added, held, job):
    added({"table.csv": held()})
    clean, made = job(table=held()), outputs()
    first = registered(clean, made)[0]
    before = AuditRecord.objects.count()
    assert registered(clean, made) == (first, False)
    assert (Edge.objects.count(), DatasetVersion.objects.count(), AuditRecord.objects.count()) == (2, 2, before)


def test_a_second_job_that_makes_the_same_bytes_adds_its_edge_only(registered, outputs, held, job):
    first, second = job(table=held()), job(table=held())
    version = registered(first, outputs())[0]
    assert registered(second, outputs()) == (version, False)
    assert ("job", str(second.pk), "dataset_version", str(version.pk), "table") in edges()


def test_the_first_measurement_of_the_source_stands(registered, outputs, added, held, job, worker_actor, report):
    source, _ = added({"table.csv": held()})
    first = held(report(rows=9))
    set_quality(actor=worker_actor, version=source, artifact=first)
    registered(job(table=held()), outputs())
    source.refresh_from_db()
    assert source.quality == first


def test_a_bare_artifact_stands_in_the_lineage_itself(registered, outputs, held, job):
    artifact = held()
    clean = job(table=artifact)
    registered(clean, outputs())
    assert ("artifact", artifact.digest, "job", str(clean.pk), "table") in edges()


def test_of_equal_bytes_the_version_of_the_same_dataset_is_the_source(
    registered, outputs, added, held, job, worker_actor
):
    own, _ = added({"table.csv": held()})
    other = Dataset.objects.create(project=own.dataset.project, name="copy", created_by="x")
    added({"table.csv": held()}, into=other)
    clean = job(table=held())
    registered(clean, outputs(), name=own.dataset.name)
    assert ("dataset_version", str(own.pk), "job", str(clean.pk), "table") in edges()
    assert Edge.objects.count() == 2


def test_what_came_after_the_job_was_submitted_is_its_source_only_where_nothing_else_is(
    registered, outputs, added, held, job, worker_actor, project
):
    clean = job(table=held())
    copy = Dataset.objects.create(project=project, name="copy", created_by="x")
    late, _ = added({"table.csv": held()}, into=copy)
    registered(clean, outputs(), name="clean")
    assert ("dataset_version", str(late.pk), "job", str(clean.pk), "table") in edges()
    early, _ = added({"table.csv": held(), "more.csv": held(b"x")})
    DatasetVersion.objects.filter(pk=early.pk).update(created_at=clean.created_at - timedelta(seconds=1))
    assert find_source_versions(clean, late.dataset) == {"table": early}


def test_what_a_job_before_it_made_is_its_source(added, held, job, project):
    before, data = job(), held()
    clean = job(table=data)
    JobInput.objects.filter(job=clean).update(source_job=before)
    of_before, _ = added({"table.csv": data}, job_id=before.pk)
    copy = Dataset.objects.create(project=project, name="copy", created_by="x")
    added({"table.csv": data}, into=copy)
    assert find_source_versions(clean, None) == {"table": of_before}


def test_output_equal_to_input_is_no_source_of_itself(registered, held, job):
    artifact = held(b"PAR1 same")
    clean = job(table=artifact)
    made = [("table", artifact, "table.parquet", PARQUET, {})]
    for _ in range(2):
        registered(clean, made)
    assert ("artifact", artifact.digest, "job", str(clean.pk), "table") in edges()
    assert Edge.objects.count() == 2


def test_a_missing_output_is_named(registered, outputs, job):
    with pytest.raises(Invalid) as caught:
        registered(job(), outputs()[1:])
    assert (caught.value.code, caught.value.limit) == ("output_missing", "quality_before, quality_after")
    assert not Dataset.objects.exists()


def test_a_person_cannot_claim_what_a_job_made(registered, outputs, job, actor_for, engineer):
    with pytest.raises(Refused):
        registered(job(), outputs(), actor=actor_for(engineer))


def test_reads_no_bytes(registered, outputs, job, held, monkeypatch):
    made, clean = outputs(), job(table=held())
    monkeypatch.setattr("apps.data.datasets.queries.open_verified", lambda _: pytest.fail("read the store"))
    assert registered(clean, made)[1]
