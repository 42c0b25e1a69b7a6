import json

import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.ml.registry.services import request_promotion
from apps.platform.approvals.models import Approval
from apps.platform.artifacts.services import Damaged

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(actor_for, engineer, approver):
    def request(version, who=None, **more):
        return request_promotion(actor=actor_for(who or engineer), version=version, **more)

    return request


def test_the_approvers_are_asked_with_the_facts(ask, registered):
    version = registered(note="first")
    approval = ask(version, comment="better on Mondays", deadline_hours=5)
    facts = json.loads(approval.facts)
    assert (approval.subject_type, approval.subject_id) == ("promotion", str(version.pk))
    assert (approval.title, approval.comment) == ("wti-forecast v1 to production", "better on Mondays")
    assert (facts["model"], facts["alias"], facts["current"]) == ("wti-forecast", "production", None)
    assert facts["candidate"]["digest"] == version.digest
    fp32 = version.variants.get(name="fp32")
    told = facts["candidate"]["variants"]["fp32"]
    assert (told["model"], told["manifest"], told["intact"]) == (fp32.artifact_id, fp32.manifest_id, True)
    assert told["metrics"]["rmse"] | {"low": 1.2, "high": 1.8} == told["metrics"]["rmse"]
    assert facts["run"] == {"id": version.run_id, "metrics_digest": "d" * 64}


def test_what_stands_in_production_is_among_the_facts(ask, registered, approved):
    first, second = registered(), registered()
    approved(first)
    current = json.loads(ask(second).facts)["current"]
    assert (current["version"], current["digest"]) == (1, first.digest)
    assert current["variants"]["fp32"]["metrics"]["rmse"]["value"] == 1.5


def test_what_is_in_production_is_not_asked_for(ask, registered, approved):
    version = registered()
    approved(version)
    with pytest.raises(Conflict) as caught:
        ask(version)
    assert caught.value.code == "already_in_production"


def test_asked_twice_names_the_pending_one(ask, registered):
    version = registered()
    ask(version)
    with pytest.raises(Conflict) as caught:
        ask(version)
    assert caught.value.code == "approval_pending"


@pytest.mark.parametrize("which", ["artifact_id", "manifest_id"])
def test_damaged_bytes_are_not_asked_for(which, ask, registered, spoil):
    version = registered()
    digest = getattr(version.variants.get(name="int8"), which)
    spoil(digest)
    with pytest.raises(Damaged, match=digest):
        ask(version)
    assert not Approval.objects.exists()


def test_a_viewer_is_refused_and_a_stranger_finds_nothing(ask, registered, viewer, approver, stranger):
    version = registered()
    for who, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            ask(version, who)
    assert not Approval.objects.exists()
