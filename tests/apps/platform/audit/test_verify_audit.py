"""Tampering as the owner of the database: each kind is named, by the plane and by the verifier on an export."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.audit.checkpoints import get_checkpoints_path
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.verification import examine, verify_trail
from apps.platform.audit.verifier.verify import body_digest, chain_hash
from tests.apps.platform.audit.exported_verifier import run_verifier

pytestmark = [pytest.mark.django_db, pytest.mark.services]
ROW = "UPDATE audit_auditrecord SET"
COLUMNS = "at, actor, action, object_type, object_id, result, request_id"
# the statements of the owner, the record that must be named, a word of what is said of it
TAMPERED = {
    "edit": ([f"{ROW} body = replace(body, 'thing', 'thong') WHERE seq = 4"], 4, "edited"),
    "insert": (
        [
            f"{ROW} seq = -seq - 1 WHERE seq >= 5",
            f"{ROW} seq = -seq WHERE seq < 0",
            f"INSERT INTO audit_auditrecord (body, seq, prev, hash, {COLUMNS})"
            f" SELECT body, 5, hash, 'feed', {COLUMNS} FROM audit_auditrecord WHERE seq = 4",
            "UPDATE audit_chainhead SET seq = 11",
        ],
        5,
        "inserted",
    ),
    "reorder": (
        [f"{ROW} seq = -1 WHERE seq = 3", f"{ROW} seq = 3 WHERE seq = 4", f"{ROW} seq = 4 WHERE seq = -1"],
        3,
        "reordered",
    ),
    "delete": (["DELETE FROM audit_auditrecord WHERE seq = 6"], 7, "missing"),
    "delete the first": (["DELETE FROM audit_auditrecord WHERE seq = 1"], 2, "missing"),
    "tail cut": (["DELETE FROM audit_auditrecord WHERE seq > 8"], 8, "tail was cut"),
}
CUT_CLEANLY = [
    "DELETE FROM audit_auditrecord WHERE seq > 8",
    "UPDATE audit_chainhead SET seq = 8, checkpoint_seq = 0, hash = (SELECT hash FROM audit_auditrecord WHERE seq = 8)",
]


def recomputed(owner, seq: int) -> None:
    """The owner edits a record and computes the chain anew behind it, head and all."""
    prev = AuditRecord.objects.get(seq=seq).prev
    statements = [f"{ROW} body = replace(body, 'r-7', 'r-8'), request_id = 'r-8' WHERE seq = {seq}"]
    for row in AuditRecord.objects.filter(seq__gte=seq).order_by("seq"):
        body = row.body.replace("r-7", "r-8") if row.seq == seq else row.body
        digest = chain_hash(prev, row.seq, body_digest(body))
        statements.append(f"{ROW} prev = '{prev}', hash = '{digest}' WHERE seq = {row.seq}")
        prev = digest
    owner(*statements, f"UPDATE audit_chainhead SET hash = '{prev}'")


def exported(tmp_path):
    call_command("export_audit", out=tmp_path / "out", stdout=io.StringIO())
    return tmp_path / "out"


def test_whole(chain, write):
    write(2)
    found = examine()
    assert (found.whole, found.sealed, found.unsealed.count, found.checkpoints) == (True, 10, 2, 1)
    assert found.last_checkpoint["seq"] == 10


def test_an_empty_trail_is_whole():
    assert examine().whole


@pytest.mark.parametrize("kind", TAMPERED)
def test_tampering_is_named_by_the_plane_and_by_an_export(chain, owner, kind, tmp_path):
    statements, seq, word = TAMPERED[kind]
    owner(*statements)
    finding = examine().finding
    assert (finding.seq, word in finding.what) == (seq, True), finding
    status, said = run_verifier(exported(tmp_path))
    # an export adds its own record at the end, so what was cut at the tail is a gap there
    expected = f"record {11 if kind == 'tail cut' else seq}"
    assert (status, expected in said) == (1, True), said


@pytest.mark.parametrize("column", ["actor = 'x'", "project_id = 3", "object_id = '99'", "result = 'failed'"])
def test_an_edited_copy_is_named(chain, owner, column):
    owner(f"{ROW} {column} WHERE seq = 5")
    finding = examine().finding
    assert finding.seq == 5
    assert column.split()[0] in finding.what


def test_a_tail_cut_with_its_head_is_found_by_the_checkpoint(chain, owner):
    owner(*CUT_CLEANLY)
    finding = examine().finding
    assert (finding.seq, "checkpoint reached record 10" in finding.what) == (8, True)


def test_a_chain_computed_anew_is_found_by_the_checkpoint(chain, owner):
    recomputed(owner, 6)
    finding = examine().finding
    assert (finding.seq, "signed checkpoint has another hash" in finding.what) == (10, True)


@pytest.mark.parametrize(
    ("change", "seq", "word"),
    [("hash = 'feed'", 10, "another hash"), ("seq = 9", 10, "goes on"), ("seq = 12", 10, "tail was cut")],
)
def test_a_head_that_disagrees_is_named(chain, owner, change, seq, word):
    owner(f"UPDATE audit_chainhead SET {change}")
    finding = examine().finding
    assert (finding.seq, word in finding.what) == (seq, True), finding


def test_a_head_that_is_gone_is_named(chain, owner):
    owner("DELETE FROM audit_chainhead")
    assert "head of the chain is gone" in examine().finding.what


@pytest.mark.parametrize(("name", "value"), [("time", "2020-01-01T00:00:00.000000Z"), ("hash", "0" * 64), ("seq", 9)])
def test_an_edited_checkpoint_is_named(chain, name, value):
    path = get_checkpoints_path()
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}) + "\n")
    assert "signature of its checkpoint does not hold" in examine().finding.what


def test_a_checkpoint_file_that_is_gone_is_named(chain):
    get_checkpoints_path().unlink()
    assert "no longer in the file" in examine().finding.what


def test_a_half_written_checkpoint_is_passed_over(chain, write, dispatcher):
    with get_checkpoints_path().open("a") as out:
        out.write('{"seq": 1')
    ChainHead.objects.update(checkpoint_at=timezone.now() - timezone.timedelta(days=2))
    write(1)
    run_sealer_round(dispatcher)
    assert (examine().finding, examine().checkpoints) == (None, 2)


def test_a_machine_without_the_key_says_so(chain, home):
    for path in (home / "keys").iterdir():
        path.unlink()
    found = examine()
    assert found.whole
    assert "not checked" in found.note


@pytest.mark.parametrize(("age", "alarm"), [(1, False), (6, True)])
def test_an_old_unsealed_record_raises_the_alarm(chain, somebody, monkeypatch, age, alarm, write):
    write(1)
    later = timezone.now() + timezone.timedelta(seconds=age)
    monkeypatch.setattr("apps.platform.audit.verification.timezone.now", lambda: later)
    assert examine().unsealed.alarm is alarm


def test_the_command_says_whole_or_broken(chain, owner, capsys):
    call_command("verify_audit")
    assert "WHOLE: 10 records" in capsys.readouterr().out
    owner(*TAMPERED["edit"][0])
    with pytest.raises(SystemExit) as stopped:
        call_command("verify_audit", json=True)
    told = json.loads(capsys.readouterr().out)
    assert (stopped.value.code, told["whole"], told["finding"]["seq"]) == (1, False, 4)


def test_verifying_is_recorded_with_its_result(chain, owner, operator):
    owner(*TAMPERED["edit"][0])
    verify_trail(actor=operator)
    row = AuditRecord.objects.get(action="audit.verify")
    assert (row.result, "record 4" in json.loads(row.body)["reason"]) == ("failed", True)


def test_others_may_not_verify(chain, somebody):
    with pytest.raises(Refused):
        verify_trail(actor=somebody)
