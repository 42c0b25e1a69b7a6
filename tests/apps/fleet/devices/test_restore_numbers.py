"""A plane that was restored gives no number out again that a device may remember."""

from __future__ import annotations

import pytest

from apps.core.errors import Refused
from apps.fleet.devices.polling import answer_poll
from apps.fleet.devices.services import cancel_assignment, skip_issued_numbers
from apps.fleet.devices.services.restoration import SKIPPED_IDS

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def test_ids_and_etags_differ_after_a_restore(device, enrol, release, assign, operator, actor_for, engineer):
    before = assign(device, release)
    etag = answer_poll(f"Bearer {device.secret}", "").etag
    cancel_assignment(actor=actor_for(engineer), assignment=before)
    skip_issued_numbers(actor=operator)
    poll = answer_poll(f"Bearer {device.secret}", etag)
    assert poll.document is not None, "the device's last answer still counts"
    assert poll.etag != etag
    after = assign(device, release)
    assert after.pk > before.pk + SKIPPED_IDS
    assert after.pk < 2**31, "stock clients hold it in 32 bits"
    assert enrol("press-2").pk > device.pk + SKIPPED_IDS


def test_a_plane_without_devices(operator, enrol):
    skip_issued_numbers(actor=operator)
    assert enrol().pk > SKIPPED_IDS


def test_people_may_not(db, actor_for, engineer):
    with pytest.raises(Refused):
        skip_issued_numbers(actor=actor_for(engineer))
