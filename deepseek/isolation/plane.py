"""A node and its plane: the policy that it has to apply, and the report that it sends. The token is the node's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from deepseek.flags import convert_errors
from deepseek.isolation.spec import Policy
from deepseek.job import EngineError
from deepseek.messages import N_


def fetch_policy(url: str, ca: str, node: str) -> Policy:
    """The newest policy of the plane. Raises EngineError for a plane that refuses or has none."""
    answer = call_plane(url, ca, "GET", f"{build_path(node)}/isolation-policy")
    try:
        return Policy.model_validate(answer["policy"])
    except ValidationError as error:
        raise convert_errors(error)[0] from error


def send_report(url: str, ca: str, node: str, report: Mapping[str, Any]) -> int:
    """Send what the probes found; returns the number of the report there."""
    return int(call_plane(url, ca, "POST", f"{build_path(node)}/isolation-reports", report)["id"])


def build_path(node: str) -> str:
    return f"/api/v1/doctor/nodes/{quote(node or socket.gethostname(), safe='')}"


def call_plane(url: str, ca: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The answer of the plane. Raises EngineError ``no_node_token`` where there is no token to send."""
    from deepseek.client.credentials import normalise_url
    from deepseek.client.transport import PlaneTransport

    token = os.environ.get("DEEPSEEK_TOKEN", "")
    if not token:
        raise EngineError(
            "no_node_token",
            N_("There is no token of this node."),
            field="DEEPSEEK_TOKEN",
            value="not set",
            limit="the token of this node",
            hint=N_("A system administrator issues it on the page of the node."),
        )
    transport = PlaneTransport(normalise_url(url, "--plane"), token, ca=ca or os.environ.get("DEEPSEEK_CA", ""))
    try:
        return transport.call(method, path, body)
    finally:
        transport.close()
