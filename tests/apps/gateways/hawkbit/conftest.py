"""Devices of stock clients: `pump` with a token of its own, `line` of a gateway's; what they send, by Django's urls."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from apps.fleet.devices.models import Device
from apps.fleet.devices.schemas import DeviceBody, EnrolmentTokenBody
from apps.fleet.devices.services import assign_release, create_enrolment_token, register_device
from tests.apps.fleet.releases.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_samples,
    approved,
    default_experiment,
    forms,
    held,
    issue,
    job_of,
    make_variant,
    operator,
    registered,
    store_files,
    variant,
)


class StockClient:
    """Sends what a client of this name and credentials sends, and reads the answers."""

    def __init__(self, name: str, scheme: str, secret: str, tenant: str = "DEFAULT") -> None:
        self.name, self.secret = name, secret
        self.root = f"/{tenant}/controller/v1/{name}"
        self.headers = {"HTTP_AUTHORIZATION": f"{scheme} {secret}"} if scheme else {}
        self.client = Client()

    def send(self, method: str, path: str = "", body=None, *, raw=None, **headers):
        """The response; `path` is below the device, or a link that it was given."""
        url = path.removeprefix("http://testserver") if path.startswith("http") else self.root + path
        data = raw if raw is not None else b"" if body is None else json.dumps(body)
        return self.client.generic(method, url, data, content_type="application/json", **self.headers, **headers)

    def status(self, method: str, path: str = "", body=None, **how) -> int:
        return self.send(method, path, body, **how).status_code

    def get(self, path: str = ""):
        response = self.send("GET", path)
        assert response.status_code == 200, response.content
        return response.json()

    @property
    def links(self) -> dict[str, str]:
        return {name: link["href"] for name, link in self.get()["_links"].items()}

    def report(self, action, execution="proceeding", finished="none", on="deploymentBase", **status) -> int:
        """The status of the answer to feedback on an action."""
        body = {"id": str(action.pk), "status": {"execution": execution, "result": {"finished": finished}} | status}
        return self.status("POST", f"/{on}/{action.pk}/feedback", body)


@pytest.fixture
def register(project, engineer, actor_for):
    """register(name, where=project) -> a client with a token of its own; its device is `client.device`."""

    def make(name="pump-7", where=None):
        body = DeviceBody(name=name, architecture="x86_64")
        device, secret = register_device(actor=actor_for(engineer), project=where or project, body=body)
        client = StockClient(name, "TargetToken", secret)
        client.device = device
        return client

    return make


@pytest.fixture
def pump(register):
    return register()


@pytest.fixture
def gateway_token(project, engineer, actor_for):
    """(the token, its secret) of a gateway, for three devices."""
    body = EnrolmentTokenBody(name="line 1", gateway=True, max_uses=3, tags={"line": "1"})
    return create_enrolment_token(actor=actor_for(engineer), project=project, body=body)


@pytest.fixture
def connect_client(gateway_token):
    """connect_client(name, tenant="DEFAULT") -> a client that sends the gateway's token."""
    return lambda name, tenant="DEFAULT": StockClient(name, "GatewayToken", gateway_token[1], tenant)


@pytest.fixture
def release(variant, issue):  # noqa: F811
    return issue(variant)


@pytest.fixture
def assign(actor_for, engineer):
    """assign(client, release) -> the action."""

    def run(client, of):
        device = Device.objects.get(name=client.name)
        return assign_release(actor=actor_for(engineer), device=device, release=of)

    return run


@pytest.fixture
def action(assign, pump, release):
    """What `pump` is to install."""
    return assign(pump, release)
