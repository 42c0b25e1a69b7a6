import json

import pytest

from apps.core.errors import Conflict, Refused
from apps.fleet.rollouts.models import RolloutDevice
from apps.fleet.rollouts.services import request_start
from apps.platform.accounts.models import Membership
from apps.platform.notices.models import Notice

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_the_facts_name_what_is_decided_about(create, fleet, first_release, approver, actor_for, engineer):
    rollout = request_start(actor=actor_for(engineer), rollout=create(), comment="please")
    assert rollout.state == "awaiting_approval"
    facts = json.loads(rollout.approval.facts)
    assert facts["variants"]["x86_64"]["digest"] == rollout.variants.get().variant.artifact_id
    assert facts["plan_digest"] == rollout.plan_digest
    assert [wave["devices"] for wave in facts["blast_radius"]["waves"]] == [2, 8, 10]
    assert facts["rollback"][0]["release"] == first_release.pk
    assert facts["current"]["version"] == first_release.variant.version.number
    assert RolloutDevice.objects.filter(rollout=rollout, is_active=False).count() == 20
    assert Notice.objects.filter(kind="approval.requested", recipient=approver).exists()


def test_the_same_devices_are_planned_the_same_way(create, fleet, approver, actor_for, engineer):
    rollout = create()
    first = request_start(actor=actor_for(engineer), rollout=rollout).plan_digest
    assert create().pk != rollout.pk
    other = request_start(actor=actor_for(engineer), rollout=create()).plan_digest
    assert first != other  # seeded by the rollout


def test_the_last_vote_lets_it_start_and_one_s_own_does_not_count(
    create, fleet, approver, project, actor_for, engineer, vote
):
    Membership.objects.create(project=project, user=engineer, role="approver")
    rollout = request_start(actor=actor_for(engineer), rollout=create())
    with pytest.raises(Refused) as caught:
        vote(rollout.approval, who=engineer)
    assert caught.value.code == "own_request"
    vote(rollout.approval)
    rollout.refresh_from_db()
    assert rollout.state == "approved"


def test_a_fact_that_moves_voids_it(create, fleet, approver, actor_for, engineer, vote):
    rollout = request_start(actor=actor_for(engineer), rollout=create())
    rollout.variants.update(digest="0" * 64)
    with pytest.raises(Conflict) as caught:
        vote(rollout.approval)
    assert caught.value.code == "approval_void"
    assert [error["field"] for error in caught.value.errors[1:]] == ["/facts/variants/x86_64/digest"]


def test_what_is_refused(create, fleet, approver, actor_for, engineer, viewer):
    rollout = create()
    with pytest.raises(Refused):
        request_start(actor=actor_for(viewer), rollout=rollout)
    with pytest.raises(Conflict) as caught:
        request_start(actor=actor_for(engineer), rollout=create(query="name = 'nobody'"))
    assert caught.value.code == "no_devices"
    request_start(actor=actor_for(engineer), rollout=rollout)
    with pytest.raises(Conflict) as caught:
        request_start(actor=actor_for(engineer), rollout=rollout)
    assert caught.value.code == "rollout_state"


def test_a_variant_without_samples(create, fleet, approver, actor_for, engineer, job_of):
    from apps.platform.jobs.models import JobOutput

    JobOutput.objects.filter(slot="samples").delete()
    with pytest.raises(Conflict) as caught:
        request_start(actor=actor_for(engineer), rollout=create())
    assert caught.value.code == "release_needs_samples"
    assert request_start(actor=actor_for(engineer), rollout=create(without_samples=True)).state == "awaiting_approval"
