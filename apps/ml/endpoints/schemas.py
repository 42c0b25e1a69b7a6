"""The bodies of REST."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from apps.platform.jobs.serializers import STRICT

MAX_NODES, MAX_REPLICAS = 32, 16
NodeName = Annotated[str, Field(min_length=1, max_length=120)]


class ShadowBody(BaseModel):
    model_config = STRICT

    version: int = Field(ge=1, description="Number of the candidate, a version of the same model.")
    rate: float = Field(1.0, gt=0, le=1, description="Share of the requests that it sees.")


class EndpointSettings(BaseModel):
    """What may change while it serves."""

    model_config = STRICT

    nodes: list[NodeName] = Field(min_length=1, max_length=MAX_NODES, description="Names of nodes that offer serving.")
    replicas: int = Field(1, ge=1, le=MAX_REPLICAS, description="Servers on each node.")
    sampling_rate: float = Field(0.0, ge=0, le=1, description="Share of the predictions that are recorded.")
    shadow: ShadowBody | None = Field(None, description="A candidate that sees the traffic; its answers go nowhere.")


class EndpointBody(EndpointSettings):
    name: str = Field(max_length=50, description="1 to 50 lower-case letters, digits and hyphens.")
    model: str = Field(max_length=256)
    alias: str = Field("production", max_length=255, description="The endpoint serves the version that it points to.")
    variant: str = Field("", max_length=60, description="The form of each version; empty: the one that was trained.")


class EndpointChanges(BaseModel):
    model_config = STRICT

    nodes: list[NodeName] | None = Field(None, min_length=1, max_length=MAX_NODES)
    replicas: int | None = Field(None, ge=1, le=MAX_REPLICAS)
    variant: str | None = Field(None, max_length=60, description="Empty: the one that was trained.")
    sampling_rate: float | None = Field(None, ge=0, le=1)
    shadow: ShadowBody | None = Field(None, description="null ends it; left out leaves it.")


class PredictBody(BaseModel):
    model_config = STRICT

    features: Any = Field(description="One example or a list of them, as the endpoint's own POST /predict takes them.")
