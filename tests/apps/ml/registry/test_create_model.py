import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.registry.models import Model
from apps.ml.registry.services import create_model, ensure_model
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


def test_a_model_without_versions(actor_for, engineer, project):
    made = create_model(actor=actor_for(engineer), project=project, name="wti-forecast", description="tomorrow")
    assert (made.versions_count, made.created_by) == (0, "engineer")
    assert "wti-forecast" in AuditRecord.objects.get(action="model.create").body


def test_a_taken_name_is_a_conflict(worker_actor, project, other_project):
    create_model(actor=worker_actor, project=project, name="a")
    with pytest.raises(Conflict) as caught:
        create_model(actor=worker_actor, project=project, name="a")
    assert (caught.value.code, caught.value.field) == ("model_exists", "name")
    create_model(actor=worker_actor, project=other_project, name="a")


@pytest.mark.parametrize(
    ("wrong", "field"), [({"name": "Not A Name"}, "name"), ({"name": "a", "description": "x" * 501}, "description")]
)
def test_nonsense_is_named(worker_actor, project, wrong, field):
    with pytest.raises(Invalid) as caught:
        create_model(actor=worker_actor, project=project, **wrong)
    assert caught.value.field == field
    assert not Model.objects.exists()


def test_ensured_twice_is_one(worker_actor, project):
    first = ensure_model(actor=worker_actor, project=project, name="a")
    assert ensure_model(actor=worker_actor, project=project, name="a") == first
    assert AuditRecord.objects.filter(action="model.create").count() == 1


def test_a_viewer_is_refused_and_a_stranger_finds_nothing(actor_for, viewer, stranger, project):
    for who, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            create_model(actor=actor_for(who), project=project, name="a")
    assert not Model.objects.exists()
