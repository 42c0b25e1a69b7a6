import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.models import Dataset
from apps.data.datasets.services import create_dataset
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


def test_makes_it_empty_and_records_it(actor_for, engineer, project):
    made = create_dataset(actor=actor_for(engineer), project=project, name="wti-daily", description="Crude")
    assert (made.versions_count, made.created_by) == (0, "engineer")
    assert AuditRecord.objects.get(action="dataset.create").object_id == str(made.pk)


def test_a_taken_name_is_a_conflict_in_this_project_only(worker_actor, dataset, other_project):
    with pytest.raises(Conflict) as caught:
        create_dataset(actor=worker_actor, project=dataset.project, name=dataset.name)
    assert (caught.value.code, caught.value.field) == ("dataset_exists", "name")
    assert create_dataset(actor=worker_actor, project=other_project, name=dataset.name).pk != dataset.pk
    assert AuditRecord.objects.filter(action="dataset.create").count() == 2


WRONG_NAMES = ["", "WTI", "-x", "a b", "a/b", "x" * 51, "a\n", "数据"]


def test_wrong_names_are_refused(worker_actor, project):
    errors = {}
    for name in WRONG_NAMES:
        with pytest.raises(Invalid) as caught:
            create_dataset(actor=worker_actor, project=project, name=name)
        errors[name] = (caught.value.code, caught.value.field)
    assert errors == dict.fromkeys(WRONG_NAMES, ("bad_name", "name"))


def test_refuses_a_long_description(worker_actor, project):
    with pytest.raises(Invalid) as caught:
        create_dataset(actor=worker_actor, project=project, name="a", description="x" * 501)
    assert caught.value.field == "description"


@pytest.mark.parametrize(("who", "error"), [("viewer", Refused), ("approver", Refused), ("stranger", NotFound)])
def test_takes_an_engineer_of_the_project(request, actor_for, project, who, error):
    with pytest.raises(error):
        create_dataset(actor=actor_for(request.getfixturevalue(who)), project=project, name="a")
    assert not Dataset.objects.exists()
