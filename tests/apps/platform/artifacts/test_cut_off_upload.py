"""A client that goes away in mid-body, against the real web server: nothing is published, nothing is left."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from apps.core.canonical import sha256_hex
from tests.ports import find_free_port
from tests.template_database import copy_sqlite_template

ROOT = Path(__file__).parents[4]
DATA = b"weights " * 500_000  # 4 MB
HALF = DATA[: len(DATA) // 2]
TOKEN = "dso_" + secrets.token_urlsafe(32)
SETUP = f"""
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("createcachetable")
from datetime import timedelta
from django.utils import timezone
from apps.platform.accounts.models import ApiToken, Membership, Project, User
project = Project.objects.create(slug="demo", name="Demo")
user = User.objects.create(username="sender", must_change_password=False)
Membership.objects.create(project=project, user=user, role="engineer")
ApiToken.objects.create(project=project, user=user, name="t", prefix="dso_", digest={sha256_hex(TOKEN)!r},
    scopes=["read", "data:write"], expires_at=timezone.now() + timedelta(days=1))
"""


@pytest.fixture
def web(server):
    """(port, home) of the server, with an empty store."""
    shutil.rmtree(server[1] / "artifacts", ignore_errors=True)
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory, django_db_setup):
    """One gunicorn with a home of its own; on SQLite its database begins as a copy of the migrated template."""
    home = tmp_path_factory.mktemp("home")
    if connection.vendor == "sqlite":
        copy_sqlite_template(settings.PLANE_HOME, home / "plane.sqlite3")
    env = {
        **os.environ,
        "PLANE_HOME": str(home),
        "DATABASE_URL": "",
        "BROKER_URL": "",
        "UPLOAD_LIMIT_BYTES": "10000000",
    }
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", SETUP]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    port = find_free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-k",
        "controlplane.keepalive_worker.BoundedThreads",
        "-w",
        "1",
        "--threads",
        "4",
        "-b",
        f"127.0.0.1:{port}",
    ]
    process = subprocess.Popen([*command, "controlplane.wsgi"], cwd=ROOT, env=env, start_new_session=True)
    wait_for(lambda: answers(port))
    yield port, home
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def begin(port, *headers):
    """An upload whose digest the server does not know, so that only the length tells a whole body from half of one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.putrequest("POST", "/api/v1/projects/demo/artifacts")
    for name, value in [("Authorization", f"Bearer {TOKEN}"), *headers]:
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def published(home):
    return list((home / "artifacts").glob("sha256/*/*"))


def staged(home):
    return sorted(path.stat().st_size for path in (home / "artifacts" / "staging").glob("*"))


@pytest.mark.parametrize(
    ("headers", "sent"),
    [([("Content-Length", str(len(DATA)))], HALF), ([("Transfer-Encoding", "chunked")], chunk(HALF))],
    ids=["length", "chunked"],
)
def test_a_client_that_goes_away_publishes_nothing(web, headers, sent):
    port, home = web
    connection = begin(port, *headers)
    connection.send(sent)
    wait_for(lambda: staged(home))
    connection.sock.close()
    wait_for(lambda: not staged(home))
    assert published(home) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [([("Transfer-Encoding", "chunked")], 413), ([("Content-Length", "10000001")], 413), ([], 411)],
)
def test_above_the_limit_the_answer_comes(web, headers, status):
    port, home = web
    connection = begin(port, *headers)
    if headers and headers[0][1] == "chunked":
        for _ in range(3):
            connection.send(chunk(DATA))
    assert connection.getresponse().status == status
    assert (published(home), staged(home)) == ([], [])


def test_a_chunked_body_arrives_whole(web):
    port, home = web
    connection = begin(port, ("Transfer-Encoding", "chunked"))
    data = DATA + b"that no other test here has sent"
    connection.send(chunk(HALF) + chunk(data[len(HALF) :]) + b"0\r\n\r\n")
    assert connection.getresponse().status == 201
    assert [path.read_bytes() == data for path in published(home)] == [True]
    assert staged(home) == []


def test_equal_uploads_at_once_are_one_artifact(web):
    port, home = web

    def send(_):
        connection = begin(port, ("Content-Length", str(len(DATA))))
        connection.send(DATA)
        answer = connection.getresponse()
        return answer.status, answer.read()

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(send, range(4)))
    assert {status for status, _ in answers} <= {200, 201}
    assert len({body for _, body in answers}) == 1
    assert (len(published(home)), staged(home)) == (1, [])
