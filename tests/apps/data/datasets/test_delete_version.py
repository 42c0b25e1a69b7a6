"""A version that nothing cites goes, and its number stays; one that is cited does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.models import DatasetFile, DatasetVersion, VersionTag
from apps.data.datasets.quality.profile_jobs import measure_added, register_measurements
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.queries import VersionDeleted, get_version, list_datasets, list_versions
from apps.data.datasets.versions.citations import VERSION_CITATIONS, Citation
from apps.data.datasets.versions.deletion import delete_version
from apps.data.datasets.versions.tags import tag_version
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import record_names
from apps.platform.artifacts.garbage import filter_uncited, find_cited_digests, list_foreign_keys_to
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.platform.lineage.models import Edge

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def version(added, held):
    return added({"a.parquet": held(b"one")})[0]


@pytest.fixture
def who(actor_for, engineer):
    return actor_for(engineer)


@pytest.fixture
def delete(who, version):
    return lambda **more: delete_version(**{"actor": who, "version": version, "reason": "wrong file"} | more)


def test_it_goes_and_says_so(delete, version, who, project):
    delete()
    assert not DatasetFile.objects.exists()
    with pytest.raises(VersionDeleted, match="deleted by engineer: wrong file") as caught:
        get_version(who, project, "wti-daily", "1")
    assert (caught.value.status, caught.value.code) == (410, "version_deleted")
    assert list(list_versions(who, version.dataset)) == []
    assert list_datasets(who, project).get().rows is None
    assert "wrong file" in AuditRecord.objects.get(action="dataset.delete_version").body


def test_numbers_have_no_gap_and_none_is_given_twice(delete, added, held):
    delete()
    assert added({"a.parquet": held(b"two")})[0].number == 2
    assert list(DatasetVersion.objects.order_by("number").values_list("number", flat=True)) == [1, 2]


def test_the_same_files_are_the_same_version_again(delete, version, added, held, who, project):
    delete()
    again, created = added({"a.parquet": held(b"one")})
    assert (again.pk, created) == (version.pk, True)
    assert get_version(who, project, "wti-daily", "1").files.count() == 1
    assert AuditRecord.objects.filter(action="dataset.restore_version").count() == 1


def test_a_report_that_comes_with_them_is_theirs(delete, version, added, held):
    delete()
    report = held(b"report")
    again, _created = added({"a.parquet": held(b"one")}, quality=report)
    assert (again.pk, again.quality) == (version.pk, report)


def test_what_is_expected_meanwhile_holds_for_them_too(delete, version, added, held, who):
    delete()
    expected = [{"kind": "range", "column": "close", "minimum": 0}]
    set_expectations(actor=who, dataset=version.dataset, expectations=expected)
    with pytest.raises(Conflict) as refused:
        added({"a.parquet": held(b"one")})
    assert refused.value.code == "expectations_unchecked"
    assert DatasetVersion.objects.get().deleted_at


def by_input(version, job, held, who):
    return f"job input {job(table=held(b'one'))}"


def by_output(version, job, held, who):
    made = job()
    JobOutput.objects.create(job=made, slot="table", artifact=held(b"one"), name="t", media_type="text/csv")
    return f"job output {made}"


def by_lineage(version, job, held, who):
    ends = {"source_type": "dataset_version", "source_id": str(version.pk), "target_type": "run", "target_id": "a" * 32}
    Edge.objects.create(project_id=version.project_id, role="in", target_label="run seven", **ends)
    return "lineage run seven"


def by_tag(version, job, held, who):
    tag_version(actor=who, version=version, name="gold")
    return "tag gold"


@pytest.mark.parametrize("cite", [by_input, by_output, by_lineage, by_tag])
def test_what_is_cited_stays(cite, delete, version, job, held, who):
    named = cite(version, job, held, who)
    with pytest.raises(Conflict) as caught:
        delete()
    assert caught.value.code == "version_cited"
    assert named in (caught.value.hint or "")
    assert version.files.exists()


@pytest.fixture
def table(added, held):
    return added({"t.csv": held(b"a\n1\n")}, media_type="text/csv")[0]


def test_what_waits_to_measure_it_is_cancelled(table, delete, who):
    told = measure_added(actor=who, version=table)
    delete(version=table, actor=replace(who, scopes=frozenset({"data:write"})))
    told.refresh_from_db()
    assert (told.state, told.cancel_reason) == ("cancelled", f"{table} is deleted.")
    assert not JobInput.objects.exists()


def measured(version, who, worker_actor, held):
    """The job that has measured it, and the report."""
    job, told = measure_added(actor=who, version=version), held(b"report")
    Job.objects.filter(pk=job.pk).update(state="succeeded")
    JobOutput.objects.create(job=job, slot="quality", artifact=told, name="q", media_type="application/json")
    about = {"csv": {"delimiter": ",", "encoding": "utf-8"}}
    outputs = [("quality", told, "q", "application/json", about)]
    register_measurements(actor=worker_actor, job=job, outputs=outputs)
    return job, told


def test_what_has_measured_it_lets_its_bytes_go(delete, table, who, held, worker_actor):
    job, told = measured(table, who, worker_actor, held)
    assert delete(version=table).quality_id is None
    record = AuditRecord.objects.get(action="dataset.delete_version").body
    assert told.pk in record
    assert f'"measured_by":[{job.pk}]' in record
    ours = {held(b"a\n1\n").pk, told.pk}
    assert ours == set(filter_uncited(timezone.now()).filter(pk__in=ours).values_list("pk", flat=True))
    assert not find_cited_digests(ours)


def test_bytes_of_another_version_stay_measured(delete, table, who, held, worker_actor, added):
    job, told = measured(table, who, worker_actor, held)
    added({"t.csv": held(b"a\n1\n"), "u.csv": held(b"b\n")}, media_type="text/csv")
    delete(version=table)
    assert (job.inputs.count(), job.outputs.get().artifact, Edge.objects.count()) == (1, told, 2)


def test_what_measures_it_now_is_waited_for(delete, table, who):
    job = measure_added(actor=who, version=table)
    Job.objects.filter(pk=job.pk).update(state="running")
    with pytest.raises(Conflict, match="is cited by job input"):
        delete(version=table)
    assert job.inputs.exists()


def test_an_approval_cites(delete, version, project):
    approval = Approval.objects.create(
        project=project,
        subject_type="promotion",
        subject_id="1",
        title="Put it in production",
        facts=f'{{"data":"{version.digest}"}}',
        facts_digest="",
        requester="engineer",
        needed=1,
        eligible=1,
        deadline_at=timezone.now(),
    )
    record_names(approval)
    with pytest.raises(Conflict, match="Put it in production"):
        delete()


def test_an_app_above_can_cite(delete):
    citing = {"above": lambda version: [Citation("commit", "abc")]}
    with VERSION_CITATIONS.override(citing), pytest.raises(Conflict, match="commit abc"):
        delete()


def test_every_foreign_key_to_a_version_is_known():
    assert {(DatasetFile, "version"), (VersionTag, "version")} <= set(list_foreign_keys_to(DatasetVersion))


def test_once(delete):
    delete()
    with pytest.raises(Conflict) as caught:
        delete()
    assert caught.value.code == "version_deleted"


def test_a_reason_is_needed(delete):
    with pytest.raises(Invalid):
        delete(reason="  ")


def test_who_may(delete, actor_for, viewer, stranger):
    with pytest.raises(Refused):
        delete(actor=actor_for(viewer))
    with pytest.raises(NotFound):
        delete(actor=actor_for(stranger))
