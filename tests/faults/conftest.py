"""One migrated template per session, copied per test; the mode is that of the run: embedded, or services if
DATABASE_URL is set. The services are our own, so that a test may kill them."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from pathlib import Path

import psutil
import pytest

from deepseek.job import Silent
from deepseek.noop.run import run
from deepseek.noop.spec import NoopSpec
from tests.faults.homes import prepare_home
from tests.faults.running import LONG_LEASE, Running, environment_of
from tests.faults.services import Postgres, Redis
from tests.faults.spec import SPEC

MODE = "services" if os.environ.get("DATABASE_URL", "").startswith("postgres") else "embedded"

# The servers of the other mode listen on this machine's loopback, which the hosts of test_gang_hosts do not have.
collect_ignore = ["test_restart_services.py"] if MODE == "embedded" else ["test_gang_hosts.py"]


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder, and put what looks at all jobs of a module behind those that make them."""
    ours = [item for item in items if "tests/faults" in str(item.path)]
    if ours:
        modules = {path: place for place, path in enumerate(dict.fromkeys(item.path for item in items))}
        items.sort(key=lambda item: (modules[item.path], item in ours and "every_job" in item.name))
    for item in items:
        if "tests/faults" in str(item.path):
            item.add_marker(pytest.mark.faults)
            # One plane for all tests of a file: in one process, or each process would start its own. Those that make
            # network links not beside the browser: Chromium gives every request up when an interface comes or goes.
            links = item.path.stem.startswith("test_gang")
            item.add_marker(pytest.mark.xdist_group("browser" if links else f"faults {item.path.stem}"))


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
    return home, prepare_home(environment_of(home, **more)).token


counter = itertools.count(1)


def start_plane(home: Path, template, services, *, parts: str = "", **settings: str) -> Running:
    """A running plane in `home`, with a database of its own."""
    source, token = template
    shutil.copytree(source, home)
    more, number = {}, next(counter)
    if services:
        postgres, redis = services
        postgres.sql(f"CREATE DATABASE plane_{number} TEMPLATE template_plane")
        more = {"DATABASE_URL": postgres.url(f"plane_{number}"), "BROKER_URL": redis.url(number % 16)}
    return Running(home, environment_of(home, **more, **settings), token, parts=parts)


@pytest.fixture
def running(tmp_path, template, services):
    """A running plane of its own."""
    plane = start_plane(tmp_path / "home", template, services)
    yield plane
    plane.kill_everything()


@pytest.fixture(scope="module")
def shared(request, tmp_path_factory, template, services):
    """A running plane for all tests of a module: what they kill comes back, and a restart costs less than a start.

    Its lease outlasts a test: what is recovered was found by the loss of its process. A module may name SETTINGS of it,
    and the PARTS that run.
    """
    home = tmp_path_factory.mktemp("shared") / "home"
    settings = {"LEASE_SECONDS": str(LONG_LEASE)} | getattr(request.module, "SETTINGS", {})
    plane = start_plane(home, template, services, parts=getattr(request.module, "PARTS", ""), **settings)
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
