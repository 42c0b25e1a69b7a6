"""manage.py rotate_store_key: keys are wrapped again, objects encrypted again, and a kill leaves every object whole."""

from __future__ import annotations

import io
import os
import signal

import pytest
from django.core.management import call_command

from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Refused
from apps.platform.artifacts.encryption.store import EncryptedStore
from apps.platform.artifacts.services.encryption import rotate_store_keys
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.artifacts.conftest import FORMER_KEYS, KEYS

pytestmark = pytest.mark.django_db
DATA = [os.urandom(1_200_000), b"", b"x"]


def rotate(*arguments: str) -> str:
    out = io.StringIO()
    call_command("rotate_store_key", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def read_all(store) -> list[bytes]:
    return [b"".join(store.open(sha256_hex(data))) for data in DATA]


def test_a_new_key_wraps_the_data_keys_and_the_former_is_not_needed(encrypted, stored, settings):
    for data in DATA:
        stored(encrypted, data)
    settings.ENV = settings.ENV.model_copy(update={"encryption_keys": FORMER_KEYS + KEYS})
    assert rotate().startswith("1 data keys wrapped")
    settings.ENV = settings.ENV.model_copy(update={"encryption_keys": FORMER_KEYS})
    assert read_all(get_store()) == DATA
    assert rotate().startswith("0 data keys wrapped")  # done before
    assert AuditRecord.objects.filter(action="artifact.rotate_store_key").count() == 2


def test_plain_objects_are_encrypted_and_then_under_a_new_data_key(folder, stored, request):
    for data in DATA:
        stored(folder, data)
    store = request.getfixturevalue("encrypted")
    assert "3 objects" in rotate("--encrypt")
    assert list(folder.objects()) == []
    before = {store.read_key_id(sha256_hex(data)) for data in DATA}
    assert "3 objects" in rotate("--new-data-key", "--encrypt")
    assert {store.read_key_id(sha256_hex(data)) for data in DATA}.isdisjoint(before)
    assert read_all(store) == DATA
    assert "0 objects" in rotate("--encrypt")


def test_killed_in_the_middle_it_goes_on(folder, stored, request, monkeypatch, operator):
    for data in DATA:
        stored(folder, data)
    store = request.getfixturevalue("encrypted")
    child = os.fork()
    if not child:
        original, count = EncryptedStore.encrypt_again, []

        def encrypt_then_die(self, digest):
            count.append(digest)
            if len(count) == 2:  # the ciphertext is there, and the plain copy too
                monkeypatch.setattr(self.plain, "_remove", lambda digest: os.kill(os.getpid(), signal.SIGKILL))
            return original(self, digest)

        monkeypatch.setattr(EncryptedStore, "encrypt_again", encrypt_then_die)
        try:
            store.keys.get_active()
            from apps.platform.artifacts.services.encryption import KeyRotation, encrypt_objects

            encrypt_objects(store, KeyRotation(), lambda rotation: None)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert read_all(store) == DATA
    assert len(list(folder.objects())) == 2
    assert rotate_store_keys(actor=operator, encrypt=True).encrypted == 1
    assert list(folder.objects()) == []
    assert read_all(store) == DATA


def test_a_damaged_object_stays_and_is_reported(folder, stored, damage, request):
    digest = stored(folder, DATA[0])
    damage(folder, digest)
    request.getfixturevalue("encrypted")
    with pytest.raises(SystemExit) as ended:
        rotate("--encrypt")
    assert ended.value.code == 1
    assert folder.exists(digest)


def test_what_it_does_not_touch_is_counted(folder, stored, damage, request, operator):
    for data in DATA[:2]:
        stored(folder.area("checkpoints", "7-1"), data)
    digest = stored(folder, DATA[2])
    damage(folder, digest)
    folder.set_aside(digest)
    store = request.getfixturevalue("encrypted")
    stored(store.area("checkpoints", "8-1"), DATA[0])
    rotation = rotate_store_keys(actor=operator, encrypt=True)
    assert (rotation.left, rotation.set_aside, rotation.is_whole) == ({"checkpoints": 2}, 1, False)
    with pytest.raises(SystemExit) as ended:
        rotate("--encrypt")
    assert ended.value.code == 1


def test_a_store_that_is_not_encrypted_is_refused(folder, operator):
    with pytest.raises(Conflict) as refusal:
        rotate_store_keys(actor=operator, encrypt=True)
    assert refusal.value.code == "store_not_encrypted"


def test_only_the_operator_may(encrypted, actor_for, sysadmin):
    with pytest.raises(Refused):
        rotate_store_keys(actor=actor_for(sysadmin))
