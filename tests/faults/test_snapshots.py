"""Snapshots of a running plane: taken amid jobs, killed, damaged, restored with the recovery key, tried by a drill."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from deepseek.snapshots.keys import parse_recovery_key
from deepseek.snapshots.repository import Repository
from deepseek.snapshots.storage import FolderStorage
from tests.deepseek.conftest import call_main
from tests.faults.dying_command import run_dying
from tests.faults.running import environment_of, manage
from tests.package_files import build_wheel

ROWS = b"a,b\n" + b"1,2\n" * 300_000
SHOW = "import pump, valve; print(pump.__version__, valve.__version__)"
JOBS = 10
SETTINGS = {"NODE_CPUS": str(JOBS + 2)}  # and room for the job of a drill
KEY = re.compile(r"DSRK1-[A-Z2-7-]+")
AGE = (
    "from django.utils import timezone;from datetime import timedelta;"
    "from apps.site.snapshots.models import SnapshotOperation as O;"
    "n=O.objects.filter(state='running').update(beat_at=timezone.now()-timedelta(hours=1));print(n)"
)
ENDED = (
    "import json;from apps.site.snapshots.models import SnapshotOperation as O;"
    "print(json.dumps(list(O.objects.order_by('id').values_list('kind','state'))))"
)
SCRATCH = (
    "import json;from django.db import connection as c;u=c.cursor();"
    "u.execute(\"SELECT datname FROM pg_database WHERE datname LIKE 'restore_drill%'\");"
    "print(json.dumps(u.fetchall()))"
)
WORKBENCH = """
from datetime import timedelta
from django.utils import timezone
from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.models import Experiment, Run
from apps.platform.accounts.models import Project
from apps.platform.nodes.models import Node
from apps.site.snapshots.environments.services import record_environment
from apps.site.snapshots.models import NodeEnvironment
worker, node = build_plane_actor(PlaneRole.WORKER, host="test"), Node.objects.create(name="workbench", host="workbench")
record_environment(actor=worker, node=node, document={"packages": {"pump": "1.0"}})
NodeEnvironment.objects.filter(node=node).update(at=timezone.now() - timedelta(days=9))
record_environment(actor=worker, node=node, document={"packages": {"pump": "1.1", "valve": "2.0"}})
project = Project.objects.get(slug="demo")
experiment = Experiment.objects.get_or_create(project=project, number=0, defaults={"name": "Default"})[0]
Run.objects.create(id="a" * 32, project=project, experiment=experiment, environment={"packages": {"pump": "1.0"}})
print(1)
"""
STATES = (
    "import json;from apps.site.snapshots.models import Snapshot as S;"
    "print(json.dumps(list(S.objects.order_by('id').values_list('state',flat=True))))"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(scope="module")
def plane(shared, repository):
    """(plane, environment, recovery key): data in it, ten jobs at work, and a repository that was prepared."""
    environment = {**shared.environment, "SNAPSHOT_DESTINATIONS": f"main={repository.as_uri()}"}
    digest = shared.plane.call("POST", "/artifacts?name=rows.csv", ROWS, headers={"Content-Type": "text/csv"})["digest"]
    shared.plane.call("POST", "/artifacts?name=notes.txt", b"notes", headers={"Content-Type": "text/plain"})
    shared.ask(WORKBENCH)
    jobs = [shared.submit(kind="noop", spec={"seconds": 6000, "steps": 6000}, needs={"cpus": 1}) for _ in range(JOBS)]
    for job in jobs:
        assert shared.in_the_middle(job, done=1)["state"] == "running"
    prepared = snapshot(environment, "prepare")
    assert prepared.returncode == 0, prepared.stderr
    assert digest not in prepared.stdout
    return shared, environment, KEY.search(prepared.stdout)[0]


def extract_environments(repository, key):
    """What a restore puts into `restored/environments.json`."""
    opened = Repository.open(FolderStorage(repository), recovery_key=parse_recovery_key(key))
    index = opened.read_index(opened.read_snapshot(opened.list_snapshot_ids()[0]))
    return b"".join(opened.read_file(index.files["records/environments.json"]))


def snapshot(environment, *words):
    return manage(environment["PLANE_HOME"], environment, "snapshot", *words)


def list_drill_processes():
    """Processes of planes that drills restored."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NODE_NAME") == "restore-drill":
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def taken(plane, repository):
    """The snapshot that goes through after one whose process was killed while it wrote."""
    shared, environment, _key = plane
    run_dying(environment, "deepseek.snapshots.storage:FolderStorage.flush", 1, "snapshot", "create")
    assert any(repository.glob("staging/*"))
    assert list(repository.glob("snapshots/*")) == []
    assert snapshot(environment, "create").returncode == 2, "one is open"
    assert shared.ask(AGE) == 1
    done = snapshot(environment, "work")  # what the dispatcher starts takes it up again
    assert done.returncode == 0, done.stderr
    done = snapshot(environment, "list", "--json")
    assert shared.ask(STATES) == ["stored"]
    return json.loads(done.stdout)[0]


def test_drill_restores_runs_a_job_and_is_recorded(plane, taken):
    shared, environment, _key = plane
    code = "import json;from apps.platform.audit.models import AuditRecord as R;"
    code += "print(R.objects.filter(action='plane.restore_drill').count())"
    before = shared.ask(code)  # the other test of this plane drills too
    done = snapshot(environment, "drill")
    assert done.returncode == 0, done.stderr
    assert "job: succeeded" in done.stdout
    assert re.search(r"[1-9]\d* artifacts hashed", done.stdout)
    assert shared.ask(code) == before + 1
    assert not list(Path(environment["PLANE_HOME"], "drill").iterdir())
    assert "succeeded" in snapshot(environment, "list").stdout


def test_killed_verification_drill_and_removal_are_taken_up_again(plane, taken, repository, services):
    """Nothing of a killed drill goes on or stays, and what a removal had not freed is freed by its next attempt."""
    shared, environment, _key = plane
    number, before = taken["number"], [len(list(repository.glob(each))) for each in ("snapshots/*", "objects/*/*")]
    assert snapshot(environment, "create").returncode == 0
    second = json.loads(snapshot(environment, "list", "--json").stdout)[-1]["number"]
    for place, count, *words in (
        ("deepseek.snapshots.repository:Repository.read_object", 4, "verify", number),
        ("workers.snapshots.progress:Progress.check", 6, "drill", number),
        ("deepseek.snapshots.repository:Repository.collect", 1, "remove", second),
    ):
        run_dying(environment, place, count, "snapshot", *map(str, words))
        assert shared.ask(AGE) == 1
    assert list(Path(environment["PLANE_HOME"], "drill").iterdir()) != []
    done = snapshot(environment, "work")
    assert done.returncode == 0, done.stderr
    assert sorted(shared.ask(ENDED)[-3:]) == [["drill", "succeeded"], ["remove", "succeeded"], ["verify", "succeeded"]]
    assert [len(list(repository.glob(each))) for each in ("snapshots/*", "objects/*/*")] <= before
    assert list(Path(environment["PLANE_HOME"], "drill").iterdir()) == []
    assert list_drill_processes() == []
    if services:
        assert shared.ask(SCRATCH) == []


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
    run_dying(environment, "apps.site.snapshots.restore:store_object", 2, "snapshot", *words)
    assert any(home.glob("artifacts/sha256/*/*"))
    done = snapshot(environment, *words)
    assert done.returncode == 0, done.stderr
    assert "Its audit trail is whole" in done.stdout
    restored = json.loads((home / "restored" / "environments.json").read_text())
    assert restored["faulty"]["packages"]["django"]
    assert "SECRET_KEY" in (home / "restored" / "configuration.json").read_text()
    assert "only the processes" not in (home / "restored" / "configuration.json").read_text()
    verified = manage(home, environment, "verify_audit", "--json")
    assert json.loads(verified.stdout)["sealed"] > 0
    with closing(sqlite3.connect(home / "plane.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM jobs_job WHERE state = 'running'").fetchone() == (JOBS,)


@pytest.mark.once_on_sqlite
def test_environments_are_compared_and_rebuilt_from_snapshot_and_mirror(plane, taken, repository, tmp_path):
    """By the command line alone, as on the host that takes the place of a lost one."""
    shared, environment, key = plane
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheels = [build_wheel(folder, *each) for each in (("pump", "1.0"), ("pump", "1.1"), ("valve", "2.0"))]
    lines = (f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" for wheel in wheels)
    (folder / "SHA256SUMS").write_text("".join(lines))
    published = manage(environment["PLANE_HOME"], environment, "publish_wheels", str(folder))
    assert published.returncode == 0, published.stderr
    user = {"DEEPSEEK_URL": shared.plane.address, "DEEPSEEK_TOKEN": shared.token, "DEEPSEEK_PROJECT": "demo"}

    def run(*words):
        done = call_main(["environment", *map(str, words)], tmp_path, {**user, "HOME": str(tmp_path)})
        return done.returncode, done.stdout + done.stderr

    day = (datetime.now(UTC) - timedelta(days=5)).date()
    for left, right, differing in (
        ("node:workbench", "node:workbench", 0),
        (f"node:workbench@{day}", "node:workbench", 2),
        ("run:" + "a" * 32, "node:workbench", 1),
        ("run:" + "a" * 32, f"node:workbench@{day}", 0),
    ):
        code, printed = run("diff", left, right)
        assert (code, printed.splitlines()[-1].split()[0]) == (min(differing, 1), str(differing)), printed
    code, printed = run("diff", "node:workbench", "here")
    assert (code, "valve" in printed) == (1, True)
    assert run("diff", "node:nobody", "here")[0] == 2

    file = tmp_path / "environments.json"
    extracted = extract_environments(repository, key)
    file.write_bytes(extracted)
    index = f"{shared.plane.address}/simple"
    restore = ("restore", file, "--index-url", index, "--into")
    code, printed = run(*restore, tmp_path / "new", "--node", "workbench")
    assert (code, "holds the environment" in printed) == (0, True), printed
    shown = subprocess.run([tmp_path / "new/bin/python", "-Ic", SHOW], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["1.1", "2.0"]
    code, printed = run("restore", f"node:workbench@{day}", "--index-url", index, "--into", tmp_path / "before")
    assert code == 0, printed
    code, printed = run(*restore, tmp_path / "all", "--node", "faulty")
    assert (code, (tmp_path / "all").exists()) == (2, False), printed  # the mirror has three wheels only
    assert "No matching distribution" in printed


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
