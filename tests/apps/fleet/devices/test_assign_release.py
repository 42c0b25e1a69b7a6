import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.fleet.devices.forms import AssignForm
from apps.fleet.devices.models import Assignment
from apps.fleet.devices.services import assign_release, cancel_assignment, quarantine_device, revoke_device
from apps.fleet.releases.services import revoke_key, revoke_release
from apps.platform.accounts.models import Project
from tests.apps.fleet.devices.conftest import states

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_release_is_given_to_a_device(device, release, assign, fetch, find_records):
    assignment = assign(device, release, deadline_seconds=600, reason="try it")
    document = fetch(device)
    offer = document["assignment"]
    assert (offer["id"], offer["action"]) == (str(assignment.pk), "install")
    assert offer["release"]["payloadType"] == "application/vnd.in-toto+json"
    names = {file["name"]: file["href"] for file in offer["files"]}
    assert {"model.json", "samples.json"} < set(names)
    assert names["model.json"] == f"/api/v1/agent/files/{release.files.get(name='model.json').artifact_id}"
    assignment.refresh_from_db()
    assert (assignment.deadline - assignment.created_at).total_seconds() == pytest.approx(600, abs=2)
    assert assignment.fetched_at is not None
    [record] = find_records("device.assign")
    assert release.payload_digest in record.body


def test_who_may_not(device, release, actor_for, viewer, stranger):
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            assign_release(actor=actor_for(user), device=device, release=release)


def test_what_is_refused(enrol, release, assign, actor_for, engineer, approver):
    device = enrol()
    arm = enrol("press-2", architecture="aarch64")
    quarantined, revoked = enrol("press-3"), enrol("press-4")
    quarantine_device(actor=actor_for(engineer), device=quarantined, reason="x")
    revoke_device(actor=actor_for(engineer), device=revoked, reason="x")
    assign(device, release)
    cases = {"architecture_mismatch": arm, "device_state": quarantined, "already_assigned": device}
    for code, on in cases.items():
        with pytest.raises((Invalid, Conflict)) as caught:
            assign(on, release)
        assert caught.value.code == code
    with pytest.raises(Conflict):
        assign(revoked, release)
    revoke_release(actor=actor_for(approver), release=release, reason="bad")
    with pytest.raises(Invalid) as caught:
        assign(enrol("press-5"), release)
    assert caught.value.code == "release_revoked"


def test_what_a_revoked_key_has_signed_is_refused(
    device, release, issue, variant, assign, operator, actor_for, engineer
):
    form = AssignForm(actor_for(engineer), device)
    assert [value for value, _ in form.list_choices()] == [str(release.pk)]
    revoke_key(actor=operator, key=release.key, reason="stolen")
    with pytest.raises(Invalid) as caught:
        assign(device, release)
    assert (caught.value.code, form.list_choices()) == ("release_key_revoked", [])
    again = issue(variant)
    assert form.list_choices()[0][0] == str(again.pk)
    assert assign(device, again).state == "assigned"


def test_a_release_of_another_project_is_refused(device, release, assign):
    release.project = Project.objects.create(slug="third", name="Third")
    with pytest.raises(Invalid) as caught:
        assign(device, release)
    assert caught.value.code == "release_of_another_project"


def test_one_that_the_device_has_not_seen_is_superseded_at_once(device, release, next_release, assign, fetch):
    first = assign(device, release)
    second = assign(device, next_release)
    assert states(device) == ["superseded", "assigned"]
    first.refresh_from_db()
    assert first.superseded_by == second
    assert fetch(device)["assignment"]["id"] == str(second.pk)


def test_one_that_the_device_has_seen_is_stopped_before_the_next_begins(
    device, release, next_release, issue, variant, assign, fetch, report, find_records
):
    first = assign(device, release)
    fetch(device)
    second = assign(device, next_release)
    third = assign(device, issue(variant))  # the second was never told of
    assert states(device) == ["cancelling", "superseded", "waiting"]
    offer = fetch(device)["assignment"]
    assert (offer["id"], offer["action"]) == (str(first.pk), "cancel")
    assert Assignment.objects.get(pk=third.pk).deadline is None
    report(device, first, "cancelled")
    assert states(device) == ["superseded", "superseded", "assigned"]
    offer = fetch(device)["assignment"]
    assert (offer["id"], offer["action"]) == (str(third.pk), "install")
    assert Assignment.objects.get(pk=third.pk).deadline is not None
    assert Assignment.objects.get(pk=first.pk).superseded_by_id == second.pk
    assert len(find_records("device.assign")) == 3


def test_a_release_below_what_the_device_had_is_refused(device, release, next_release, assign, receive):
    receive(device, next_release, assign(device, next_release))
    with pytest.raises(Conflict) as caught:
        assign(device, next_release)
    assert caught.value.code == "already_running"
    with pytest.raises(Invalid) as refused:
        assign(device, release)
    assert (refused.value.code, refused.value.limit) == ("downgrade_refused", 3)


def test_cancelling(device, release, assign, fetch, report, actor_for, engineer, viewer, stranger):
    unseen = assign(device, release)
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            cancel_assignment(actor=actor_for(user), assignment=unseen)
    cancel_assignment(actor=actor_for(engineer), assignment=unseen, reason="wrong one")
    assert fetch(device)["assignment"] is None
    with pytest.raises(Conflict) as caught:
        cancel_assignment(actor=actor_for(engineer), assignment=unseen)
    assert caught.value.code == "assignment_closed"
    seen = assign(device, release)
    fetch(device)
    cancel_assignment(actor=actor_for(engineer), assignment=seen)
    cancel_assignment(actor=actor_for(engineer), assignment=seen)  # it is being cancelled already
    assert states(device) == ["cancelled", "cancelling"]
    report(device, seen, "cancelled")
    assert states(device) == ["cancelled", "cancelled"]


def test_quarantine_takes_back_what_is_open(device, release, assign, fetch, actor_for, engineer):
    assign(device, release)
    fetch(device)
    quarantine_device(actor=actor_for(engineer), device=device, reason="odd")
    document = fetch(device)
    assert (document["state"], document["assignment"], states(device)) == ("quarantined", None, ["cancelled"])
    assert Assignment.objects.get().code == "device_quarantined"
