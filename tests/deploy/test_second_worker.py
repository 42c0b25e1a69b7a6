"""A worker on another host: a network of its own, joined to the plane's by one cable, and environment variables alone.

The plane's host has PostgreSQL, Redis, an S3-compatible store and the plane without a worker; the other host has the
environment of docs/install.md, section 9. From there the plane's host can be reached, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.rest_client import ApiError, PlaneClient, wait_until_ready
from tests.deploy.compose import ROOT
from tests.deploy.conftest import need_namespaces
from tests.faults.homes import prepare_home
from tests.faults.running import PATIENCE, environment_of
from tests.faults.services import Postgres, Redis, until

HERE, THERE = "198.18.77.1", "198.18.77.2"  # of the block that is kept for such tests
pytestmark = pytest.mark.allow_hosts(["127.0.0.1", HERE])
SPACE, NEAR, FAR = f"plane-{os.getpid()}", f"near{os.getpid()}", f"far{os.getpid()}"
KEYS = {"AWS_ACCESS_KEY_ID": "site", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def there(*command: str, **more) -> list[str]:
    return ["ip", "netns", "exec", SPACE, *command]


@pytest.fixture(scope="module")
def cable():
    """A namespace with one end of a cable, whose other end is here: no route leads any further."""
    need_namespaces("ip", "redis-server")
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", SPACE)
        ip("address", "add", f"{HERE}/30", "dev", NEAR)
        ip("link", "set", NEAR, "up")
        ip("-n", SPACE, "address", "add", f"{THERE}/30", "dev", FAR)
        ip("-n", SPACE, "link", "set", FAR, "up")
        yield
    finally:
        ip("netns", "delete", SPACE)


@pytest.fixture(scope="module")
def inner(cable, tmp_path_factory):
    """What both hosts are told: database, broker and store at the plane's inner address."""
    work = tmp_path_factory.mktemp("services")
    postgres, redis = Postgres(address=HERE), Redis(work / "redis", address=HERE)
    port = 9000
    command = [sys.executable, "-m", "moto.server", "-H", HERE, "-p", str(port)]
    s3 = subprocess.Popen(command, env={**os.environ, **KEYS}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        postgres.sql("CREATE DATABASE plane")
        until(lambda: make_bucket(port), seconds=PATIENCE, what="the S3-compatible store did not start")
        yield {
            "DATABASE_URL": postgres.url("plane"),
            "BROKER_URL": redis.url(0),
            "ARTIFACT_URL": "s3://artifacts",
            "ARTIFACT_S3_ENDPOINT": f"http://{HERE}:{port}",
            **KEYS,
        }
    finally:
        s3.kill()
        redis.stop(hard=True)
        postgres.remove()


def make_bucket(port: int) -> bool:
    command = ["curl", "-sf", "-X", "PUT", f"http://{HERE}:{port}/artifacts"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Of the plane."""
    home = tmp_path_factory.mktemp("plane") / "home"
    home.mkdir()
    return home


@pytest.fixture(scope="module")
def plane(inner, home):
    """The plane's host, with no worker."""
    environment = environment_of(home, **inner)
    token = prepare_home(environment).token
    command = [sys.executable, "manage.py", "up", "--no-migrate", "--only", "web,dispatcher"]
    launcher = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    until((home / "plane.json").exists, seconds=PATIENCE, what="the plane did not start")
    address = json.loads((home / "plane.json").read_text())["address"]
    wait_until_ready(address, seconds=PATIENCE)
    yield PlaneClient(address, token, "demo", patience=30)
    launcher.terminate()
    launcher.wait(timeout=PATIENCE)


@pytest.fixture(scope="module")
def state_without_worker(plane) -> str:
    """The state of a job that was submitted before any worker had been started."""
    job = plane.post("/jobs", {"kind": "noop", "spec": {"steps": 1}})["id"]
    time.sleep(0.5)
    return plane.get(f"/jobs/{job}")["state"]


@pytest.fixture(scope="module")
def worker(plane, inner, state_without_worker, tmp_path_factory):
    """The other host's one process; its home is its own, and empty."""
    home = tmp_path_factory.mktemp("worker") / "home"
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**base, **inner, "PLANE_HOME": str(home), "NODE_NAME": "worker-2", "NODE_CPUS": "2"}
    log = (tmp_path_factory.mktemp("log") / "worker.log").open("wb")
    process = subprocess.Popen(
        there(sys.executable, "manage.py", "worker"), cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    yield home
    process.terminate()
    process.wait(timeout=PATIENCE)


def upload(plane, home: Path, table: bytes) -> str:
    """The digest of the stored table; what the plane's own log says of it, if it refuses."""
    try:
        return plane.call("POST", "/artifacts?name=prices.csv", table, headers={"Content-Type": "text/csv"})["digest"]
    except ApiError as refused:
        logs = sorted(home.glob("logs/web*"))
        raise AssertionError("".join(log.read_text()[-4000:] for log in logs)) from refused


def test_the_variables_are_those_of_the_page(inner):
    page = re.search(r"## 9\..*?```ini\n(.*?)```", (ROOT / "docs/install.md").read_text(), re.DOTALL)
    named = {line.partition("=")[0] for line in page[1].splitlines()}
    secret = {"DATABASE_PASSWORD_FILE", "BROKER_PASSWORD_FILE", "SECRET_KEY_FILE", "AWS_SHARED_CREDENTIALS_FILE"}
    assert named - secret == (set(inner) - set(KEYS)) | {"PLANE_HOME", "NODE_NAME"}


def test_from_there_nothing_but_the_plane_can_be_reached(cable):
    """The kernel itself has no way to anywhere else: not to our own loopback, not to another address of this host."""
    code = "import socket,sys; socket.create_connection((sys.argv[1], 5432), timeout=2)"
    for address in ("192.0.2.1", "8.8.8.8", "127.0.0.1"):
        tried = subprocess.run(there(sys.executable, "-c", code, address), capture_output=True, text=True, check=False)
        assert re.search("Network is unreachable|refused", tried.stderr), tried.stderr
    routes = subprocess.run(there("ip", "route"), capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in routes.splitlines()] == ["198.18.77.0/30"]


def test_a_job_waits_while_there_is_no_worker(state_without_worker):
    assert state_without_worker == "queued"


def test_the_worker_joins_takes_the_job_and_its_result_arrives(plane, home, worker):
    """Only this node can take it, there being no other; input and output pass through the store."""
    table = b"day,price\n" + b"".join(b"%d,%d\n" % (day, 100 + day % 7) for day in range(200))
    digest = upload(plane, home, table)
    job = plane.post("/jobs", {"kind": "clean", "spec": {"window_size": 5}, "inputs": {"table": {"digest": digest}}})[
        "id"
    ]
    done = plane.wait(job, seconds=PATIENCE)
    assert (done["state"], done["node"]) == ("succeeded", "worker-2"), done
    assert done["outputs"]
    assert {node["name"] for node in plane.get("/api/v1/nodes")["items"]} == {"worker-2"}


def test_nothing_of_the_plane_lies_on_its_disk(plane, worker):
    """No database, no key of the trail, no store: the environment was all that it had."""
    assert not list(Path(worker).glob("**/*.sqlite3"))
    assert not (worker / "keys").exists()
    assert not (worker / "artifacts").exists()
