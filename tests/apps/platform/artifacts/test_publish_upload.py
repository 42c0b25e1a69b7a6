"""Bytes from outside: who may, what is checked, what is written."""

from __future__ import annotations

import pytest

from apps.core.actors import ANONYMOUS
from apps.core.canonical import sha256_hex
from apps.core.errors import Invalid, Malformed, NotFound, Refused, StorageFull, TooLarge, Unauthenticated
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.services import publish_upload, verify_stored_artifacts
from apps.platform.audit.models import AuditRecord

DATA = b"weights " * 5000
DIGEST = sha256_hex(DATA)


def publish(actor, project, data=DATA, **announced):
    return publish_upload(actor=actor, project=project, stream=iter([data[:9], data[9:]]), **announced)


def test_bytes_are_stored_and_held(kept, engineer, actor_for, project, left_behind):
    found = publish(actor_for(engineer), project, expected_digest=DIGEST, expected_size=len(DATA), name="../a/m.onnx")
    assert found.is_new
    assert (found.artifact.digest, found.artifact.size, found.holding.name) == (DIGEST, len(DATA), "m.onnx")
    assert b"".join(kept.open(DIGEST)) == DATA
    assert left_behind(kept) == []
    assert AuditRecord.objects.get(action="artifact.hold").project_id == project.pk


def test_twice_is_once(folder, engineer, actor_for, project):
    first = publish(actor_for(engineer), project, name="first")
    again = publish(actor_for(engineer), project, name="second")
    assert (again.is_new, again.holding.pk, again.holding.name) == (False, first.holding.pk, "first")
    assert AuditRecord.objects.filter(action="artifact.hold").count() == 1


def test_equal_bytes_in_two_projects_are_one_artifact_and_two_holdings(
    folder, engineer, stranger, actor_for, project, other_project
):
    publish(actor_for(engineer), project, name="ours")
    found = publish(actor_for(stranger), other_project, name="theirs")
    assert (found.is_new, found.holding.name) == (True, "theirs")
    assert (Artifact.objects.count(), Holding.objects.count()) == (1, 2)


def test_others_may_not(folder, viewer, approver, auditor, stranger, actor_for, project):
    for who, error in ((viewer, Refused), (approver, Refused), (auditor, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            publish(actor_for(who), project)
    assert not folder.exists(DIGEST)


def test_nobody_may_not(folder, project):
    with pytest.raises(Unauthenticated):
        publish(ANONYMOUS, project)


INVALID_UPLOADS = [
    ({"expected_digest": "0" * 64}, Invalid, "digest_mismatch"),
    ({"expected_digest": "../" + "0" * 61}, Invalid, "bad_digest"),
    ({"expected_size": len(DATA) + 1}, Malformed, "body_cut_off"),
    ({"expected_size": len(DATA) - 1}, Malformed, "body_cut_off"),
    ({"data": b""}, Invalid, "empty_body"),
    ({"data": b"", "expected_size": 0}, Invalid, "empty_body"),
    ({"data": b"", "expected_size": 9}, Malformed, "body_cut_off"),
    ({"media_type": "nonsense"}, Invalid, "bad_media_type"),
    ({"media_type": "a/" + "b" * 120}, Invalid, "bad_media_type"),
    ({"expected_size": 100_001}, TooLarge, "upload_too_large"),
    ({"data": b"x" * 100_001}, TooLarge, "upload_too_large"),
]


def test_invalid_uploads_leave_nothing(kept, engineer, actor_for, project, settings, left_behind):
    settings.ENV = settings.ENV.model_copy(update={"upload_limit_bytes": 100_000})
    who = actor_for(engineer)
    for announced, error, code in INVALID_UPLOADS:
        with pytest.raises(error) as refused:
            publish(who, project, **announced)
        assert refused.value.code == code, announced
        assert left_behind(kept) == [], announced
        assert not kept.exists(DIGEST), announced
    assert not Artifact.objects.exists()


def test_a_full_disk_writes_no_row(folder, engineer, actor_for, project, monkeypatch):
    monkeypatch.setattr("os.write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(StorageFull):
        publish(actor_for(engineer), project)
    assert not Artifact.objects.exists()


def test_the_same_bytes_heal_a_damaged_artifact(kept, engineer, actor_for, operator, project, damage):
    publish(actor_for(engineer), project)
    damage(kept, DIGEST)
    assert verify_stored_artifacts(actor=operator).damaged == [DIGEST]
    publish(actor_for(engineer), project)
    assert Artifact.objects.get().damaged_at is None
    assert kept.verify(DIGEST)
    assert AuditRecord.objects.filter(action="artifact.restored").count() == 1
