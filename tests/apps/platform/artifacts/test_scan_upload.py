"""Uploads go through the site's scanner before they are published; without its answer nothing is."""

from __future__ import annotations

import fcntl
import os
import sys

import pytest

from apps.core.errors import Invalid, Unavailable
from apps.platform.artifacts import scanning
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import publish_upload, store_file, store_for_plane
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
SCANNER = (
    "import sys; data = sys.stdin.buffer.read(); found = b'EICAR' in data;"
    " print('stream: Eicar-Test-Signature FOUND' if found else 'stream: OK'); sys.exit(found)"
)


@pytest.fixture
def scanner(settings, tmp_path, folder):
    """scanner(code, **more): the site's scanner is this Python code."""

    def use(code: str, **more: object) -> None:
        script = tmp_path / "scanner.py"
        script.write_text(code)
        values = {"upload_scan_command": f"{sys.executable} {script}", "malware_scan_seconds": 20.0, **more}
        settings.ENV = settings.ENV.model_copy(update=values)

    return use


@pytest.fixture
def send(actor_for, engineer, project):
    return lambda *chunks: publish_upload(actor=actor_for(engineer), project=project, stream=chunks, name="a.bin")


def test_a_clean_upload_is_published(scanner, send):
    scanner(SCANNER)
    assert send(b"clean " * 100_000, b"rest").is_new


def test_a_finding_is_refused_and_recorded_and_nothing_stays(scanner, send, folder, left_behind):
    scanner(SCANNER)
    with pytest.raises(Invalid) as refusal:
        send(b"x" * 200_000, EICAR)
    assert (refusal.value.code, refusal.value.status, refusal.value.field) == ("malware_in_upload", 422, "file")
    assert "Eicar-Test-Signature" in refusal.value.message
    assert list(folder.objects()) == left_behind(folder) == list(Artifact.objects.all()) == []
    row = AuditRecord.objects.get(action="artifact.malware_found")
    assert row.result == "refused"
    assert "a.bin" in row.body


def test_without_an_answer_nothing_is_published(scanner, send, folder):
    for code, more in (
        ("import sys; sys.exit(2)", {}),
        ("import time; time.sleep(60)", {"malware_scan_seconds": 0.2}),
        ("import sys; sys.stdin.buffer.read(10); sys.exit(0)", {}),  # clean, of which bytes?
        ("", {"upload_scan_command": "/no/such/scanner"}),
        ("", {"upload_scan_command": "", "malware_scan": "required"}),
    ):
        scanner(code, **more)
        with pytest.raises(Unavailable) as refusal:
            send(b"x" * 500_000)
        assert refusal.value.code == "scan_failed"
    assert list(folder.objects()) == []


def test_a_scanner_that_knows_enough_need_not_read_on(scanner, send):
    scanner("import sys; sys.stdin.buffer.read(10); sys.exit(1)")
    with pytest.raises(Invalid):
        send(*[b"x" * 200_000] * 10)


def test_a_process_with_many_open_files_is_answered(scanner, send):
    """A descriptor above 1023, of which select() knows nothing."""
    handle = os.open(os.devnull, os.O_RDONLY)
    many = [fcntl.fcntl(handle, fcntl.F_DUPFD, 0) for _ in range(1100)]
    try:
        scanner(SCANNER)
        assert send(b"clean" * 50_000).is_new
    finally:
        for each in (handle, *many):
            os.close(each)


def test_packages_and_images_are_scanned_too(scanner, operator):
    scanner(SCANNER)
    with pytest.raises(Invalid):
        store_for_plane(actor=operator, stream=[EICAR])
    row = AuditRecord.objects.get(action="artifact.malware_found")
    assert (row.result, row.object_type, row.object_id) == ("refused", "store", "artifacts")


def test_a_file_of_others_that_a_worker_stores_is_scanned(scanner, worker_actor, project, tmp_path):
    scanner(SCANNER)
    path = tmp_path / "labels.csv"
    path.write_bytes(EICAR)
    with pytest.raises(Invalid):
        store_file(actor=worker_actor, project=project, path=path, is_scanned=True)
    assert store_file(actor=worker_actor, project=project, path=path).size == len(EICAR)


def test_the_date_of_the_signatures_is_shown(settings):
    command = "echo ClamAV 1.4.1/27500/Tue Dec  3 09:37:49 2024"
    settings.ENV = settings.ENV.model_copy(update={"malware_version_command": command})
    assert scanning.describe_scanner() == "ClamAV 1.4.1/27500/Tue Dec 3 09:37:49 2024"
    settings.ENV = settings.ENV.model_copy(update={"malware_version_command": "/no/such"})
    assert scanning.describe_scanner().startswith("no answer")
