"""Try an endpoint through the plane: one request to a server of one of its replicas.

The address is that of a registered replica: the host comes from its node's registration, the port from the replica's
row. Nothing of it comes from the request, and no redirect is followed.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.core.actors import Actor
from apps.core.errors import Conflict, PlaneError
from apps.core.policy import require
from apps.ml.endpoints.access import derive_plane_tokens
from apps.ml.endpoints.models import Endpoint, Replica
from apps.ml.endpoints.queries import list_replicas
from apps.ml.endpoints.states import ReplicaState
from apps.platform.audit.services import record
from deepseek.messages import N_

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 1 << 20


class ServerUnreachable(PlaneError):
    """A server that does not answer, or not as it should."""

    status = 502
    code = "endpoint_unreachable"


@dataclass(frozen=True, slots=True)
class TryAnswer:
    """What a server said: its HTTP status, its JSON, which replica it was and how long it took."""

    status: int
    body: Any
    replica: str
    version: str
    milliseconds: float


def predict(*, actor: Actor, endpoint: Endpoint, features: Any) -> TryAnswer:
    """The answer of one serving replica to `features`. Raises Conflict where none serves, ServerUnreachable."""
    require(actor, "endpoint.predict", endpoint)
    serving = [row for row in list_replicas(endpoint) if row.state == ReplicaState.SERVING]
    if not serving:
        raise Conflict(
            "No server of the endpoint {name} answers now.",
            name=endpoint.name,
            code="endpoint_not_serving",
            field="state",
            hint=N_("Its page says why; try again when it serves."),
        )
    answer = post(serving[0], json.dumps({"features": features}).encode())
    record(
        actor=actor,
        action="endpoint.predict",
        obj=endpoint,
        after={"replica": answer.replica, "status": answer.status, "version": answer.version},
    )
    return answer


def post(replica: Replica, body: bytes) -> TryAnswer:
    """POST /predict of the replica's server."""
    headers = {"Content-Type": "application/json"}
    if replica.asks_for_token:
        headers["Authorization"] = f"Bearer {derive_plane_tokens(replica.endpoint_id)[0]}"
    try:
        connection = open_connection(replica)
    except OSError as failure:  # SSLError is one
        raise build_unreachable_error(replica, f"ENDPOINT_AUTHORITIES: {failure}") from None
    began = time.perf_counter()
    try:
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        content = response.read(MAX_ANSWER_BYTES + 1)
        document = json.loads(content) if len(content) <= MAX_ANSWER_BYTES else None
        version = response.headers.get("X-Model-Version", "")
    except (OSError, http.client.HTTPException, ValueError) as failure:
        raise build_unreachable_error(replica, str(failure) or type(failure).__name__) from None
    finally:
        connection.close()
    if document is None:
        raise build_unreachable_error(replica, f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    took = (time.perf_counter() - began) * 1000
    return TryAnswer(response.status, document, f"{replica.node.name}:{replica.port}", version, round(took, 2))


def open_connection(replica: Replica) -> http.client.HTTPConnection:
    """Not connected yet. Over TLS where the node says so: then its certificate has to be of its address and of an
    authority that the plane knows.
    """
    if not replica.serving.get("tls"):
        return http.client.HTTPConnection(replica.host, replica.port, timeout=TIMEOUT_SECONDS)
    context = ssl.create_default_context(cafile=settings.ENV.endpoint_authorities or None)
    return http.client.HTTPSConnection(replica.host, replica.port, timeout=TIMEOUT_SECONDS, context=context)


def build_unreachable_error(replica: Replica, why: str) -> ServerUnreachable:
    return ServerUnreachable(
        "The server at {address} does not answer: {why}.",
        address=replica.address,
        why=why[:200],
        field="endpoint",
        hint=N_("Is the address that the node serves at reachable from the web process? See docs/endpoints.md."),
    )
