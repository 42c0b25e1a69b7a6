"""Conflicts that more than one service of endpoints raises."""

from __future__ import annotations

from apps.core.errors import Conflict
from apps.ml.endpoints.models import Endpoint
from deepseek.messages import N_


def build_state_error(endpoint: Endpoint) -> Conflict:
    return Conflict(
        "The endpoint {name} is {state}.",
        name=endpoint.name,
        state=endpoint.state,
        field="state",
        hint=N_("Read it again and decide anew."),
    )


def build_deleted_error(endpoint: Endpoint) -> Conflict:
    return Conflict("The endpoint {name} was deleted meanwhile.", name=endpoint.name, field="state")
