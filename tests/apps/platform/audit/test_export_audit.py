"""Exports: whole on another machine, and every way to falsify one is named."""

from __future__ import annotations

import io
import json
import stat

import pytest
from django.core.management import CommandError, call_command

from apps.core.errors import Conflict, Invalid, Refused, Unavailable
from apps.platform.audit.checkpoints import get_checkpoints_path
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.services import record
from apps.platform.audit.trail_export import start_export, stream
from tests.apps.platform.audit.exported_verifier import run_verifier as verify
from tests.apps.platform.audit.exported_verifier import run_verifier_alone

pytestmark = pytest.mark.django_db


@pytest.fixture
def export(chain, tmp_path):
    """export(**options) -> the folder that the command wrote."""

    def run(name="out", **options):
        call_command("export_audit", out=tmp_path / name, stdout=io.StringIO(), **options)
        return tmp_path / name

    return run


def lines_of(folder):
    return (folder / "records.jsonl").read_text().splitlines(keepends=True)


def test_whole_and_readable_by_its_owner_only(export):
    out = export()
    for run in (run_verifier_alone, verify):
        status, said = run(out)
        assert (status, "WHOLE: records 1 to 11, 11 in all." in said) == (0, True), said
    assert {path.name for path in out.iterdir()} == {
        "records.jsonl", "checkpoints.jsonl", "manifest.json", "public_key.pem", "verify.py",
    }  # fmt: skip
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in out.iterdir())


def test_the_export_is_recorded_sealed_and_signed_before_it_leaves(export):
    out = export(reason="Q4 review")
    row = AuditRecord.objects.get(action="audit.export")
    assert (row.seq, json.loads(row.body)["reason"]) == (11, "Q4 review")
    assert json.loads((out / "checkpoints.jsonl").read_text().splitlines()[-1])["seq"] == 11


FALSIFIED = {
    "edit": (lambda lines: [*lines[:3], lines[3].replace("r-7", "r-8"), *lines[4:]], "record 4"),
    "insert": (lambda lines: [*lines[:5], lines[2], *lines[5:]], "record 3"),
    "reorder": (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "record 5"),
    "delete": (lambda lines: [*lines[:6], *lines[7:]], "record 8"),
    "cut the tail": (lambda lines: lines[:8], "record 8"),
    "cut the head": (lambda lines: lines[2:], "record 3"),
    "empty": (lambda lines: [], "record 0"),
}


def test_falsified_records_are_named(export):
    out = export()
    lines, wrong = lines_of(out), {}
    for kind, (falsify, named) in FALSIFIED.items():
        (out / "records.jsonl").write_text("".join(falsify(lines)))
        status, said = verify(out)
        if (status, named in said) != (1, True):
            wrong[kind] = (status, said)
    assert wrong == {}
    status, said = run_verifier_alone(out)  # the last one, on a machine of its own
    assert (status, named in said) == (1, True), said


def test_a_falsified_manifest_is_named(export):
    out = export()
    path = out / "manifest.json"
    manifest, found = json.loads(path.read_text()), {}
    for name in ("to_seq", "records", "head", "open_end", "made", "from_seq"):
        path.write_text(json.dumps({**manifest, name: 2}))
        found[name] = verify(out)[0]
    assert found == dict.fromkeys(found, 1)


def test_checkpoints_taken_away_are_named(export):
    out = export()
    (out / "checkpoints.jsonl").write_text("")
    status, said = verify(out)
    assert (status, "checkpoints.jsonl is not the file" in said) == (1, True)


def test_a_half_line_is_unreadable(export):
    out = export()
    path = out / "records.jsonl"
    path.write_text(path.read_text()[:-20])
    assert verify(out)[0] == 2


def test_another_key_is_named_by_the_pinned_one(export, tmp_path, home):
    mine = tmp_path / "mine.pem"
    out = export()
    mine.write_bytes((out / "public_key.pem").read_bytes())
    assert verify(out, "--public-key", mine)[0] == 0
    forge(home)
    forged = export("forged")
    assert verify(forged)[0] == 0  # by itself it looks whole: so pin the key
    assert verify(forged, "--public-key", mine)[0] == 1


def forge(home):
    """Whoever owns database and home makes a key of their own and forgets the old one."""
    for path in [*(home / "keys").iterdir(), get_checkpoints_path()]:
        path.unlink()
    ChainHead.objects.update(key_id="")


def test_an_export_older_than_a_kept_checkpoint_is_named(export, tmp_path, write, dispatcher):
    old = export("old")
    write(3)
    new = export("new")
    kept = tmp_path / "kept.jsonl"
    kept.write_text((new / "checkpoints.jsonl").read_text().splitlines()[-1])
    assert verify(new, "--checkpoint", kept)[0] == 0
    status, said = verify(old, "--checkpoint", kept)
    assert (status, "record 11: the chain ends here" in said, "reached record 15" in said) == (1, True, True), said


def test_a_database_cut_with_its_head_is_named_by_its_export(export, owner):
    owner(
        "DELETE FROM audit_auditrecord WHERE seq > 5",
        "UPDATE audit_chainhead SET seq = 5, checkpoint_seq = 0,"
        " hash = (SELECT hash FROM audit_auditrecord WHERE seq = 5)",
    )
    status, said = verify(export())
    assert (status, "reached record 10: the tail was cut" in said) == (1, True), said


@pytest.mark.parametrize(("first", "last", "count"), [(3, 7, 5), (1, 1, 1), (4, None, 8), (None, 6, 6)])
def test_a_range_is_whole(export, first, last, count):
    status, said = verify(export(from_seq=first, to_seq=last))
    assert (status, f"{count} in all" in said) == (0, True), said


def test_a_cut_range_is_named(export):
    out = export(from_seq=3, to_seq=7)
    (out / "records.jsonl").write_text("".join(lines_of(out)[1:]))
    assert verify(out)[0] == 1


@pytest.mark.parametrize(("first", "last", "field"), [(99, None, "from_seq"), (1, 99, "to_seq"), (5, 4, "to_seq")])
def test_a_range_that_is_not_there_is_refused_and_not_recorded(chain, operator, first, last, field):
    with pytest.raises(Invalid) as caught:
        start_export(actor=operator, from_seq=first, to_seq=last)
    assert caught.value.field == field
    assert not AuditRecord.objects.filter(action="audit.export").exists()


def test_a_project_withholds_the_bodies_of_others_and_is_whole(export, project, other_project, somebody):
    for where in (project, other_project, project):
        record(actor=somebody, action="thing.change", obj=where, reason=f"secret of {where.slug}")
    out = export(project="demo")
    status, said = verify(out)
    text = (out / "records.jsonl").read_text()
    assert (status, "11 of them by digest only" in said) == (0, True), said
    assert ("secret of demo" in text, "secret of other" in text) == (True, False)


def test_filters_leave_what_they_leave_on_the_page(export, somebody):
    record(actor=somebody, action="other.change", object_type="thing", object_id="3", reason="not asked for")
    out = export(action="thing.change", object_id="3", result="done", reason="Q4 review")
    bodies = [json.loads(line["body"]) for line in map(json.loads, lines_of(out)) if "body" in line]
    assert {(body["action"], body["object"]["id"]) for body in bodies} == {("thing.change", "3")}
    asked = {"action": "thing.change", "object_id": "3", "result": "done"}
    assert json.loads((out / "manifest.json").read_text())["filters"] == asked
    after = json.loads(AuditRecord.objects.get(action="audit.export").body)["after"]
    assert after["filters"] == asked
    assert verify(out)[0] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"result": "x"},
        {"from": "yesterday"},
        {"to": "2026-13-01"},
        {"job": "x"},
        {"record": "x"},
        {"project": "none"},
        {"from_seq": "0"},
        {"to_seq": "99"},
        {"actor": "nobody"},
    ],
)
def test_a_wrong_filter_exits_with_2_and_writes_nothing(export, tmp_path, wrong):
    with pytest.raises(CommandError) as caught:
        export(**wrong)
    assert caught.value.returncode == 2
    assert str(next(iter(wrong.values()))) in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not AuditRecord.objects.filter(action="audit.export").exists()


def test_a_withheld_body_cannot_be_replaced(export, project, somebody):
    record(actor=somebody, action="thing.change", obj=project)
    out = export(project="demo")
    lines = lines_of(out)
    lines[3] = json.dumps({**json.loads(lines[3]), "body_sha256": "0" * 64}) + "\n"
    (out / "records.jsonl").write_text("".join(lines))
    assert "record 4" in verify(out)[1]


def test_one_file_is_whole_and_falsified_ones_are_named(export, operator, tmp_path):
    verifier = export() / "verify.py"
    whole = b"".join(stream(start_export(actor=operator)))
    path = tmp_path / "audit.jsonl"
    for content, status in [
        (whole, 0),
        (whole.replace(b"r-7", b"r-8", 1), 1),
        (b"".join(whole.splitlines(keepends=True)[:-1]), 1),  # the manifest is gone
        (b"".join(line for line in whole.splitlines(keepends=True) if b'"checkpoint"' not in line), 1),
        (b"", 2),
    ]:
        path.write_bytes(content)
        assert verify(path, script=verifier)[0] == status


def test_a_machine_without_the_key_does_not_sign(chain, operator, home):
    (home / "keys" / "audit_ed25519.pem").unlink()
    with pytest.raises(Unavailable):
        start_export(actor=operator)


def test_a_full_folder_is_left_alone(export, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(CommandError, match="not an empty folder"):
        export()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_failing_export_leaves_nothing(export, tmp_path, monkeypatch):
    monkeypatch.setattr("apps.platform.audit.trail_export.Export.checkpoint_lines", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export()
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_others_may_not_export(chain, somebody):
    with pytest.raises(Refused):
        start_export(actor=somebody)


def test_a_key_that_is_not_the_chains_does_not_sign(chain, operator):
    ChainHead.objects.update(key_id="feed" * 4)
    with pytest.raises(Conflict):
        start_export(actor=operator)
