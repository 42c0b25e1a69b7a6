"""The real clients, git and git-lfs, against a running plane: its web process, its worker, its own port."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.rest_client import PlaneClient
from tests.faults.conftest import counter, services, template  # noqa: F401  fixtures
from tests.faults.running import ROOT, Running, environment_of

CHECK_LIMIT = 1_000_000  # bytes of a table that a push is checked with while it waits
PATIENCE = 240.0  # seconds until a web process answers: the machine may be busy
CLIENTS = shutil.which("git") and shutil.which("git-lfs")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("git"))
            if not CLIENTS:
                item.add_marker(pytest.mark.skip(reason="git or git-lfs is not installed on this machine"))


class Web(Running):
    """A plane of which only some parts run: these tests ask its web process."""

    parts = "web"

    def start(self) -> None:
        (self.home / "plane.json").unlink(missing_ok=True)
        command = [sys.executable, str(ROOT / "manage.py"), "up", "--no-migrate", "--only", self.parts]
        with (self.home / "up.log").open("ab") as log:
            self.launcher = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while not (self.home / "plane.json").exists():
            assert self.launcher.poll() is None, (self.home / "up.log").read_text()
            assert time.monotonic() < deadline, (self.home / "up.log").read_text()
            time.sleep(0.1)
        self.plane = PlaneClient(self.facts()["address"], self.token, "demo", patience=PATIENCE)
        self.plane.get("/healthz")


def start_plane(home, template, services, parts: str = "web", **more: str) -> Web:  # noqa: F811
    """A plane in `home`, with a database of its own where the run is one with services."""
    source, token = template
    shutil.copytree(source, home)
    if services:
        postgres, redis = services
        number = next(counter)
        postgres.sql(f"CREATE DATABASE plane_{number} TEMPLATE template_plane")
        more |= {"DATABASE_URL": postgres.url(f"plane_{number}"), "BROKER_URL": redis.url(number % 16)}
    web = type("Parts", (Web,), {"parts": parts})
    return web(home, environment_of(home, **more), token)


@pytest.fixture(scope="session")
def plane(tmp_path_factory, template, services):  # noqa: F811
    """The web process that most of these tests share; each takes a dataset of its own."""
    home = tmp_path_factory.mktemp("plane") / "home"
    running = start_plane(home, template, services, CHECK_LIMIT_BYTES=str(CHECK_LIMIT))
    yield running
    running.kill_everything()


@pytest.fixture(scope="session")
def small_plane(tmp_path_factory, template, services):  # noqa: F811
    """A plane with worker and dispatcher. Every check is left to a job, and a project may hold 300,000 bytes."""
    home = tmp_path_factory.mktemp("small") / "home"
    limits = {"CHECK_LIMIT_BYTES": "0", "PROJECT_QUOTA_BYTES": "300000", "WEB_WORKERS": "1"}
    limits["GIT_UNPACKED_LIMIT_BYTES"] = str(2 << 20)
    running = start_plane(home, template, services, parts="web,worker,dispatcher", **limits)
    yield running
    running.kill_everything()


NEW_TOKEN = """
import json, secrets
from datetime import timedelta
from django.utils import timezone
from apps.platform.accounts.models import ApiToken, Membership, Project, User
from apps.core.canonical import sha256_hex
project = Project.objects.get(slug="demo")
user, _ = User.objects.get_or_create(username="{name}", defaults=dict(password="!", must_change_password=False))
Membership.objects.get_or_create(project=project, user=user, role="{role}")
secret = "dso_" + secrets.token_urlsafe(32)
ApiToken.objects.create(project=project, user=user, name="t", prefix=secret[:12], digest=sha256_hex(secret),
    scopes={scopes}, expires_at=timezone.now() + timedelta(days=1))
print(json.dumps(secret))
"""


@pytest.fixture(scope="session")
def tokens(plane):
    """tokens("viewer") -> a token of that person, who is made where there is none; all but the viewer are engineers."""
    made = {"engineer": plane.token}

    def of(name: str) -> str:
        if name not in made:
            role, scopes = ("viewer", ["read"]) if name == "viewer" else ("engineer", ["read", "data:write"])
            made[name] = plane.ask(NEW_TOKEN.format(name=name, role=role, scopes=scopes))
        return made[name]

    return of


class Client:
    """A folder with a clone, and an environment of its own: no configuration of this machine is read."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        (home / ".gitconfig").write_text(
            "[user]\nname = Wei\nemail = wei@example.com\n[init]\ndefaultBranch = main\n"
            '[filter "lfs"]\nclean = git-lfs clean -- %f\nsmudge = git-lfs smudge -- %f\n'
            'process = git-lfs filter-process\nrequired = true\n[lfs "transfer"]\nmaxretries = 2\n'
        )
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_TERMINAL_PROMPT": "0", "LANG": "C.UTF-8"}
        self.at = home

    def run(self, *words: str, status: int | None = 0, **env: str) -> str:
        """git WORDS; what it printed, both streams."""
        done = subprocess.run(
            ["git", *words],
            cwd=self.at,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        said = done.stdout + done.stderr
        assert status is None or done.returncode == status or (status != 0 and done.returncode != 0), said
        return said

    def clone(self, url: str, to: str = "clone") -> Client:
        self.run("clone", url, to)
        other = Client.__new__(Client)
        other.home, other.env, other.at = self.home, self.env, self.at / to
        return other

    def write(self, path: str, data: bytes) -> Path:
        file = self.at / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def commit(self, message: str = "a change", *paths: str) -> str:
        self.run("add", *(paths or ("-A",)))
        self.run("commit", "-m", message)
        return self.run("rev-parse", "HEAD").strip()


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path / "person")


@pytest.fixture
def url(plane, tokens):
    """url("wti", "viewer", project="demo") -> the address that this person clones."""

    def of(name: str, who: str = "engineer", project: str = "demo") -> str:
        scheme, _, rest = plane.facts()["address"].partition("://")
        secret = who if who.startswith("dso_") else tokens(who)
        return f"{scheme}://{'git'}:{secret}@{rest}/git/{project}/{name}.git"

    return of


@pytest.fixture
def uploaded(plane):
    """uploaded("wti", bytes) -> the version that REST makes of a CSV file."""

    def put(name: str, data: bytes, note: str = "") -> dict:
        path = f"/datasets/{name}/versions" + (f"?note={note}" if note else "")
        return plane.plane.call("POST", path, data, headers={"Content-Type": "text/csv"})

    return put
