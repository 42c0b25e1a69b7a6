"""What a recall does with endpoints: back to the version before, suspended where there is none, shadows stopped."""

from __future__ import annotations

import pytest

from apps.core.errors import Conflict
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.schemas import EndpointBody, ShadowBody
from apps.ml.endpoints.services import create_endpoint, resume_endpoint
from apps.ml.endpoints.states import EndpointState
from apps.ml.registry.services import set_alias
from tests.apps.fleet.recalls.conftest import outcomes
from tests.apps.ml.endpoints.conftest import add_node, node  # noqa: F401  fixtures

pytestmark = pytest.mark.django_db


@pytest.fixture
def serve(project, engineer, actor_for, node):  # noqa: F811
    """serve(name, alias, ...) -> an endpoint of the model."""

    def create(name, alias="production", **more) -> Endpoint:
        body = EndpointBody(name=name, model="wti-forecast", alias=alias, nodes=["a"], **more)
        return create_endpoint(actor=actor_for(engineer), project=project, body=body)

    return create


def test_back_suspended_and_shadows_stopped(serve, start, advance, good, bad, actor_for, engineer):
    set_alias(actor=actor_for(engineer), version=bad.version, name="canary")
    set_alias(actor=actor_for(engineer), version=good.version, name="stable")
    serve("main")
    canary = serve("canary", "canary")
    serve("stable", "stable", shadow=ShadowBody(version=bad.version.number))
    recall = advance(start())
    assert outcomes(recall, "endpoint") == {"main": "rolled_back", "canary": "suspended"}
    assert outcomes(recall, "alias") == {
        "wti-forecast production": "rolled_back",
        "wti-forecast canary": "nothing_before",
    }
    assert outcomes(recall, "shadow") == {"stable": "stopped"}
    rows = {row.name: row for row in Endpoint.objects.select_related("version")}
    assert (rows["main"].version, rows["stable"].shadow_version) == (good.version, None)
    assert rows["canary"].state == EndpointState.SUSPENDED
    canary.refresh_from_db()
    with pytest.raises(Conflict) as error:
        resume_endpoint(actor=actor_for(engineer), endpoint=canary)
    assert error.value.code == "version_blocked"


def test_an_endpoint_of_a_blocked_version_is_refused(serve, start, advance, bad, actor_for, engineer):
    set_alias(actor=actor_for(engineer), version=bad.version, name="canary")
    start()
    with pytest.raises(Conflict) as error:
        serve("canary", "canary")
    assert error.value.code == "version_blocked"
