import pytest
from django.db import IntegrityError, transaction

from apps.core.errors import Invalid, NotFound, Refused
from apps.ml.registry.models import Alias, AliasMove
from apps.ml.registry.services import set_alias
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def acting(actor_for, engineer):
    return actor_for(engineer)


def test_an_alias_is_made_and_moved_with_its_history(acting, registered):
    first, second = registered(), registered()
    set_alias(actor=acting, version=first, name="staging", reason="try it")
    assert set_alias(actor=acting, version=second, name="staging").version == second
    moves = AliasMove.objects.order_by("pk").values_list("kind", "from_version", "to_version", "by")
    assert list(moves) == [("set", None, first.pk, "engineer"), ("set", first.pk, second.pk, "engineer")]
    record = AuditRecord.objects.filter(action="model.set_alias").latest("id")
    assert record.object_id == str(second.pk)
    assert first.digest in record.body


def test_the_same_again_is_no_move(acting, registered):
    version = registered()
    for _ in range(2):
        set_alias(actor=acting, version=version, name="staging")
    assert AliasMove.objects.count() == 1


def test_production_is_protected(acting, registered, actor_for, approver):
    version = registered()
    with pytest.raises(Refused) as caught:
        set_alias(actor=acting, version=version, name="production")
    assert (caught.value.code, caught.value.object_id) == ("alias_protected", version.pk)
    with pytest.raises(Refused):
        set_alias(actor=actor_for(approver), version=version, name="production")
    assert not Alias.objects.exists()


def test_the_table_takes_no_move_of_production_without_an_approval(registered):
    version = registered()
    for kind in ("set", "promote"):
        with pytest.raises(IntegrityError), transaction.atomic():
            AliasMove.objects.create(
                model=version.model, alias="production", kind=kind, to_version=version, by="somebody"
            )


def test_an_invalid_name_is_refused(acting, registered):
    version = registered()
    for name in ("Not A Name", "", "3", "v3", "x" * 51):
        with pytest.raises(Invalid) as caught:
            set_alias(actor=acting, version=version, name=name)
        assert (caught.value.code, caught.value.field) == ("bad_name", "alias"), name


def test_a_viewer_is_refused_and_a_stranger_finds_nothing(actor_for, viewer, stranger, registered):
    version = registered()
    for who, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            set_alias(actor=actor_for(who), version=version, name="staging")
    assert not Alias.objects.exists()
