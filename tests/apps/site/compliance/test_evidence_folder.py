"""The evidence folder: written whole, signed, and checked by its own verifier without a plane."""

from __future__ import annotations

import base64
import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from jsonschema import Draft202012Validator

from apps.core.encryption.ciphers import hash_sm3
from apps.core.errors import Conflict
from apps.platform.artifacts.verification import open_verified
from apps.platform.audit import keys
from apps.platform.audit.services import change_state
from apps.site.compliance.clauses import CLAUSE_IDS
from apps.site.compliance.evidence import make_evidence, run_queued
from apps.site.compliance.folder import writer
from apps.site.compliance.folder.verifier import verify
from apps.site.compliance.models import EvidenceRun
from apps.site.compliance.services import claim_run, request_run, start_run
from tests.apps.site.compliance.conftest import OPERATOR

pytestmark = pytest.mark.django_db
VERDICTS = {"met", "partly", "not met", "not applicable"}


@pytest.fixture
def folder(home, tmp_path, quick_probes) -> Path:
    quick_probes("transport", "backup")
    make_evidence(actor=OPERATOR, target=tmp_path / "evidence")
    return tmp_path / "evidence"


def read(path: Path):
    return json.loads(path.read_bytes())


def test_folder_has_every_clause_with_its_evidence(folder):
    document = read(folder / "evidence.json")
    assert [row["id"] for row in document["clauses"]] == list(CLAUSE_IDS)
    assert {row["verdict"] for row in document["clauses"]} <= VERDICTS
    assert [row["id"] for row in document["clauses"] if not row["evidence"] or not row["probe"]] == []
    by_id = {row["id"]: row["verdict"] for row in document["clauses"]}
    assert by_id["8.1.4.1.c"] == "not met"
    assert by_id["8.1.4.9.a"] == "partly"
    assert by_id["8.1.4.9.b"] == "not met"  # no document is attached
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF-")
    bill = read(folder / "sbom" / "plane.cdx.json")
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert "django" in {row["name"] for row in bill["components"]}


def test_oscal_documents_are_what_the_schema_says(folder):
    """The schema of OSCAL 1.2.1, as the models of compliance-trestle 5.2.0 give it."""
    faults = {}
    for name in ("catalog", "assessment-results"):
        validator = Draft202012Validator(read(Path(__file__).with_name("oscal") / f"{name}.schema.json"))
        document = read(folder / f"{name}.json")
        faults[name] = [f"{each.json_path}: {each.message}"[:200] for each in validator.iter_errors(document)]
        document[name]["uuid"] = "none"
        assert len(list(validator.iter_errors(document))) == 1
    assert faults == {"catalog": [], "assessment-results": []}


def test_same_run_gives_the_same_documents(folder):
    results = read(folder / "assessment-results.json")["assessment-results"]
    run = EvidenceRun.objects.get()
    key = keys.load_signing_key(make=False)
    assert results["metadata"]["version"] == f"{keys.compute_key_id(key)}-{run.pk}"
    findings = results["results"][0]["findings"]
    observed = {row["uuid"] for row in results["results"][0]["observations"]}
    named = {link["observation-uuid"] for row in findings for link in row.get("related-observations", ())}
    assert len(findings) == len(CLAUSE_IDS)
    assert named == observed


def run_verifier(folder: Path, *options: str) -> tuple[int, str]:
    """In an interpreter that has the standard library and nothing else, as on a machine without a plane."""
    command = [sys.executable, "-I", "-S", str(folder / "verify.py"), str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def edit(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def swap_signature(folder: Path) -> None:
    envelope = read(folder / "manifest.json")
    stranger = keys.SigningKey.generate()
    payload = verify.decode_base64(envelope["payload"])
    kind = envelope["payloadType"]
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    envelope["signatures"][0]["sig"] = base64.b64encode(stranger.sign(message)).decode()
    (folder / "manifest.json").write_bytes(verify.canonical(envelope) + b"\n")


def swap_files(folder: Path) -> None:
    one, two = (folder / "catalog.json").read_bytes(), (folder / "evidence.json").read_bytes()
    (folder / "catalog.json").write_bytes(two)
    (folder / "evidence.json").write_bytes(one)


def replace_by_link(path: Path) -> None:
    path.rename(path.parent.parent / f"{path.parent.name}-{path.name}")
    path.symlink_to(path.parent.parent / f"{path.parent.name}-{path.name}")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


TAMPERINGS = {
    "verdict edited": lambda at: edit(at / "evidence.json", b'"verdict": "not met"', b'"verdict": "met"'),
    "finding edited": lambda at: edit(at / "assessment-results.json", b'"not-satisfied"', b'"satisfied"'),
    "report replaced": lambda at: (at / "report.pdf").write_bytes(b"%PDF-1.4\n"),
    "file added": lambda at: (at / "audit" / "more.txt").write_text("x"),
    "file removed": lambda at: (at / "catalog.json").unlink(),
    "file renamed": lambda at: (at / "report.pdf").rename(at / "Report.pdf"),
    "empty folder added": lambda at: (at / "extra").mkdir(),
    "link in place of a file": lambda at: replace_by_link(at / "report.pdf"),
    "file cut": lambda at: truncate(at / "audit" / "records.jsonl"),
    "two files swapped": swap_files,
    "signature swapped": swap_signature,
    "manifest with a blank": lambda at: edit(at / "manifest.json", b'{"payload"', b'{ "payload"'),
    "verifier edited": lambda at: (at / "verify.py").write_text((at / "verify.py").read_text() + "# harmless\n"),
    "key replaced": lambda at: (at / "public_key.pem").write_bytes(keys.encode_public_pem(keys.SigningKey.generate())),
    "record edited": lambda at: edit(at / "audit" / "records.jsonl", b"audit.export", b"audit.exporT"),
}


def test_verifier_alone_accepts_the_folder_and_finds_each_tampering(folder, tmp_path):
    status, text = run_verifier(folder)
    assert (status, "cryptography is not installed" in text) == (0, True), text
    missed = {}
    for number, (name, tamper) in enumerate(TAMPERINGS.items()):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(folder, copy)
        tamper(copy)
        status, text = run_verifier(copy)
        if status != 1 or "BROKEN" not in text or "Traceback" in text:
            missed[name] = (status, text[:300])
    assert missed == {}


def test_folder_of_another_key_is_found_by_a_copy_of_the_key(folder, tmp_path):
    own, other = tmp_path / "own.pem", tmp_path / "other.pem"
    own.write_bytes((folder / "public_key.pem").read_bytes())
    other.write_bytes(keys.encode_public_pem(keys.SigningKey.generate()))
    assert verify.verify_folder(folder, own.read_bytes())[0] == []
    assert verify.verify_folder(folder, other.read_bytes())[0] != []
    assert verify.verify_folder(folder, b"")[0] != []  # an empty copy is no key, and not the folder's


def test_names_in_any_script_are_named_on_any_terminal(folder):
    (folder / "audit" / "证据\udcff").write_text("x")
    command = [sys.executable, "-S", str(folder / "verify.py"), str(folder)]
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (done.returncode, "was added" in done.stdout, "Traceback" in done.stderr) == (1, True, False)


def test_signatures_are_judged_as_the_package_judges_them():
    key = keys.SigningKey.generate()
    public, message = key.public_key().public_bytes_raw(), b"evidence"
    good = key.sign(message)
    order = verify.L + int.from_bytes(good[32:], "little")
    cells = {
        "good": (public, good, message, True),
        "other message": (public, good, b"evidencE", False),
        "other key": (keys.SigningKey.generate().public_key().public_bytes_raw(), good, message, False),
        "flipped": (public, bytes([good[0] ^ 1]) + good[1:], message, False),
        "scalar beyond the order": (public, good[:32] + order.to_bytes(32, "little"), message, False),
        "short": (public, good[:-1], message, False),
        "no point": (b"\xff" * 32, good, message, False),
    }
    wrong = {name: args for name, (*args, expected) in cells.items() if verify.is_signature(*args) is not expected}
    assert wrong == {}


def test_command_writes_and_refuses_a_folder_that_is_not_empty(home, tmp_path, quick_probes, capsys):
    target = tmp_path / "out"
    call_command("evidence", out=target)
    assert "python" in capsys.readouterr().out
    with pytest.raises(CommandError) as refusal:
        call_command("evidence", out=target)
    assert refusal.value.returncode == 2
    assert EvidenceRun.objects.count() == 1


def test_a_queued_run_is_made_and_its_folder_kept(home, quick_probes, tmp_path):
    left = home / "evidence-killed"  # by a run whose process was killed
    left.mkdir()
    os.utime(left, (1, 1))
    request_run(actor=OPERATOR)
    with pytest.raises(Conflict):
        request_run(actor=OPERATOR)
    assert run_queued(OPERATOR) == 1
    assert not list(home.glob("evidence-*"))
    run = EvidenceRun.objects.get()
    assert (run.state, run.met + run.partly + run.not_met + run.not_applicable) == ("succeeded", len(CLAUSE_IDS))
    archive = tmp_path / "evidence.zip"
    archive.write_bytes(b"".join(open_verified(run.folder)))
    with zipfile.ZipFile(archive) as entries:
        entries.extractall(tmp_path / "unpacked")
    assert verify.verify_folder(tmp_path / "unpacked" / "evidence")[0] == []


def test_what_a_killed_run_left_beside_its_folder_goes_at_the_next(home, tmp_path, quick_probes):
    target = tmp_path / "out"
    prefix = writer.build_staging_prefix(target)
    left, other, open_one = (tmp_path / name for name in (f"{prefix}killed", ".out.mine", f"{prefix}running"))
    for folder in (left, other, open_one):
        (folder / "audit").mkdir(parents=True)
    lock = writer.try_lock(open_one)  # of a run that goes on
    make_evidence(actor=OPERATOR, target=target)
    os.close(lock)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == sorted(
        [other.name, open_one.name]
    )


def test_of_two_dispatchers_one_makes_the_run(home, quick_probes, monkeypatch):
    run = request_run(actor=OPERATOR)

    def claim_first(obj, *args, **fields):
        EvidenceRun.objects.filter(pk=run.pk).update(state="running")
        return change_state(obj, *args, **fields)

    monkeypatch.setattr("apps.platform.audit.services.change_state", claim_first)
    assert claim_run(actor=OPERATOR) is None


def test_command_does_not_wait_for_a_run_that_nobody_ends(home, quick_probes, tmp_path):
    """With the plane stopped: one is queued, and one was left by a process that was killed."""
    killed = start_run(actor=OPERATOR)
    EvidenceRun.objects.create(requested_by="schedule")
    run, _ = make_evidence(actor=OPERATOR, target=tmp_path / "evidence")
    states = dict(EvidenceRun.objects.values_list("pk", "state"))
    assert (run.state, states[killed.pk]) == ("succeeded", "running")


def test_full_disk_is_named_and_leaves_nothing(home, quick_probes, tmp_path, monkeypatch):
    def fill(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("apps.site.compliance.folder.writer.fill_folder", fill)
    with pytest.raises(CommandError) as refusal:
        call_command("evidence", out=tmp_path / "out" / "evidence")
    assert refusal.value.returncode == 2
    assert list((tmp_path / "out").iterdir()) == []
    request_run(actor=OPERATOR)
    run_queued(OPERATOR)
    run = EvidenceRun.objects.order_by("-id").first()
    assert (run.folder, run.error != "") == (None, True)


def test_since_is_kept_while_a_verdict_stays(home, quick_probes, tmp_path):
    quick_probes("transport")
    first, _ = make_evidence(actor=OPERATOR, target=tmp_path / "1")
    quick_probes()
    second, _ = make_evidence(actor=OPERATOR, target=tmp_path / "2")
    since = {run.pk: dict(run.results.values_list("clause", "since")) for run in (first, second)}
    assert since[second.pk]["8.1.4.2.b"] == first.started_at
    assert since[second.pk]["8.1.4.1.c"] == second.started_at


def test_sm3_is_signed_beside_sha256_where_it_is_set(home, tmp_path, quick_probes, settings, monkeypatch):
    settings.ENV = settings.ENV.model_copy(update={"evidence_sm3": True})
    target = tmp_path / "evidence"
    make_evidence(actor=OPERATOR, target=target)
    statement = json.loads(base64.b64decode(read(target / "manifest.json")["payload"]))
    digests = {row["name"]: row["digest"] for row in statement["subject"]}
    assert {frozenset(each) for each in digests.values()} == {frozenset({"sha256", "sm3"})}
    assert digests["audit/records.jsonl"]["sm3"] == hash_sm3((target / "audit/records.jsonl").read_bytes()).hex()
    faults, notes = verify.verify_folder(target)
    assert faults == []
    assert any(f"SM3 of {len(digests)} files is the one" in note for note in notes) is verify.has_sm3()
    monkeypatch.setattr(verify, "has_sm3", lambda: False)
    faults, notes = verify.verify_folder(target)
    assert (faults, any(note.startswith("Not checked: the SM3") for note in notes)) == ([], True)


@pytest.mark.skipif(not verify.has_sm3(), reason="this Python's OpenSSL has no SM3")
def test_another_sm3_is_found(tmp_path):
    """The answer of GB/T 32905-2016, A.1, and another one."""
    (tmp_path / "a").write_bytes(b"abc")
    right = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    results = [
        verify.check_sm3(tmp_path, {"subject": [{"name": "a", "digest": {"sha256": "", "sm3": digest}}]})[0]
        for digest in (right, right[::-1])
    ]
    assert results == [[], ["a: its SM3 is not the one that was signed"]]
