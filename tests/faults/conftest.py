"""One migrated template per session, copied per test; the mode is that of the run: embedded, or services if
DATABASE_URL is set. The services are our own, so that a test may kill them."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil

import psutil
import pytest

from deepseek.job import Silent
from deepseek.noop.run import run
from deepseek.noop.spec import NoopSpec
from tests.faults.running import Running, environment_of, manage
from tests.faults.services import Postgres, Redis
from tests.faults.spec import SPEC

MODE = "services" if os.environ.get("DATABASE_URL", "").startswith("postgres") else "embedded"

collect_ignore = ["test_restart_services.py"] if MODE == "embedded" else []


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/faults" in str(item.path):
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """(PostgreSQL, Redis) in the mode "services", None otherwise."""
    if MODE == "embedded":
        yield None
        return
    postgres, redis = Postgres(), Redis(tmp_path_factory.mktemp("services") / "redis")
    yield postgres, redis
    redis.stop(hard=True)
    postgres.remove()


@pytest.fixture(scope="session")
def template(tmp_path_factory, services):
    """A migrated home with the first accounts, and a token of the engineer."""
    home = tmp_path_factory.mktemp("template") / "home"
    home.mkdir()
    more = {}
    if services:
        services[0].sql("CREATE DATABASE template_plane")
        more["DATABASE_URL"] = services[0].url("template_plane")
    environment = environment_of(home, **more)
    for command in (["migrate"], ["create_first_accounts"]):
        done = manage(home, environment, *command)
        assert done.returncode == 0, done.stderr
    scopes = "read,data:write,jobs:write"
    token = manage(home, environment, "create_token", "engineer", "--project", "demo", "--scopes", scopes)
    assert token.returncode == 0, token.stderr
    return home, token.stdout.strip()


counter = itertools.count(1)


def started(home, template, services) -> Running:
    """A running plane in `home`, with a database of its own."""
    source, token = template
    shutil.copytree(source, home)
    more, number = {}, next(counter)
    if services:
        postgres, redis = services
        postgres.sql(f"CREATE DATABASE plane_{number} TEMPLATE template_plane")
        more = {"DATABASE_URL": postgres.url(f"plane_{number}"), "BROKER_URL": redis.url(number % 16)}
    return Running(home, environment_of(home, **more), token)


@pytest.fixture
def running(tmp_path, template, services):
    """A running plane of its own."""
    plane = started(tmp_path / "home", template, services)
    yield plane
    plane.kill_everything()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, template, services):
    """A running plane of the module's own, for jobs that take long enough to begin with."""
    plane = started(tmp_path_factory.mktemp("shared") / "home", template, services)
    yield plane
    plane.kill_everything()


@pytest.fixture(scope="session")
def expected_outputs(tmp_path_factory) -> dict[str, str]:
    """Slot -> digest of what test_kill's job makes when nobody disturbs it: the engine run by hand."""
    out = tmp_path_factory.mktemp("alone") / "out"
    result = run(NoopSpec.model_validate(SPEC), inputs={}, out=out, report=Silent())
    for left in psutil.Process().children():
        if left.name() == "sleep":  # the spec asks for a child that outlives the run
            left.kill()
    return {o.slot: hashlib.sha256((out / o.path).read_bytes()).hexdigest() for o in result.outputs}
