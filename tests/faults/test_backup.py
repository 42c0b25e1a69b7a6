"""A backup of a running plane, and the plane that comes of it elsewhere: every digest, the trail, and it goes on."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.faults.running import Running, environment_of, manage

ROWS = b"a,b\n1,2\n3,4\n"
JOB = {"kind": "noop", "spec": {"steps": 2, "echo": "kept"}}


@pytest.fixture(scope="module")
def backed_up(shared, tmp_path_factory):
    """(plane, folder): a plane with data and a job done, backed up while another job runs."""
    digest = shared.plane.call("POST", "/artifacts?name=rows.csv", ROWS, headers={"Content-Type": "text/csv"})["digest"]
    shared.plane.wait(shared.submit(**JOB), seconds=60)
    shared.in_the_middle(shared.submit(kind="noop", spec={"seconds": 60, "steps": 600}), done=1)
    folder = tmp_path_factory.mktemp("backups") / "one"
    done = manage(shared.home, shared.environment, "backup", str(folder))
    assert done.returncode == 0, done.stderr
    return shared, folder, digest


@pytest.fixture(scope="module")
def empty(services, tmp_path_factory):
    """empty() -> the environment of a plane that has nothing yet, with a database of its own."""
    made = []

    def environment() -> dict[str, str]:
        home, more = tmp_path_factory.mktemp("restored") / "home", {}
        home.mkdir()
        made.append(home)
        if services:
            services[0].sql(f"CREATE DATABASE restored_{len(made)}")
            more = {"DATABASE_URL": services[0].url(f"restored_{len(made)}"), "BROKER_URL": services[1].url(15)}
        return environment_of(home, **more)

    return environment


def restore(environment, folder):
    return manage(environment["PLANE_HOME"], environment, "restore", str(folder))


def test_a_backup_verifies_itself_without_us(backed_up):
    _, folder, digest = backed_up
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert digest in (folder / "SHA256SUMS").read_text()
    assert folder.stat().st_mode & 0o077 == 0


def test_it_is_recorded(backed_up):
    plane, folder, _ = backed_up
    code = "import json;from apps.audit.models import AuditRecord as R;"
    names = plane.ask(code + "print(json.dumps([r.object_id for r in R.objects.filter(action='plane.backup')]))")
    assert str(folder) in names


def test_a_second_one_links_what_the_first_has(backed_up, tmp_path_factory):
    plane, folder, digest = backed_up
    second = folder.with_name("two")
    done = manage(plane.home, plane.environment, "backup", str(second), "--since", str(folder))
    assert done.returncode == 0, done.stderr
    place = f"artifacts/{digest[:2]}/{digest}"
    assert (second / place).stat().st_ino == (folder / place).stat().st_ino


def test_a_folder_that_exists_is_not_written_over(backed_up):
    plane, folder, _ = backed_up
    done = manage(plane.home, plane.environment, "backup", str(folder))
    assert (done.returncode, "exists already" in done.stderr) == (2, True)


def test_the_restored_plane_goes_on(backed_up, empty):
    """It answers the old token, has every byte, runs jobs, and its trail is the old one and longer."""
    plane, folder, digest = backed_up
    environment = empty()
    done = restore(environment, folder)
    assert done.returncode == 0, done.stderr
    assert "Its audit trail is whole" in done.stdout
    restored = Running(plane.home.__class__(environment["PLANE_HOME"]), environment, plane.token)
    try:
        held = [each["digest"] for each in restored.plane.get("/artifacts")["items"]]
        assert digest in held
        assert restored.plane.wait(restored.submit(**JOB), seconds=60)["state"] == "succeeded"
        verified = manage(restored.home, environment, "verify_audit", "--json")
        sealed = json.loads((folder / "manifest.json").read_text())["audit"]["seq"]
        assert json.loads(verified.stdout)["sealed"] > sealed
    finally:
        restored.stop()
        restored.kill_everything()


def test_a_plane_that_is_not_empty_is_refused(backed_up):
    plane, folder, _ = backed_up
    done = restore(plane.environment, folder)
    assert done.returncode == 2
    assert "not empty" in done.stderr


@pytest.mark.parametrize("part", ["database", "object"])
def test_a_byte_that_changed_is_found(backed_up, empty, tmp_path, part):
    _, folder, digest = backed_up
    spoilt = tmp_path / "spoilt"
    subprocess.run(["cp", "-r", str(folder), str(spoilt)], check=True)
    victim = spoilt / f"artifacts/{digest[:2]}/{digest}" if part == "object" else next(spoilt.glob("database.*"))
    victim.chmod(0o600)
    victim.write_bytes(victim.read_bytes()[:-1] + b"\x07")
    environment = empty()
    done = restore(environment, spoilt)
    assert (done.returncode, "is not what it was" in done.stderr) == (2, True), done.stderr
    assert restore(environment, folder).returncode == 0, "a restore that broke off can be run again"
