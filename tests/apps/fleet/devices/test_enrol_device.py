from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from apps.core.errors import NotFound
from apps.fleet.devices import queries
from apps.fleet.devices.authentication import build_enrolment_actor
from apps.fleet.devices.errors import DeviceExists, EnrolmentRefused
from apps.fleet.devices.models import Device, EnrolmentToken
from apps.fleet.devices.schemas import EnrolBody
from apps.fleet.devices.services import admit_gateway_device, enrol_device, revoke_device, revoke_enrolment_token
from apps.fleet.devices.tokens import compute_token_digest
from deepseek.signing.keys import encode_public_key, generate_key
from deepseek.signing.statements import sign_enrolment

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def send(build_enrolment):
    """send(token, secret, key, **changes) enrols as an agent does."""

    def enrol(token, secret, key, **changes):
        body = EnrolBody(**build_enrolment(secret, key, **changes))
        return enrol_device(actor=build_enrolment_actor(token), token=token, body=body)

    return enrol


def test_a_token_lets_one_device_in(create_token, send, project, find_records):
    token, secret = create_token(tags={"site": "berlin"})
    device, device_secret = send(token, secret, generate_key())
    device.refresh_from_db()
    assert (device.project, device.name, device.architecture) == (project, "press-1", "x86_64")
    assert device.token_digest == compute_token_digest(device_secret)
    assert device_secret not in str(Device.objects.values().get())
    labels = {(label.kind, label.key): label.value for label in device.labels.all()}
    assert labels == {("tag", "site"): "berlin", ("attribute", "os"): "debian"}
    assert queries.count_by_state(project) == {"active": 1, "quarantined": 0, "revoked": 0}
    assert EnrolmentToken.objects.get().uses == 1
    [record] = find_records("device.enrol")
    assert record.result == "done"
    assert secret not in record.body
    assert device_secret not in record.body


def test_the_same_token_and_key_within_an_hour_is_the_same_device(create_token, send, find_records):
    token, secret = create_token()
    key = generate_key()
    first, lost = send(token, secret, key)
    second, kept = send(token, secret, key)
    assert (first.pk, Device.objects.count()) == (second.pk, 1)
    assert lost != kept
    assert Device.objects.get().token_digest == compute_token_digest(kept)
    assert EnrolmentToken.objects.get().uses == 1
    assert len(find_records("device.renew_token")) == 1
    Device.objects.update(enrolled_at=timezone.now() - timedelta(hours=2))
    with pytest.raises(EnrolmentRefused):
        send(token, secret, key)


def test_what_is_refused(create_token, send, find_records, actor_for, engineer):
    """A token that opens nothing, or a wrong proof: one answer, one record with the reason, no device."""
    used, used_secret = create_token()
    send(used, used_secret, generate_key(), name="press-0")
    expired, expired_secret = create_token()
    EnrolmentToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    revoked, revoked_secret = create_token()
    revoke_enrolment_token(actor=actor_for(engineer), token=revoked)
    fresh, fresh_secret = create_token()
    other, key = generate_key(), generate_key()
    cases = {
        "used up": (used, used_secret, {}),
        "expired": (expired, expired_secret, {}),
        "revoked": (revoked, revoked_secret, {}),
        "no such key": (fresh, fresh_secret, {"public_key": "AAAA"}),
        "another's key": (fresh, fresh_secret, {"public_key": encode_public_key(other.public_key)}),
        "proof of another name": (fresh, fresh_secret, {"proof": sign_enrolment("press-2", fresh_secret, key)}),
        "proof of another token": (fresh, fresh_secret, {"proof": sign_enrolment("press-1", used_secret, key)}),
        "no proof": (fresh, fresh_secret, {"proof": "-"}),
    }
    messages = set()
    for token, secret, changes in cases.values():
        with pytest.raises(EnrolmentRefused) as caught:
            send(token, secret, key, **changes)
        messages.add((caught.value.code, str(caught.value.message)))
        with pytest.raises(EnrolmentRefused):
            send(token, secret, key, **changes)  # recorded once a minute
        cache.clear()
    assert len(messages) == 1
    refused = [record for record in find_records("device.enrol") if record.result == "refused"]
    assert len(refused) == len(cases)
    assert not any(secret in record.body for record in refused for _, secret, _ in cases.values())
    assert list(Device.objects.values_list("name", flat=True)) == ["press-0"]
    assert EnrolmentToken.objects.get(pk=fresh.pk).uses == 0


def test_a_name_or_key_of_another_device_is_taken(create_token, send, project, actor_for, engineer):
    token, secret = create_token(gateway=True, max_uses=5)
    key = generate_key()
    device, _ = send(token, secret, key)
    for changes, with_key in (({}, generate_key()), ({"name": "press-2"}, key)):
        with pytest.raises(DeviceExists):
            send(token, secret, with_key, **changes)
    assert EnrolmentToken.objects.get().uses == 1
    revoke_device(actor=actor_for(engineer), device=device, reason="scrapped")
    again, _ = send(token, secret, key)
    assert again.pk != device.pk
    assert queries.count_by_state(project) == {"active": 1, "quarantined": 0, "revoked": 1}


def test_a_token_of_another_project_opens_nothing_here(create_token, send, other_project):
    token, _secret = create_token()
    token.project_id = other_project.pk  # what the actor would have to be let in to
    elsewhere = build_enrolment_actor(EnrolmentToken.objects.get())
    with pytest.raises(NotFound):
        enrol_device(actor=elsewhere, token=token, body=None)


def test_a_gateway_lets_hawkbit_clients_in_once_each(create_token):
    token, _ = create_token(gateway=True, max_uses=1)
    actor = build_enrolment_actor(token)
    first = admit_gateway_device(actor=actor, token=token, name="a:b:c", attributes={"rev": "2"})
    assert admit_gateway_device(actor=actor, token=token, name="a:b:c") == first
    assert (first.kind, first.public_key, first.token_prefix) == ("hawkbit", "", "")
    with pytest.raises(EnrolmentRefused):
        admit_gateway_device(actor=actor, token=token, name="d")
