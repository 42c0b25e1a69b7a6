"""Shapes for the pages of endpoints."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from apps.ml.endpoints.models import Endpoint, Replica
from apps.ml.endpoints.queries import annotate_fresh
from apps.ml.endpoints.states import ReplicaState

Row = dict[str, Any]  # {endpoint, serves, servers, rate, p95_ms}


def summarize_endpoints(endpoints: Sequence[Endpoint]) -> list[Row]:
    """The rows of a page with what their servers do; one query more."""
    replicas: dict[int, list[Replica]] = defaultdict(list)
    rows = Replica.objects.filter(endpoint__in=[endpoint.pk for endpoint in endpoints], is_removed=False)
    for replica in annotate_fresh(rows):
        replicas[replica.endpoint_id].append(replica)
    return [
        {
            "endpoint": endpoint,
            "serves": describe_version(endpoint),
            "servers": f"{len(list_serving(replicas[endpoint.pk]))} / {len(replicas[endpoint.pk])}",
            **add_figures(replicas[endpoint.pk]),
        }
        for endpoint in endpoints
    ]


def describe_version(endpoint: Endpoint) -> str:
    version = f" v{endpoint.version.number}" if endpoint.version else ""
    return f"{endpoint.model.name}@{endpoint.alias}{version}"


def list_serving(replicas: Sequence[Replica]) -> list[Replica]:
    return [row for row in replicas if row.state == ReplicaState.SERVING and getattr(row, "is_fresh", False)]


def add_figures(replicas: Sequence[Replica]) -> dict[str, Any]:
    """Requests a second of all servers together, and the slowest p50 and p95 among them; None where none has any."""
    figures: list[Mapping[str, Any]] = [row.figures for row in list_serving(replicas)]
    worst = {name: [each[name] for each in figures if each.get(name) is not None] for name in ("p50_ms", "p95_ms")}
    return {
        "rate": round(sum(each.get("rate") or 0.0 for each in figures), 2) if figures else None,
        "failed": sum(each.get("failed") or 0 for each in figures),
        **{name: max(values) if values else None for name, values in worst.items()},
    }


def build_curl(replica: Replica, features: Any) -> str:
    """The request of a try as a command; the token is the shell's variable TOKEN."""
    body = shlex.quote(json.dumps({"features": features}))
    token = ' -H "Authorization: Bearer $TOKEN"' if replica.asks_for_token else ""
    return f"curl{token} -H 'Content-Type: application/json' -d {body} {replica.url}/predict"


def needs_token(endpoint: Endpoint, replicas: Sequence[Replica]) -> bool:
    """Whether its servers refuse every client because it has no token yet."""
    return not endpoint.token_digest and any(replica.asks_for_token for replica in replicas)
