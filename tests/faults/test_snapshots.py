"""Snapshots of a running plane: taken amid jobs, killed, damaged, restored with the recovery key, tried by a drill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.running import PATIENCE, ROOT, environment_of, manage

ROWS = b"a,b\n" + b"1,2\n" * 300_000
KEY = re.compile(r"DSRK1-[A-Z2-7-]+")
AGE = (
    "from django.utils import timezone;from datetime import timedelta;"
    "from apps.site.snapshots.models import SnapshotOperation as O;"
    "n=O.objects.filter(state='running').update(beat_at=timezone.now()-timedelta(hours=1));print(n)"
)
STATES = (
    "import json;from apps.site.snapshots.models import Snapshot as S;"
    "print(json.dumps(list(S.objects.order_by('id').values_list('state',flat=True))))"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def plane(shared, repository):
    """(plane, environment, recovery key): data in it, four jobs at work, and a repository that was prepared."""
    environment = {**shared.environment, "SNAPSHOT_DESTINATIONS": f"main={repository.as_uri()}"}
    digest = shared.plane.call("POST", "/artifacts?name=rows.csv", ROWS, headers={"Content-Type": "text/csv"})["digest"]
    jobs = [shared.submit(kind="noop", spec={"seconds": 300, "steps": 3000}, needs={"cpus": 1}) for _ in range(4)]
    shared.in_the_middle(jobs[0], done=1)
    prepared = snapshot(environment, "prepare")
    assert prepared.returncode == 0, prepared.stderr
    assert digest not in prepared.stdout
    return shared, environment, KEY.search(prepared.stdout)[0]


def snapshot(environment, *words):
    return manage(environment["PLANE_HOME"], environment, "snapshot", *words)


def kill_in_the_middle(environment, words, is_begun):
    """Start the command and kill it with all that it started, as soon as `is_begun`."""
    command = [sys.executable, str(ROOT / "manage.py"), "snapshot", *words]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not is_begun() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)


@pytest.fixture(scope="module")
def taken(plane, repository):
    """The snapshot that goes through after one whose process was killed while it wrote."""
    shared, environment, _key = plane
    kill_in_the_middle(environment, ["create"], lambda: any(repository.glob("staging/*")))
    assert list(repository.glob("snapshots/*")) == []
    assert snapshot(environment, "create").returncode == 2, "one is open"
    shared.ask(AGE)
    done = snapshot(environment, "list", "--json")
    while json.loads(done.stdout) == []:  # whoever comes first takes it up again: `work` is what the dispatcher starts
        done = snapshot(environment, "work")
        assert done.returncode == 0, done.stderr
        done = snapshot(environment, "list", "--json")
    assert shared.ask(STATES) == ["stored"]
    return json.loads(done.stdout)[0]


def test_drill_restores_runs_a_job_and_is_recorded(plane, taken):
    shared, environment, _key = plane
    done = snapshot(environment, "drill")
    assert done.returncode == 0, done.stderr
    assert "job: succeeded" in done.stdout
    assert re.search(r"[1-9]\d* artifacts hashed", done.stdout)
    code = "import json;from apps.platform.audit.models import AuditRecord as R;"
    assert shared.ask(code + "print(R.objects.filter(action='plane.restore_drill').count())") == 1
    assert not list(Path(environment["PLANE_HOME"], "drill").iterdir())
    assert "succeeded" in snapshot(environment, "list").stdout


@pytest.mark.once_on_sqlite
def test_flipped_bit_is_found_and_the_next_snapshot_heals_it(plane, taken, repository):
    _shared, environment, _key = plane
    victim = max(repository.glob("objects/*/*"), key=lambda path: path.stat().st_size)
    whole = bytearray(victim.read_bytes())
    whole[len(whole) // 2] ^= 1
    victim.write_bytes(whole)
    done = snapshot(environment, "verify", str(taken["number"]))
    assert (done.returncode, "damaged" in done.stderr) == (1, True), done.stderr
    assert snapshot(environment, "create").returncode == 0
    assert snapshot(environment, "verify", str(taken["number"])).returncode == 0


@pytest.mark.once_on_sqlite
def test_recovery_key_brings_the_plane_back_after_a_killed_restore(plane, taken, repository, services, tmp_path):
    _shared, _environment, key = plane
    file = tmp_path / "key"
    file.write_text(f"{key.lower()}\n")
    home, more = tmp_path / "home", {}
    home.mkdir()
    if services:
        services[0].sql("CREATE DATABASE restored_snapshot")
        more = {"DATABASE_URL": services[0].url("restored_snapshot"), "BROKER_URL": services[1].url(14)}
    environment = environment_of(home, **more)
    source = ["--from", str(repository), "--recovery-key-file"]
    file.with_name("wrong").write_text(key[:-1] + ("A" if key[-1] != "A" else "B"))
    assert snapshot(environment, "restore", *source, str(file.with_name("wrong"))).returncode == 2
    refused = snapshot(environment, "restore", "--from", str(repository))
    assert (refused.returncode, "snapshot_key_missing" in refused.stderr) == (2, True)
    words = ["restore", *source, str(file)]
    kill_in_the_middle(environment, words, lambda: any(home.glob("artifacts/sha256/*/*")))
    done = snapshot(environment, *words)
    assert done.returncode == 0, done.stderr
    assert "Its audit trail is whole" in done.stdout
    restored = json.loads((home / "restored" / "environments.json").read_text())
    assert restored["faulty"]["packages"]["django"]
    assert "SECRET_KEY" in (home / "restored" / "configuration.json").read_text()
    assert "only the processes" not in (home / "restored" / "configuration.json").read_text()
    verified = manage(home, environment, "verify_audit", "--json")
    assert json.loads(verified.stdout)["sealed"] > 0


@pytest.mark.once_on_sqlite
def test_removal_frees_what_only_it_needed(plane, taken, repository):
    _shared, environment, _key = plane
    assert snapshot(environment, "create").returncode == 0
    numbers = [row["number"] for row in json.loads(snapshot(environment, "list", "--json").stdout)]
    done = snapshot(environment, "remove", str(max(numbers)))
    assert done.returncode == 0, done.stderr
    left = [row["number"] for row in json.loads(snapshot(environment, "list", "--json").stdout)]
    assert sorted(left) == sorted(numbers)[:-1]
    assert snapshot(environment, "verify", str(taken["number"])).returncode == 0
