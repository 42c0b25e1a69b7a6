"""Sweeps over jobs that do nothing, driven round by round; no doorbell is published."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.sweeps.models import Sweep
from apps.ml.sweeps.schemas import read_sweep_request
from apps.ml.sweeps.services import advance_sweeps, create_sweep
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.jobs.scheduling import doorbell

SPACE = [{"type": "float", "name": "/value", "low": 0.0, "high": 1.0}]
BODY = {
    "kind": "noop",
    "name": "try",
    "space": SPACE,
    "metric": "value",
    "trials": 4,
    "parallel": 2,
}


@pytest.fixture(autouse=True)
def _silent(monkeypatch, settings, tmp_path):
    settings.PLANE_HOME = tmp_path
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def dispatcher():
    return build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def start(project, engineer, actor_for):
    """start(who, key, **changes of the body) -> the sweep."""

    def begin(who=None, key=None, where=None, **changes) -> Sweep:
        request = read_sweep_request({**BODY, **changes}, idempotency_key=key)
        return create_sweep(actor=who or actor_for(engineer), project=where or project, request=request)[0]

    return begin


@pytest.fixture
def advance(dispatcher):
    """advance(sweep, rounds=1) -> the sweep as the dispatcher leaves it."""

    def step(sweep: Sweep, rounds: int = 1) -> Sweep:
        for _ in range(rounds):
            advance_sweeps(actor=dispatcher)
        sweep.refresh_from_db()
        return sweep

    return step


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/sweeps{tail}"


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/sweeps{tail}"


@pytest.fixture
def create_artifact(project):
    """create_artifact() -> an artifact of the project, without bytes."""

    def put(digest: str = "a" * 64) -> Artifact:
        artifact = Artifact.objects.create(digest=digest, size=1)
        Holding.objects.create(project=project, artifact=artifact, name="file")
        return artifact

    return put
