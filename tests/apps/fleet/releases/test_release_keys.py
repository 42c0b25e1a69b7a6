"""The life of keys: created, rotated, revoked; and what devices make of each new list."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from apps.core.errors import Conflict, PlaneError, Refused
from apps.fleet.releases.key_storage import get_key_path
from apps.fleet.releases.models import KeyList, ReleaseKey
from apps.fleet.releases.queries import get_key_lists
from apps.fleet.releases.services import create_key, revoke_key, rotate_key
from apps.fleet.releases.states import KeyState
from apps.platform.audit.models import AuditRecord
from deepseek.signing.dsse import Envelope
from deepseek.signing.errors import SigningError
from deepseek.signing.key_lists import parse_key_lists, verify_key_lists, verify_release

pytestmark = [pytest.mark.django_db, pytest.mark.services]  # constraints and nested transactions


def follow(trusted=None):
    """The newest list, as a device that trusts `trusted` follows the chain."""
    return verify_key_lists(parse_key_lists(get_key_lists()), trusted=trusted)


def list_states():
    return list(ReleaseKey.objects.order_by("pk").values_list("state", flat=True))


def test_a_second_key_is_on_standby_and_takes_over(key, operator, variant, issue):
    old = issue(variant)
    first = follow()
    create_key(actor=operator)
    assert list_states() == ["active", "standby"]
    rotate_key(actor=operator)
    assert list_states() == ["retired", "active"]
    keys = follow(first)
    assert (keys.version, len(keys.keys)) == (3, 2)
    new = issue(variant)
    assert new.key != old.key
    for release in (old, new):  # what the retired key has signed still counts
        verify_release(Envelope.parse(release.envelope), keys)


def test_rotation_without_standby_makes_a_key(key, operator):
    first = follow()
    new = rotate_key(actor=operator)
    assert (list_states(), new.state) == (["retired", "active"], "active")
    signers = {each.key_id for each in Envelope.parse(KeyList.objects.get(version=2).envelope).signatures}
    assert signers == {key.key_id, new.key_id}
    assert follow(first).version == 2


def test_a_revoked_key_counts_no_more_and_another_takes_over(key, operator, variant, issue):
    old, first = issue(variant), follow()
    revoke_key(actor=operator, key=key, reason="stolen")
    assert list_states() == ["revoked", "active"]
    keys = follow(first)
    assert [(one.id, one.reason) for one in keys.revoked] == [(key.key_id, "stolen")]
    with pytest.raises(SigningError) as refused:
        verify_release(Envelope.parse(old.envelope), keys)
    assert refused.value.code == "key_revoked"
    verify_release(Envelope.parse(issue(variant).envelope), keys)
    assert AuditRecord.objects.filter(action="release_key.revoke", body__contains="stolen").exists()
    with pytest.raises(Conflict):
        revoke_key(actor=operator, key=key, reason="again")


def test_a_key_on_standby_signs_the_list_where_the_file_of_the_active_one_is_lost(key, operator):
    first = follow()
    standby = create_key(actor=operator)
    get_key_path(key.key_id).unlink()
    revoke_key(actor=operator, key=key, reason="disk lost")
    assert (list_states(), follow(first).version) == (["revoked", "active"], 3)
    get_key_path(standby.key_id).unlink()
    with pytest.raises(PlaneError) as refused:
        rotate_key(actor=operator)
    assert refused.value.code == "key_file_missing"
    assert list_states() == ["revoked", "active"]  # nothing half done


def test_keys_are_the_operators_alone(db, operator, actor_for, engineer, viewer):
    for who in (engineer, viewer):
        with pytest.raises(Refused):
            create_key(actor=actor_for(who))
    with pytest.raises(Conflict) as refused:
        rotate_key(actor=operator)
    assert refused.value.code == "release_key_missing"
    assert not ReleaseKey.objects.exists()


def test_the_database_has_no_private_key(key):
    text = get_key_path(key.key_id).read_text()
    secret = "".join(text.split("-----")[2].split())
    stored = " ".join(str(value) for row in (key, KeyList.objects.get()) for value in vars(row).values())
    assert secret not in stored
    assert all(secret not in row.body for row in AuditRecord.objects.all())


def run_command(*words):
    out = StringIO()
    call_command("release_keys", *words, stdout=out)
    return out.getvalue()


def test_the_command(db):
    assert "no key yet" in run_command("list")
    assert "is active" in run_command("create")
    assert "is standby" in run_command("create")
    assert "is active" in run_command("rotate")
    first, second = ReleaseKey.objects.order_by("pk")
    assert "is revoked" in run_command("revoke", first.key_id, "--reason", "old")
    listed = run_command("list")
    assert KeyList.objects.get(version=1).digest in listed
    assert str(get_key_path(second.key_id)) in listed
    for words in (("revoke", "0" * 16, "--reason", "x"), ("revoke", first.key_id, "--reason", "x")):
        with pytest.raises(CommandError):
            run_command(*words)
    with pytest.raises(CommandError, match="does not name a key"):
        run_command("create", "--uri", "pkcs11:token=x")
    with pytest.raises(CommandError, match=r"module|package"):
        run_command("create", "--uri", "pkcs11:token=x;object=y")


def test_a_deployment_is_told_of_a_key_that_is_away_or_open(key):
    assert [one.id for one in run_release_checks()] == []
    get_key_path(key.key_id).chmod(0o644)
    assert "may be read by others" in run_release_checks()[0].msg
    assert "may be read by others" in run_command("list")
    get_key_path(key.key_id).unlink()
    assert "is not there" in run_release_checks()[0].msg
    ReleaseKey.objects.update(state=KeyState.RETIRED)
    assert run_release_checks() == []


def run_release_checks():
    return [
        one
        for one in run_checks(tags=["security"], include_deployment_checks=True)
        if (one.id or "").startswith("releases.")
    ]
