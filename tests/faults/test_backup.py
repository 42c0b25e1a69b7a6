"""A backup of a running plane, and the plane that is restored from it: every digest, the audit trail, and new jobs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.faults.running import PATIENCE, Running, environment_of, manage

ROWS = b"a,b\n1,2\n3,4\n"
JOB = {"kind": "noop", "spec": {"steps": 2, "echo": "kept"}}


@pytest.fixture(scope="module")
def backed_up(shared, tmp_path_factory):
    """(plane, folder): a plane with data and a finished job, backed up while another job runs."""
    digest = shared.plane.call("POST", "/artifacts?name=rows.csv", ROWS, headers={"Content-Type": "text/csv"})["digest"]
    shared.plane.wait(shared.submit(**JOB), seconds=PATIENCE)
    shared.in_the_middle(shared.submit(kind="noop", spec={"seconds": 60, "steps": 600}), done=1)
    folder = tmp_path_factory.mktemp("backups") / "one"
    done = manage(shared.home, shared.environment, "backup", str(folder))
    assert done.returncode == 0, done.stderr
    return shared, folder, digest


def restore(environment, folder):
    return manage(environment["PLANE_HOME"], environment, "restore", str(folder))


@pytest.fixture(scope="module")
def restored(backed_up, services, tmp_path_factory):
    """(environment, refusals, done) of an empty plane: a damaged backup is refused twice, then the intact one goes in.

    `refusals`: {"object" or "database": the restore of a copy in which one byte of that differs}.
    """
    _, folder, digest = backed_up
    home, more = tmp_path_factory.mktemp("restored") / "home", {}
    home.mkdir()
    if services:
        services[0].sql("CREATE DATABASE restored")
        more = {"DATABASE_URL": services[0].url("restored"), "BROKER_URL": services[1].url(15)}
    environment = environment_of(home, **more)
    refusals = {}
    for part in ("object", "database"):
        damaged = tmp_path_factory.mktemp("damaged") / part
        subprocess.run(["cp", "-r", str(folder), str(damaged)], check=True)
        victim = damaged / f"artifacts/{digest[:2]}/{digest}" if part == "object" else next(damaged.glob("database.*"))
        victim.chmod(0o600)
        victim.write_bytes(victim.read_bytes()[:-1] + b"\x07")
        refusals[part] = restore(environment, damaged)
    return environment, refusals, restore(environment, folder)


def test_backup_verifies_without_our_code(backed_up):
    _, folder, digest = backed_up
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert digest in (folder / "SHA256SUMS").read_text()
    assert folder.stat().st_mode & 0o077 == 0


def test_backup_is_recorded_in_audit_trail(backed_up):
    plane, folder, _ = backed_up
    code = "import json;from apps.platform.audit.models import AuditRecord as R;"
    names = plane.ask(code + "print(json.dumps([r.object_id for r in R.objects.filter(action='plane.backup')]))")
    assert str(folder) in names


def test_second_backup_links_unchanged_objects(backed_up):
    plane, folder, digest = backed_up
    second = folder.with_name("two")
    done = manage(plane.home, plane.environment, "backup", str(second), "--since", str(folder))
    assert done.returncode == 0, done.stderr
    place = f"artifacts/{digest[:2]}/{digest}"
    assert (second / place).stat().st_ino == (folder / place).stat().st_ino


def test_backup_never_overwrites_a_folder(backed_up):
    plane, folder, _ = backed_up
    done = manage(plane.home, plane.environment, "backup", str(folder))
    assert (done.returncode, "exists already" in done.stderr) == (2, True)


def test_restored_plane_keeps_tokens_and_bytes_and_runs_jobs(backed_up, restored):
    """The old token works, every byte is there, jobs run, and the audit trail continues the old one."""
    plane, folder, digest = backed_up
    environment, _, done = restored
    assert done.returncode == 0, f"a restore that was refused can be repeated: {done.stderr}"
    assert "Its audit trail is whole" in done.stdout
    again = Running(Path(environment["PLANE_HOME"]), environment, plane.token)
    try:
        digests = [each["digest"] for each in again.plane.get("/artifacts")["items"]]
        assert digest in digests
        assert again.plane.wait(again.submit(**JOB), seconds=PATIENCE)["state"] == "succeeded"
        verified = manage(again.home, environment, "verify_audit", "--json")
        sealed = json.loads((folder / "manifest.json").read_text())["audit"]["seq"]
        assert json.loads(verified.stdout)["sealed"] > sealed
    finally:
        again.stop()
        again.kill_everything()


def test_restore_into_a_plane_with_data_is_refused(backed_up):
    plane, folder, _ = backed_up
    done = restore(plane.environment, folder)
    assert done.returncode == 2
    assert "not empty" in done.stderr


@pytest.mark.parametrize("part", ["database", "object"])
def test_changed_byte_is_refused(restored, part):
    done = restored[1][part]
    assert (done.returncode, "is not what it was" in done.stderr) == (2, True), done.stderr
