"""What the doctor asks of a plane and sends to it, by REST with the node's token."""

from __future__ import annotations

from typing import Any

from deepseek.client.credentials import find_login
from deepseek.client.errors import ClientError, PlaneRefusal
from deepseek.client.transport import PlaneTransport, quote_part


def open_transport() -> PlaneTransport:
    """The plane of DEEPSEEK_URL, with DEEPSEEK_TOKEN. Raises ClientError where either is missing."""
    login = find_login()
    return PlaneTransport(login.url, login.token, ca=login.ca)


def fetch_registration(node: str) -> dict[str, Any]:
    """How the plane lists the node: cpus, memory_bytes, gpus, extras; empty where it does not tell."""
    try:
        answer = open_transport().call("GET", f"/api/v1/doctor/nodes/{quote_part(node)}/registration")
    except (ClientError, PlaneRefusal):
        return {}  # net.plane and svc.* say what is wrong
    return answer if isinstance(answer, dict) else {}


def send_report(node: str, document: dict[str, Any]) -> str:
    """Send a report; returns a line for a person. Raises PlaneRefusal or ClientError."""
    answer = open_transport().call("POST", f"/api/v1/doctor/nodes/{quote_part(node)}/reports", body=document)
    blocked = ", ".join(answer.get("blocking", ()))
    return f"sent as report {answer['id']}" + (f"; the node takes no jobs: {blocked}" if blocked else "")
