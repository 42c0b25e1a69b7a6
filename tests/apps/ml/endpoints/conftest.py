"""Endpoints of models that were never trained, on nodes that are rows; keepers are played by the tests."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.schemas import EndpointBody
from apps.ml.endpoints.services import ReplicaReport, create_endpoint, follow_aliases, report_replica
from apps.ml.endpoints.states import ReplicaState
from apps.platform.nodes.models import Node
from tests.apps.ml.registry.conftest import (  # noqa: F401  fixtures
    _own_store,
    approved,
    by_client,
    default_experiment,
    forms,
    held,
    registered,
    store_files,
)

BODY = {"name": "oil", "model": "wti-forecast", "nodes": ["a"]}


@pytest.fixture
def add_node(db):
    """add_node(name, ports=..., address=...) -> a node that offers serving."""

    def add(name="a", ports=(8600, 8609), address="127.0.0.1"):
        serving = {"address": address, "ports": list(ports)}
        return Node.objects.create(name=name, host="h", extras=["serving"], hardware={"serving": serving})

    return add


@pytest.fixture
def node(add_node):
    return add_node()


@pytest.fixture
def version(registered, approved):  # noqa: F811
    """The first version of wti-forecast, in production."""
    first = registered()
    approved(first)
    return first


@pytest.fixture
def create(project, engineer, actor_for):
    """create(who, where, **changes of the body) -> the endpoint."""

    def begin(who=None, where=None, **changes) -> Endpoint:
        body = EndpointBody(**{**BODY, **changes})
        return create_endpoint(actor=who or actor_for(engineer), project=where or project, body=body)

    return begin


@pytest.fixture
def report(worker_actor):
    """report(endpoint, state, version, error) lets every replica of the endpoint be reported so."""

    def write(endpoint, state=ReplicaState.SERVING, version=None, error="", **more):
        for replica in endpoint.replicas.select_related("endpoint__version", "endpoint__shadow_version", "version"):
            key = version.pk if version else endpoint.version_id
            facts = ReplicaReport(state=state, version_id=key, error=error, **more)
            report_replica(actor=worker_actor, replica=replica, report=facts)

    return write


@pytest.fixture
def follow():
    """follow(endpoint) -> the endpoint after a round of the dispatcher."""

    def step(endpoint) -> Endpoint:
        follow_aliases(actor=build_plane_actor(PlaneRole.DISPATCHER, host="test"))
        endpoint.refresh_from_db()
        return endpoint

    return step


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/endpoints{tail}"
