import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.fleet.rollouts.models import RolloutDevice
from apps.fleet.rollouts.services import (
    abort_rollout,
    abort_rollouts_of_version,
    pause_rollout,
    request_start,
    resume_rollout,
    retry_devices,
    roll_back,
    start_rollout,
)
from apps.platform.approvals.models import Approval
from tests.apps.fleet.releases.conftest import spoil  # noqa: F401  fixture

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_start_signs_releases_and_claims_the_devices(approved_rollout, actor_for, engineer, find_records):
    rollout = start_rollout(actor=actor_for(engineer), rollout=approved_rollout())
    assert (rollout.state, rollout.position) == ("running", 0)
    release = rollout.variants.get().release
    assert release.approval == rollout.approval
    assert RolloutDevice.objects.filter(rollout=rollout, is_active=True).count() == 20
    assert [wave.state for wave in rollout.waves.all()] == ["running", "pending", "pending"]
    assert len(find_records("rollout.start")) == 1


def test_bytes_that_changed_after_the_approval_stop_the_start(approved_rollout, actor_for, engineer, spoil):  # noqa: F811
    rollout = approved_rollout()
    spoil(rollout.variants.get().digest)
    with pytest.raises(Conflict) as caught:
        start_rollout(actor=actor_for(engineer), rollout=rollout)
    assert caught.value.code == "approval_void"
    rollout.refresh_from_db()
    assert (rollout.state, "intact" in rollout.state_reason["message"]) == ("draft", True)


def test_two_rollouts_of_one_device_are_not_raced(approved_rollout, actor_for, engineer, approver):
    first, second = approved_rollout(), approved_rollout()
    start_rollout(actor=actor_for(engineer), rollout=first)
    with pytest.raises(Conflict) as caught:
        start_rollout(actor=actor_for(engineer), rollout=second)
    assert (caught.value.code, f"#{first.pk}" in caught.value.message) == ("devices_in_rollout", True)
    abort_rollout(actor=actor_for(approver), rollout=first, reason="the other first")
    assert start_rollout(actor=actor_for(engineer), rollout=second).state == "running"


def test_pause_and_resume(approved_rollout, actor_for, engineer):
    actor = actor_for(engineer)
    rollout = start_rollout(actor=actor, rollout=approved_rollout())
    assert pause_rollout(actor=actor, rollout=rollout, reason="wait").state == "paused"
    with pytest.raises(Conflict) as caught:
        pause_rollout(actor=actor, rollout=rollout, reason="again")
    assert caught.value.code == "rollout_state"
    assert resume_rollout(actor=actor, rollout=rollout).state == "running"


def test_abort_frees_the_devices(approved_rollout, actor_for, approver, engineer):
    rollout = start_rollout(actor=actor_for(engineer), rollout=approved_rollout())
    aborted = abort_rollout(actor=actor_for(approver), rollout=rollout, reason="stop")
    assert (aborted.state, {wave.state for wave in aborted.waves.all()}) == ("aborted", {"stopped"})
    assert not RolloutDevice.objects.filter(rollout=rollout, is_active=True).exists()


def test_what_is_still_asked_about_it_ends_with_it(create, fleet, actor_for, approver, engineer, find_records):
    rollout = request_start(actor=actor_for(engineer), rollout=create())
    abort_rollout(actor=actor_for(approver), rollout=rollout, reason="stop")
    approval = Approval.objects.get(pk=rollout.approval_id)
    assert (approval.state, len(find_records("approval.void"))) == ("void", 1)


def test_every_rollout_of_a_version_is_aborted(approved_rollout, create, actor_for, engineer, second_version):
    rollout, draft = approved_rollout(), create()
    ended = abort_rollouts_of_version(actor=actor_for(engineer), version=second_version, reason="recalled")
    assert [(each.pk, each.state) for each in ended] == [(rollout.pk, "aborted"), (draft.pk, "aborted")]


def test_failed_devices_try_again_by_code(approved_rollout, actor_for, engineer):
    rollout = start_rollout(actor=actor_for(engineer), rollout=approved_rollout())
    members = RolloutDevice.objects.filter(rollout=rollout).order_by("rank")
    for place, code in enumerate(("disk_full", "silent", "rolled_back")):
        RolloutDevice.objects.filter(pk=members[place].pk).update(stage="failed", code=code)
    assert retry_devices(actor=actor_for(engineer), rollout=rollout, codes=["disk_full"]) == 1
    assert retry_devices(actor=actor_for(engineer), rollout=rollout) == 1  # who fell back refuses the same release


def test_one_action_rolls_back(approved_rollout, actor_for, approver, engineer):
    rollout = start_rollout(actor=actor_for(engineer), rollout=approved_rollout())
    assert roll_back(actor=actor_for(approver), rollout=rollout, reason="slow").state == "rolling_back"
    with pytest.raises(Conflict):
        roll_back(actor=actor_for(approver), rollout=rollout, reason="again")


def test_who_may_not(approved_rollout, actor_for, viewer, stranger, approver):
    rollout = approved_rollout()
    moves = (pause_rollout, abort_rollout, roll_back, resume_rollout, retry_devices)
    for move in moves:
        for user, error in ((viewer, Refused), (stranger, NotFound)):
            with pytest.raises(error):
                move(actor=actor_for(user), rollout=rollout, reason="x")
    with pytest.raises(Refused):
        start_rollout(actor=actor_for(approver), rollout=rollout)
    with pytest.raises(Invalid):
        abort_rollout(actor=actor_for(approver), rollout=rollout, reason="")
