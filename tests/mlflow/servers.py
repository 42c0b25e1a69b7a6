"""The two servers that the tests speak to: a plane of their own, and the reference, a real `mlflow server`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from apps.core.token_scopes import SCOPES
from tests.ports import find_free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds until a server answers: its first start compiles what it imports
NOT_AN_ENGINEERS = {"approvals:decide", "audit:read", "metrics:read"}
KEPT = ("PATH", "LANG", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


@dataclass(frozen=True)
class Server:
    address: str
    token: str = ""  # an engineer's, of the project "demo"; the reference asks for none
    viewer: str = ""  # of somebody who may only look
    other: str = ""  # an engineer's, of another project
    fresh: str = ""  # an engineer's, of a project that nothing has been recorded in
    pid: int = 0  # the first of its processes

    @property
    def fresh_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.fresh}"} if self.fresh else {}


def plain_environment(**more: str) -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT if name in os.environ} | more


# -- the plane ------------------------------------------------------------------------------------------------------
# Tables, people, projects and tokens, in one process: each start of Django costs seconds.
PREPARE = """
import json
from django.core.management import call_command
from apps.platform.accounts.models import Membership, Project, User
from apps.platform.accounts.services import create_token
from apps.core.actors import PlaneRole, ProjectRole, build_plane_actor

call_command("migrate", verbosity=0)
operator = build_plane_actor(PlaneRole.OPERATOR)
engineer, viewer = (User.objects.create(username=name, must_change_password=False) for name in ("engineer", "onlooker"))
projects = {slug: Project.objects.create(slug=slug, name=slug) for slug in ("demo", "other", "fresh")}
for project in projects.values():
    Membership.objects.create(project=project, user=engineer, role=ProjectRole.ENGINEER)
Membership.objects.create(project=projects["demo"], user=viewer, role=ProjectRole.VIEWER)
tokens = [
    create_token(actor=operator, project=projects[slug], user=user, name="test", scopes=scopes)[1]
    for user, slug, scopes in (
        (engineer, "demo", SCOPES), (viewer, "demo", ["read"]), (engineer, "other", SCOPES), (engineer, "fresh", SCOPES)
    )
]
print(json.dumps(tokens))
"""


def prepared(environment: dict[str, str]) -> list[str]:
    """The tokens of a new plane: the engineer's, the viewer's, and the engineer's of two more projects."""
    scopes = [scope for scope in SCOPES if scope not in NOT_AN_ENGINEERS]
    command = [sys.executable, str(ROOT / "manage.py"), "shell", "--no-imports", "-c", f"SCOPES = {scopes}\n{PREPARE}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def plane(home: Path, *, parts: str = "web", **settings: str) -> Iterator[Server]:
    """A plane in `home` with some of its parts."""
    home.mkdir(exist_ok=True)
    environment = plain_environment(HOME=str(home), PLANE_HOME=str(home), PORT="0", **settings)
    tokens = prepared(environment)
    command = [sys.executable, str(ROOT / "manage.py"), "up", "--no-migrate", "--only", parts]
    with running(command, home / "up.log", environment, cwd=ROOT) as process:
        wait(process, lambda: (home / "plane.json").exists(), home / "up.log")
        address = json.loads((home / "plane.json").read_text())["address"]
        wait(process, lambda: answers(f"{address}/healthz"), home / "up.log")
        yield Server(address, *tokens, pid=process.pid)


@contextmanager
def database(url: str) -> Iterator[dict[str, str]]:
    """The settings of a database of its own on the server of `url`; none, thus SQLite, without one."""
    if not url.startswith("postgres"):
        yield {}
        return
    import psycopg

    name = f"mlflow_{os.getpid()}_{find_free_port()}"
    with psycopg.connect(f"{url.rsplit('/', 1)[0]}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield {"DATABASE_URL": f"{url.rsplit('/', 1)[0]}/{name}"}
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


# -- the reference --------------------------------------------------------------------------------------------------
@contextmanager
def reference(folder: Path, made: Path, *, store: str = "", workers: int = 1, loop: str = "") -> Iterator[Server]:
    """`mlflow server` of the environment `made`; SQLite in `folder` unless `store` is the address of a database."""
    folder.mkdir(exist_ok=True)
    port = find_free_port()
    environment = plain_environment(
        HOME=str(folder),
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # eight more processes, for what is not asked here
    )
    environment["PATH"] = f"{made / 'bin'}:{environment.get('PATH', '')}"
    command = [str(made / "bin/mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", store or f"sqlite:///{folder}/mlflow.db", "--workers", str(workers)]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    if loop:
        command += ["--uvicorn-opts", loop]
    address = f"http://127.0.0.1:{port}"
    with running(command, folder / "server.log", environment, cwd=folder) as process:
        wait(process, lambda: answers(f"{address}/health"), folder / "server.log")
        yield Server(address, pid=process.pid)


# -- both -----------------------------------------------------------------------------------------------------------
@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=written, stderr=written, start_new_session=True
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            finish(process.pid)


def finish(group: int) -> None:
    """Ends what a server left running of its own group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait(process: subprocess.Popen[bytes], condition, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(log.read_text())
        time.sleep(0.1)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
