import base64

import pytest
from django.core.cache import cache

from apps.core.errors import Conflict, Invalid, PlaneError, Refused
from apps.fleet.devices import queries
from apps.fleet.devices.models import DeviceCount
from apps.fleet.devices.schemas import DeviceBody, HeartbeatBody
from apps.fleet.devices.services import (
    record_heartbeat,
    record_receipt,
    record_unsigned_result,
    register_device,
    reject_cancellation,
)
from deepseek.signing.keys import generate_key
from tests.apps.fleet.devices.conftest import states

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_receipt_makes_the_assignment_succeed(device, release, assign, receive, project, find_records):
    assignment = assign(device, release)
    receive(device, release, assignment)
    assignment.refresh_from_db()
    assert (assignment.state, assignment.is_signed) == ("succeeded", True)
    assert "application/vnd.plane.receipt+json" in assignment.receipt
    assert (device.running, queries.count_by_state(project)["active"]) == (release, 1)
    assert list(DeviceCount.objects.filter(devices=1).values_list("release_id", flat=True)) == [release.pk]
    [record] = find_records("device.install")
    assert release.payload_digest in record.body


def test_the_last_receipt_again_changes_nothing(device, release, assign, build_receipt, acting, find_records):
    document = build_receipt(device, release, assign(device, release))
    for _ in range(2):
        record_receipt(actor=acting(device), device=device, document=document)
    assert len(find_records("device.install")) == 1
    assert find_records("device.send_receipt") == []


def test_a_restart_is_no_news(device, release, assign, receive, find_records):
    assignment = assign(device, release)
    receive(device, release, assignment)
    receive(device, release, assignment)
    assert len(find_records("device.install")) == len(find_records("device.run")) == 1
    assert device.receipt_counter == 2


def test_falling_back_reverts_the_success(device, release, next_release, assign, receive, find_records):
    first = assign(device, release)
    receive(device, release, first)
    second = assign(device, next_release)
    receive(device, next_release, second)
    receive(device, release, first)  # the old release runs again
    assert states(device) == ["succeeded", "rolled_back"]
    assert device.running == release
    assert len(find_records("device.rolled_back")) == 1
    receive(device, next_release, second)
    assert (states(device), device.running) == (["succeeded", "succeeded"], next_release)


def test_a_start_of_the_old_release_before_the_switch_is_no_fall_back(
    device, release, next_release, assign, receive, report
):
    first = assign(device, release)
    receive(device, release, first)
    second = assign(device, next_release)
    report(device, second, "downloading")
    receive(device, release, first)
    assert states(device) == ["succeeded", "assigned"]
    receive(device, release, second)  # it says of the new assignment that the old release runs
    assert states(device) == ["succeeded", "rolled_back"]


def test_a_release_that_was_carried_in(device, release, next_release, assign, receive):
    receive(device, release)
    assert (device.running, states(device)) == (release, [])
    assign(device, next_release)
    receive(device, next_release)  # without a name of the assignment: installed from a folder meanwhile
    assert states(device) == ["succeeded"]


def test_what_is_refused_and_recorded(device, enrol, release, assign, build_receipt, receive, acting, find_records):
    """A wrong signature, another's receipt, bytes of another release, an older receipt: nothing moves."""
    assignment, other = assign(device, release), enrol("press-2")
    receive(device, release, assignment, counter=100)
    broken = build_receipt(device, release, assignment, counter=101)
    broken["payload"] = base64.b64encode(base64.b64decode(broken["payload"]).replace(b"boot-1", b"boot-2")).decode()
    cases = {
        "signature_wrong": broken,
        "key_unknown": build_receipt(device, release, assignment, counter=101, key=generate_key()),
        "document_malformed": {"payload": "x"},
        "receipt_of_another": build_receipt(other, release, counter=101, key=device.key),
        "release_unknown": build_receipt(device, release, counter=101, release="a" * 64),
        "receipt_wrong_variant": build_receipt(device, release, counter=101, variant="b" * 64),
        "assignment_unknown": build_receipt(device, release, assign(other, release), counter=101),
        "receipt_replayed": build_receipt(device, release, assignment, counter=99),
    }
    found = {}
    for code, document in cases.items():
        with pytest.raises(PlaneError) as caught:
            record_receipt(actor=acting(device), device=device, document=document)
        found[code] = (caught.value.code, caught.value.status)
    assert found == {code: (code, 409 if code == "receipt_replayed" else 422) for code in cases}
    assert {record.result for record in find_records("device.send_receipt")} == {"refused"}
    assert len(find_records("device.send_receipt")) == len(cases)
    device.refresh_from_db()
    assert (device.receipt_counter, device.running) == (100, release)


def test_a_device_that_lies_is_shown_and_moves_nothing(device, release, assign, receive, acting, find_records):
    receive(device, release, assign(device, release))
    for claim, mismatch in ((release.payload_digest, ""), ("c" * 64, "c" * 64), ("c" * 64, "c" * 64), (None, "")):
        record_heartbeat(actor=acting(device), device=device, body=HeartbeatBody(running=claim))
        device.refresh_from_db()
        assert (device.mismatch, device.running) == (mismatch, release)
    assert len(find_records("device.mismatch")) == len(find_records("device.end_mismatch")) == 1


def test_a_receipt_ends_the_mismatch_and_changing_claims_flood_nothing(
    device, release, assign, receive, acting, find_records
):
    for claim in ("a" * 64, "b" * 64, None, "c" * 64, release.payload_digest):
        record_heartbeat(actor=acting(device), device=device, body=HeartbeatBody(running=claim))
        device.refresh_from_db()
        assert device.mismatch == (claim or "")
    counts = [len(find_records(action)) for action in ("device.mismatch", "device.end_mismatch")]
    assert counts == [1, 1]
    cache.clear()  # a minute later
    receive(device, release, assign(device, release))
    assert device.mismatch == ""
    [_, last] = find_records("device.end_mismatch")
    assert release.payload_digest in last.body


def test_a_stock_client_is_taken_at_its_word(project, release, assign, actor_for, engineer, acting, build_receipt):
    body = DeviceBody(name="gw-1", architecture="x86_64")
    device, _ = register_device(actor=actor_for(engineer), project=project, body=body)
    assignment = assign(device, release)
    for _ in range(2):
        row = record_unsigned_result(actor=acting(device), device=device, assignment=assignment, succeeded=True)
    device.refresh_from_db()
    assert (row.state, row.is_signed, device.running) == ("succeeded", False, release)
    with pytest.raises(Conflict):
        record_unsigned_result(actor=acting(device), device=device, assignment=assignment, succeeded=False)
    device.key = generate_key()
    document = build_receipt(device, release, assignment)
    with pytest.raises(Invalid) as caught:
        record_receipt(actor=acting(device), device=device, document=document)
    assert caught.value.code == "device_without_key"


def test_an_agent_is_not(device, release, assign, acting, actor_for, engineer):
    assignment = assign(device, release)
    with pytest.raises(Invalid) as caught:
        record_unsigned_result(actor=acting(device), device=device, assignment=assignment, succeeded=True)
    assert caught.value.code == "device_with_key"
    with pytest.raises(Refused):
        record_receipt(actor=actor_for(engineer), device=device, document={})
    with pytest.raises(Conflict):
        reject_cancellation(actor=acting(device), device=device, assignment=assignment)
