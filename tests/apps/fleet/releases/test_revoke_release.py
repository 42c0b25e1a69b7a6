from __future__ import annotations

import pytest

from apps.core.errors import IllegalMove, Invalid, NotFound, Refused
from apps.fleet.releases.models import KeyList
from apps.fleet.releases.queries import get_key_lists
from apps.fleet.releases.services import revoke_release
from apps.fleet.releases.states import ReleaseState
from apps.platform.audit.models import AuditRecord
from deepseek.signing.dsse import Envelope
from deepseek.signing.errors import SigningError
from deepseek.signing.key_lists import parse_key_lists, verify_key_lists, verify_release

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(variant, issue):
    return issue(variant)


def test_devices_refuse_it_from_the_next_list_on(release, actor_for, approver):
    revoke_release(actor=actor_for(approver), release=release, reason="wrong units")
    assert (release.state, release.revocation_reason) == (ReleaseState.REVOKED, "wrong units")
    keys = verify_key_lists(parse_key_lists(get_key_lists()))
    assert (keys.version, keys.revoked_releases) == (2, (release.payload_digest,))
    with pytest.raises(SigningError) as refused:
        verify_release(Envelope.parse(release.envelope), keys)
    assert refused.value.code == "release_revoked"
    assert AuditRecord.objects.filter(action="release.revoke", body__contains="wrong units").exists()


def test_who_may_not(release, actor_for, viewer, stranger):
    with pytest.raises(Refused):
        revoke_release(actor=actor_for(viewer), release=release, reason="x")
    with pytest.raises(NotFound):
        revoke_release(actor=actor_for(stranger), release=release, reason="x")


def test_a_reason_is_wanted_and_once_is_enough(release, actor_for, engineer):
    for reason in ("", "  ", "x" * 2001, "a\nb"):
        with pytest.raises(Invalid):
            revoke_release(actor=actor_for(engineer), release=release, reason=reason)
    revoke_release(actor=actor_for(engineer), release=release, reason="x")
    with pytest.raises(IllegalMove):
        revoke_release(actor=actor_for(engineer), release=release, reason="x")
    assert KeyList.objects.count() == 2
