import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.services import set_quality
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(added, held):
    return added({"table.parquet": held()})[0]


def test_attaches_the_report_and_records_it(worker_actor, version, held, report):
    artifact = held(report())
    assert set_quality(actor=worker_actor, version=version, artifact=artifact).quality == artifact
    assert artifact.digest in AuditRecord.objects.get(action="dataset.set_quality").body


def test_the_same_again_changes_nothing(worker_actor, version, held, report):
    for _ in range(2):
        set_quality(actor=worker_actor, version=version, artifact=held(report()))
    assert AuditRecord.objects.filter(action="dataset.set_quality").count() == 1


def test_another_report_is_a_conflict(worker_actor, version, held, report):
    first = held(report())
    set_quality(actor=worker_actor, version=version, artifact=first)
    with pytest.raises(Conflict) as caught:
        set_quality(actor=worker_actor, version=version, artifact=held(report(rows=4)))
    assert caught.value.code == "quality_exists"
    version.refresh_from_db()
    assert version.quality == first


def test_bytes_of_another_project_do_not_exist(worker_actor, version, held, report, other_project):
    with pytest.raises(Invalid):
        set_quality(actor=worker_actor, version=version, artifact=held(report(), other_project))


@pytest.mark.parametrize(("who", "error"), [("engineer", Refused), ("stranger", NotFound)])
def test_a_report_is_measured_not_claimed(request, actor_for, version, held, report, who, error):
    with pytest.raises(error):
        set_quality(actor=actor_for(request.getfixturevalue(who)), version=version, artifact=held(report()))
