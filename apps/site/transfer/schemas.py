"""The bodies of REST."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from apps.platform.jobs.serializers import STRICT
from deepseek.bundles.spec import DEFAULT_VOLUME_BYTES, PLANE_ID

PlaneId = Annotated[str, Field(pattern=f"^{PLANE_ID.pattern}$", description="32 hex digits.")]


class OutgoingBody(BaseModel):
    model_config = STRICT

    contents: list[Annotated[str, Field(min_length=1, max_length=400)]] = Field(
        min_length=1,
        max_length=1000,
        description="data/NAME:v1, model/NAME:v1, run/ID, image/NAME:TAG, package/FILE.",
    )
    inventory: str = Field(
        min_length=64, max_length=64, description="SHA-256 of the target's inventory, uploaded as an artifact."
    )
    volume_bytes: int = Field(DEFAULT_VOLUME_BYTES, description="Largest size of a volume in bytes.")


class PlaneBody(BaseModel):
    model_config = STRICT

    id: PlaneId
    name: str = Field(min_length=1, max_length=200)


class SignerBody(BaseModel):
    model_config = STRICT

    source: PlaneBody
    signer: str = Field(max_length=10_000, description="The .pub.json that `deepseek bundle keygen` wrote, as a text.")
    valid_days: int = Field(365, description="Days from now for which the key is trusted, 1 to 1,095.")
    replaces: int | None = Field(None, description="An older signer of the same person, revoked once this is trusted.")
    comment: str = Field("", max_length=2000)


class ReasonBody(BaseModel):
    model_config = STRICT

    reason: str = Field("", max_length=500)


class ApplicationBody(BaseModel):
    model_config = STRICT

    comment: str = Field("", max_length=2000)
