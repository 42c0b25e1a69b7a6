"""Silent damage is found, named and healed; an absent store is not damage."""

from __future__ import annotations

import errno
import os
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Refused, Unavailable
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import adopt, sweep_staging, verify_stored_artifacts
from apps.platform.audit.models import AuditRecord


@pytest.fixture
def three(each_store, stored, worker_actor, project):
    """Three artifacts, last read three, two and one days ago."""
    digests = [stored(each_store, bytes([65 + n]) * 1000) for n in range(3)]
    for n, digest in enumerate(digests):
        adopt(actor=worker_actor, project=project, digest=digest, size=1000)
        Artifact.objects.filter(pk=digest).update(verified_at=timezone.now() - timedelta(days=3 - n))
    return digests


def test_whole_ones_pass(three, operator):
    report = verify_stored_artifacts(actor=operator)
    assert (report.checked, report.bytes_read, report.damaged, report.restored) == (3, 3000, [], [])
    assert not Artifact.objects.filter(verified_at__lt=timezone.now() - timedelta(hours=1)).exists()


@pytest.mark.parametrize("budget", [{"limit": 2}, {"budget_bytes": 2000}, {"budget_bytes": 1001}])
def test_a_budget_is_spent_on_the_longest_unread(three, operator, budget):
    assert verify_stored_artifacts(actor=operator, **budget).checked == 2
    assert Artifact.objects.order_by("verified_at").first().digest == three[2]


@pytest.mark.parametrize("harm", ["damage", "lose"])
def test_harm_is_found_recorded_once_and_set_aside(each_store, three, operator, request, harm):
    request.getfixturevalue(harm)(each_store, three[1])
    assert verify_stored_artifacts(actor=operator).damaged == [three[1]]
    assert verify_stored_artifacts(actor=operator).damaged == []
    assert [a.digest for a in Artifact.objects.exclude(damaged_at=None)] == [three[1]]
    assert AuditRecord.objects.filter(action="artifact.damaged", object_id=three[1]).count() == 1
    assert not each_store.exists(three[1])


def test_a_restored_backup_makes_it_whole(each_store, three, operator, lose, stored):
    lose(each_store, three[0])
    verify_stored_artifacts(actor=operator)
    stored(each_store, b"A" * 1000)
    assert verify_stored_artifacts(actor=operator).restored == [three[0]]
    assert not Artifact.objects.exclude(damaged_at=None).exists()


def test_a_bad_sector_is_damage_another_fault_is_not(folder, stored, worker_actor, operator, project, monkeypatch):
    adopt(actor=worker_actor, project=project, digest=stored(folder), size=9)
    faults = iter([errno.ENFILE, errno.EIO])
    monkeypatch.setattr(folder, "hash", lambda *_, **__: (_ for _ in ()).throw(OSError(next(faults), "fault")))
    with pytest.raises(OSError, match="fault"):
        verify_stored_artifacts(actor=operator)
    assert len(verify_stored_artifacts(actor=operator).damaged) == 1


def test_an_unmounted_store_is_not_damage(folder, worker_actor, operator, project):
    adopt(actor=worker_actor, project=project, digest="aa" * 32, size=9)
    with pytest.raises(Unavailable):
        verify_stored_artifacts(actor=operator)
    assert Artifact.objects.filter(damaged_at=None).count() == 1


def test_sweep_reports_what_it_removed(each_store, operator):
    staging = each_store.open_staging()
    staging.write(bytes(17 << 20))  # above one part, or S3 has heard nothing of it yet
    assert sweep_staging(actor=operator, older_than=timedelta(0)) == 1
    staging.discard()


def test_only_the_plane_may(folder, engineer, sysadmin, auditor, actor_for):
    for who in (engineer, sysadmin, auditor):
        for act in (verify_stored_artifacts, sweep_staging):
            with pytest.raises(Refused):
                act(actor=actor_for(who))


def test_files_of_forms_that_nobody_ended_go(folder, operator, settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    names = ("tmpab12.upload.csv", "tmpcd34.upload", "other.csv")
    for name in names:
        (tmp_path / name).write_bytes(b"patient 4711")
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / "fresh.upload").write_bytes(b"x")
    assert sweep_staging(actor=operator) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["fresh.upload", "other.csv"]
