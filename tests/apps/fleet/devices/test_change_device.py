import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.fleet.devices import queries
from apps.fleet.devices.schemas import DeviceBody, DeviceChanges
from apps.fleet.devices.services import (
    change_device,
    quarantine_device,
    register_device,
    reinstate_device,
    report_attributes,
    revoke_device,
)

pytestmark = pytest.mark.django_db
TURNS = (quarantine_device, reinstate_device, revoke_device)


def test_quarantine_and_back(device, project, actor_for, engineer, approver, find_records):
    quarantine_device(actor=actor_for(engineer), device=device, reason="odd figures")
    device.refresh_from_db()
    assert (device.state, device.state_reason, device.generation) == ("quarantined", "odd figures", 1)
    assert queries.count_by_state(project)["quarantined"] == 1
    reinstate_device(actor=actor_for(approver), device=device, reason="looked at")
    assert queries.count_by_state(project) == {"active": 1, "quarantined": 0, "revoked": 0}
    assert len(find_records("device.quarantine")) == len(find_records("device.reinstate")) == 1


def test_who_may_not(device, actor_for, viewer, stranger, engineer):
    wrong = {}
    for turn in TURNS:
        for user, error in ((viewer, Refused), (stranger, NotFound)):
            try:
                turn(actor=actor_for(user), device=device, reason="x")
                wrong[turn, user] = "done"
            except error:
                pass
    assert wrong == {}
    with pytest.raises(Refused):  # who quarantines does not lift it
        reinstate_device(actor=actor_for(engineer), device=device, reason="x")


def test_a_reason_is_needed(device, actor_for, engineer):
    with pytest.raises(Invalid) as caught:
        revoke_device(actor=actor_for(engineer), device=device, reason=" ")
    assert caught.value.field == "reason"


def test_revoked_is_for_good(device, actor_for, engineer, approver):
    revoke_device(actor=actor_for(engineer), device=device, reason="scrapped")
    for turn in TURNS:
        with pytest.raises(Conflict) as caught:
            turn(actor=actor_for(approver), device=device, reason="x")
        assert caught.value.code == "device_state"
    with pytest.raises(Conflict):
        change_device(actor=actor_for(engineer), device=device, changes=DeviceChanges(note="x"))


def test_tags_note_and_sampling_change(enrol, actor_for, engineer, find_records):
    device = enrol(tags={"site": "berlin", "line": "1"})
    changes = DeviceChanges(tags={"site": "paris", "hall": "2"}, note="by the door", sampling_rate=0.5)
    changed = change_device(actor=actor_for(engineer), device=device, changes=changes)
    tags = dict(changed.labels.filter(kind="tag").values_list("key", "value"))
    assert tags == {"site": "paris", "hall": "2"}
    assert (changed.note, changed.sampling_rate, changed.generation) == ("by the door", 0.5, 1)
    change_device(actor=actor_for(engineer), device=device, changes=changes)  # the same again
    assert len(find_records("device.change")) == 1
    with pytest.raises(Invalid):
        change_device(actor=actor_for(engineer), device=device, changes=DeviceChanges(architecture="aarch64"))
    with pytest.raises(Invalid):
        change_device(actor=actor_for(engineer), device=device, changes=DeviceChanges(note=None))


def test_a_device_reports_of_itself_alone(device, acting, actor_for, engineer):
    assert report_attributes(actor=acting(device), device=device, attributes={"os": "yocto"})
    assert not report_attributes(actor=acting(device), device=device, attributes={"os": "yocto"})
    with pytest.raises(Refused):
        report_attributes(actor=actor_for(engineer), device=device, attributes={})


def test_a_stock_client_by_hand(project, actor_for, engineer, viewer):
    body = DeviceBody(name="gw-7", architecture="aarch64", tags={"site": "oslo"})
    device, secret = register_device(actor=actor_for(engineer), project=project, body=body)
    assert (device.kind, device.public_key, secret[:4]) == ("hawkbit", "", "dsd_")
    with pytest.raises(Conflict) as caught:
        register_device(actor=actor_for(engineer), project=project, body=body)
    assert caught.value.code == "device_exists"
    with pytest.raises(Refused):
        register_device(actor=actor_for(viewer), project=project, body=body)
