"""Records that are sealed by SM3, behind others that were sealed by SHA-256: here, in an export, and without SM3."""

import hashlib
import io

import pytest
from cryptography.hazmat.primitives import hashes
from django.core.management import call_command

from apps.core.encryption.ciphers import hash_sm3
from apps.platform.audit.checks import check_sm3
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.services import record
from apps.platform.audit.verification import examine
from apps.platform.audit.verifier.verify import find_sm3
from apps.site.compliance.folder.verifier import verify as folder_verifier
from tests.apps.platform.audit.exported_verifier import run_verifier

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def mixed(chain, write, dispatcher, settings):
    """Ten records by SHA-256, five by SM3."""
    settings.ENV = settings.ENV.model_copy(update={"audit_sm3": True})
    write(5)
    assert run_sealer_round(dispatcher) == 5
    return chain


@pytest.fixture
def without_sm3(monkeypatch):
    """As on a machine whose OpenSSL and cryptography have none."""
    new = hashlib.new

    def refuse(name, *data, **more):
        if name == "sm3":
            raise ValueError(name)
        return new(name, *data, **more)

    def hide():
        monkeypatch.setattr(hashlib, "new", refuse)
        monkeypatch.delattr(hashes, "SM3")

    return hide


def export(tmp_path, **options):
    call_command("export_audit", out=tmp_path / "out", stdout=io.StringIO(), **options)
    return tmp_path / "out"


def read_folder_faults(out, notes):
    key = folder_verifier.decode_key((out / "public_key.pem").read_bytes())
    return list(folder_verifier.iter_trail_faults(out, key, notes))


def test_the_formula_is_the_documented_one(mixed):
    tenth, first = mixed.get(seq=10), mixed.get(seq=11)
    body = hash_sm3(first.body.encode()).hex()
    assert (tenth.hash[:4] == "sm3:", first.prev) == (False, tenth.hash)
    assert first.hash == "sm3:" + hash_sm3(f"{tenth.hash}\n11\n{body}".encode()).hex()
    assert (examine().whole, examine().sealed) == (True, 15)


def test_a_changed_record_is_found(mixed, owner):
    owner("UPDATE audit_auditrecord SET body = replace(body, 'r-7', 'r-8'), request_id = 'r-8' WHERE seq = 13")
    assert (examine().finding.seq, "does not match its hash" in examine().finding.what) == (13, True)


def test_an_export_holds_elsewhere_and_a_changed_one_does_not(mixed, project, somebody, dispatcher, tmp_path):
    record(actor=somebody, action="thing.change", project_id=project.pk)
    out = export(tmp_path, project=project.slug)
    records = (out / "records.jsonl").read_text()
    assert (records.count("body_sha256"), records.count("body_sm3")) == (10, 5)
    status, printed = run_verifier(out)
    assert (status, "WHOLE" in printed) == (0, True), printed
    notes = []
    if folder_verifier.has_sm3():
        assert (read_folder_faults(out, notes), notes) == ([], [])
    (out / "records.jsonl").write_text(records.replace("thing.change", "thing.x"))
    status, printed = run_verifier(out)
    assert (status, "BROKEN: record" in printed) == (1, True), printed


def test_the_plane_says_so_where_it_cannot_seal(mixed, without_sm3, settings):
    assert check_sm3() == []
    without_sm3()
    find_sm3.cache_clear()
    try:
        assert [error.id for error in check_sm3()] == ["audit.E002"]
        settings.ENV = settings.ENV.model_copy(update={"audit_sm3": False})
        assert check_sm3() == []
    finally:
        find_sm3.cache_clear()


def test_without_sm3_it_says_what_it_could_not_check(mixed, without_sm3, tmp_path):
    out = export(tmp_path)
    without_sm3()
    status, printed = run_verifier(out)
    assert (status, "NOT CHECKED: 6 of 16 records" in printed, "WHOLE" in printed) == (2, True, False), printed
    notes = []
    assert read_folder_faults(out, notes) == []
    assert "SM3 of 6 audit records" in notes[0]
    text = (out / "records.jsonl").read_text()
    (out / "records.jsonl").write_text(text.replace("r-7", "r-8", 1))  # one by SHA-256 is found all the same
    assert run_verifier(out)[0] == 1
    assert AuditRecord.objects.filter(hash__startswith="sm3:").count() == 6
