"""What an approval of a promotion does, and which changes make it void."""

import pytest

from apps.core.errors import Conflict, NotFound, Refused, StaleState
from apps.ml.registry.models import Alias, AliasMove, ModelVersion
from apps.ml.registry.promotion.subject import PROMOTION
from apps.ml.registry.services import promote, request_promotion
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.differences import find_changes
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import approve
from apps.platform.approvals.states import ApprovalState
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def asked(actor_for, engineer, approver):
    return lambda version: request_promotion(actor=actor_for(engineer), version=version, comment="please")


@pytest.fixture
def decide(actor_for, approver):
    """decide(approval) -> the approver's vote for it."""

    def vote(approval):
        proof = Proof(user_id=approver.pk, method="password")
        facts = approval.facts_digest
        return approve(actor=actor_for(approver), approval=approval, facts_digest=facts, reason="good", proof=proof)

    return vote


@pytest.fixture
def void(decide):
    """void(approval) -> the paths of the facts that made it void."""

    def vote(approval):
        with pytest.raises(Conflict) as caught:
            decide(approval)
        assert caught.value.code == "approval_void"
        row = Approval.objects.get(pk=approval.pk)
        assert row.state == ApprovalState.VOID
        return [change["path"] for change in row.void_changes]

    return vote


def test_the_alias_moves_when_it_is_approved(registered, asked, decide):
    first, second = registered(), registered()
    for version in (first, second):
        decide(asked(version))
    assert Alias.objects.get(name="production").version == second
    moves = AliasMove.objects.order_by("pk").values_list("kind", "from_version", "to_version", "by")
    assert list(moves) == [("promote", None, first.pk, "approver"), ("promote", first.pk, second.pk, "approver")]
    record = AuditRecord.objects.filter(action="model.promote").latest("id")
    assert (record.object_type, record.object_id) == ("modelversion", str(second.pk))
    assert second.digest in record.body
    assert first.digest in record.body


@pytest.mark.parametrize("which", ["model", "manifest"])
def test_a_tampered_variant_voids_it_and_is_named(which, registered, asked, void, spoil):
    version = registered()
    approval = asked(version)
    variant = version.variants.get(name="int8")
    spoil(variant.artifact_id if which == "model" else variant.manifest_id)
    assert void(approval) == ["/candidate/variants/int8/intact", f"/candidate/variants/int8/{which}"]
    assert not Alias.objects.exists()


def test_another_promotion_meanwhile_voids_it(registered, asked, decide, void):
    first, second = registered(), registered()
    approval, other = asked(first), asked(second)
    decide(other)
    assert void(approval) == ["/current"]
    assert Alias.objects.get().version == second


def test_an_edited_document_voids_it(registered, asked, void):
    version = registered()
    approval = asked(version)
    ModelVersion.objects.filter(pk=version.pk).update(document=version.document.replace('"value":1.5', '"value":0.1'))
    paths = void(approval)
    assert "/candidate/digest" in paths
    assert "/candidate/variants/fp32/metrics/rmse/value" in paths


def test_a_scrub_that_finds_damage_is_seen_without_reading(registered, asked):
    version = registered()
    approval = asked(version)
    artifact = version.variants.get(name="fp32").artifact
    type(artifact).objects.filter(pk=artifact.pk).update(damaged_at=version.created_at)
    assert [change["path"] for change in find_changes(approval)] == ["/candidate/variants/fp32/intact"]


@pytest.mark.parametrize("deep", [True, False])
def test_nothing_changed_means_equal_facts(deep, registered, asked, approved, django_assert_max_num_queries):
    approved(registered())
    approval = asked(registered(names=("fp32", "int8", "tvm-x86_64")))
    with django_assert_max_num_queries(7):
        assert find_changes(approval, deep=deep) == []


def test_the_alias_moves_from_the_holder_that_was_named_only(registered, asked, actor_for, approver, approved):
    first, second = registered(), registered()
    approved(first)
    approval = asked(second)
    for current in (None, 7):
        with pytest.raises(StaleState):
            promote(actor=actor_for(approver), version=second, approval=approval, current=current)
    assert Alias.objects.get().version == first


def test_only_an_approver_carries_it_out(registered, asked, actor_for, engineer, stranger):
    version = registered()
    approval = asked(version)
    for who, error in ((engineer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            promote(actor=actor_for(who), version=version, approval=approval, current=None)
    assert not Alias.objects.exists()


def test_its_page_has_an_address(registered, asked):
    assert PROMOTION.address(asked(registered())) == "/p/demo/models/wti-forecast/1"


def test_the_fixture_leaves_the_rows_that_asking_and_voting_leave(registered, asked, decide, approved):
    """Tests that only need a version in production take `approved`; this keeps it true to the services."""

    def rows_of(version):
        approval = Approval.objects.get(subject_id=str(version.pk))
        columns = ("subject_type", "title", "state", "comment", "requester", "requester_user", "needed", "eligible")
        [vote] = approval.votes.values("user", "label", "decision", "reason", "method")
        [move] = AliasMove.objects.filter(to_version=version).values("alias", "kind", "from_version", "by", "reason")
        facts = find_changes(approval, deep=True), approval.votes.get().facts_digest == approval.facts_digest
        told = {name: getattr(approval, name) for name in columns} | {"names": approval.names.count()}
        return told, vote, move, facts, Alias.objects.get(model=version.model).version == version

    by_rows, by_services = registered(name="a"), registered(name="b")
    approved(by_rows)
    decide(asked(by_services))
    rows, real = rows_of(by_rows), rows_of(by_services)
    assert rows[0].pop("title") == real[0].pop("title").replace("b v1", "a v1")
    assert rows[1:3] == real[1:3]
    assert {**rows[0], "names": 0} == {**real[0], "names": 0}
