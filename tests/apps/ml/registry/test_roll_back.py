"""Back to the previous holder, and on to the one before it."""

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused, StaleState
from apps.ml.registry.models import Alias, AliasMove
from apps.ml.registry.services import aliases as services
from apps.ml.registry.services import roll_back, set_alias
from apps.platform.artifacts.services import Damaged
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def back(actor_for, engineer):
    """back(model) -> the number of the version that production points to after a rollback."""

    def call(model, who=None, reason="worse on Mondays", **more):
        return roll_back(actor=actor_for(who or engineer), model=model, reason=reason, **more).to_version.number

    return call


@pytest.fixture
def promoted(registered, approved):
    """promoted(n) -> n versions, each of which was in production after the one before."""

    def make(count):
        versions = [registered() for _ in range(count)]
        approvals = [approved(version) for version in versions]
        return versions, approvals

    return make


def test_to_the_previous_holder_with_the_approval_that_put_it_there(promoted, back):
    (first, second), (approval, _) = promoted(2)
    assert back(first.model) == 1
    assert Alias.objects.get().version == first
    move = AliasMove.objects.latest("pk")
    assert (move.kind, move.from_version, move.to_version, move.approval) == ("rollback", second, first, approval)
    assert (move.by, move.reason) == ("engineer", "worse on Mondays")
    record = AuditRecord.objects.get(action="model.roll_back")
    assert record.object_id == str(first.pk)
    assert first.digest in record.body
    assert second.digest in record.body


def test_a_chain_goes_down_the_stack_until_nothing_is_left(promoted, back):
    (first, *_), _ = promoted(3)
    assert [back(first.model), back(first.model)] == [2, 1]
    with pytest.raises(Conflict) as caught:
        back(first.model)
    assert caught.value.code == "nothing_to_roll_back"
    assert Alias.objects.get().version == first


def test_a_promotion_after_a_rollback_stands_on_what_was_restored(promoted, registered, approved, back):
    (first, *_), _ = promoted(3)
    back(first.model)
    fourth = registered()
    approved(fourth)
    assert [back(first.model), back(first.model)] == [2, 1]


def test_a_version_that_was_rolled_back_can_be_promoted_again(promoted, approved, back):
    (first, second), _ = promoted(2)
    back(first.model)
    approved(second)
    assert Alias.objects.get().version == second
    assert back(first.model) == 1


def test_damaged_bytes_are_not_put_back(promoted, back, spoil):
    (first, second), _ = promoted(2)
    digest = first.variants.get(name="int8").artifact_id
    spoil(digest)
    with pytest.raises(Damaged, match=digest):
        back(first.model)
    assert Alias.objects.get().version == second


def test_two_at_once_go_back_one_step(promoted, back, monkeypatch, actor_for, engineer):
    (first, *_), _ = promoted(3)
    reads = services.find_missing_bytes

    def another_meanwhile(version):
        monkeypatch.setattr(services, "find_missing_bytes", reads)
        back(first.model)
        return reads(version)

    monkeypatch.setattr(services, "find_missing_bytes", another_meanwhile)
    with pytest.raises(StaleState):
        back(first.model)
    assert Alias.objects.get().version.number == 2


def test_nothing_was_ever_there(registered, back):
    with pytest.raises(Conflict) as caught:
        back(registered().model)
    assert caught.value.code == "nothing_to_roll_back"


def test_another_alias_has_its_own_history(promoted, back, actor_for, engineer):
    (first, second), _ = promoted(2)
    for version in (second, first):
        set_alias(actor=actor_for(engineer), version=version, name="staging")
    assert back(first.model, alias="staging") == 2
    assert Alias.objects.get(name="production").version == second


def test_it_takes_a_reason(promoted, back):
    (first, _), _ = promoted(2)
    for reason in ("", "  ", "x" * 2001):
        with pytest.raises(Invalid) as caught:
            back(first.model, reason=reason)
        assert caught.value.field == "reason"


def test_who_may(promoted, back, approver, viewer, stranger):
    (first, *_), _ = promoted(3)
    for who, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            back(first.model, who)
    assert back(first.model, approver) == 2
