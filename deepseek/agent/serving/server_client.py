"""Asks a server of this machine: samples, health, metrics."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from deepseek.agent.errors import AgentFailure

ANSWER_SECONDS = 30.0
HEALTH_SECONDS = 5.0
MAX_ANSWER_BYTES = 16 << 20
CHECK_ID = "deepseek-agent-check"
"""The X-Request-Id of the agent's own requests: what is recorded of them is no prediction for anybody."""
SAMPLE = re.compile(r"deepseek_serve_(\w+)(?:\{([^}]*)\})? ([0-9.eE+-]+)$")
LABEL = re.compile(r'(?<!\w)(\w+)="([^"]*)"')
GAUGES = {"queue_length", "resident_memory_bytes", "cpu_seconds_total", "rows_total", "recorded_dropped_total"}


class ServerClient:
    """One server. `port` is None until it is known."""

    def __init__(self, host: str, port: int | None = None) -> None:
        self._host, self.port = host, port

    def predict(self, rows: Sequence[Any]) -> list[Any]:
        """The answers to rows. Raises AgentFailure ``server_failed``."""
        body = json.dumps({"features": list(rows)}).encode()
        headers = {"Content-Type": "application/json", "X-Request-Id": CHECK_ID}
        try:
            status, content = self._ask("POST", "/predict", body, headers, ANSWER_SECONDS)
            document = json.loads(content)
            answers = document["prediction"] if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise _build_failure(f"{type(error).__name__}: {error}") from None
        if not isinstance(answers, list):
            raise _build_failure(f"status {status}: {content[:300].decode(errors='replace')}")
        return answers

    def is_alive(self) -> bool:
        try:
            return self._ask("GET", "/healthz", None, {}, HEALTH_SECONDS)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def read_metrics(self) -> dict[str, float]:
        """What the server counts, in a few figures; empty where it does not answer."""
        try:
            status, content = self._ask("GET", "/metrics", None, {}, HEALTH_SECONDS)
        except (OSError, http.client.HTTPException):
            return {}
        return summarise_metrics(content.decode(errors="replace")) if status == 200 else {}

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self.port, timeout=seconds)
        try:
            connection.request(method, path, body=body, headers={**headers, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read(MAX_ANSWER_BYTES)
        finally:
            connection.close()


def summarise_metrics(text: str) -> dict[str, float]:
    """The figures of a heartbeat out of the text of /metrics: gauges as they are, requests by their outcome, and the
    mean duration."""
    figures: dict[str, float] = {}
    for line in text.splitlines():
        match = SAMPLE.match(line)
        if not match:
            continue
        name, labels, value = match[1], dict(LABEL.findall(match[2] or "")), float(match[3])
        if name == "requests_total":
            status = labels.get("status", "")
            outcome = "failed" if status.startswith("5") else "refused" if status.startswith("4") else "answered"
            _add(figures, f"requests_{outcome}", value)
        elif name in ("request_duration_seconds_sum", "request_duration_seconds_count") or name in GAUGES:
            _add(figures, name, value)
    total, count = figures.pop("request_duration_seconds_sum", 0.0), figures.pop("request_duration_seconds_count", 0.0)
    if count:
        figures["request_milliseconds_mean"] = total / count * 1000
    return figures


def _add(figures: dict[str, float], name: str, value: float) -> None:
    figures[name] = figures.get(name, 0.0) + value


def _build_failure(reason: str) -> AgentFailure:
    return AgentFailure(
        "server_failed",
        f"The server does not answer: {reason[:400]}",
        field="server",
        limit="answers to the sample rows",
        hint="server.log in the home folder says more.",
    )
