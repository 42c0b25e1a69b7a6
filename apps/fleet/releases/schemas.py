"""The bodies of REST."""

from __future__ import annotations

from pydantic import BaseModel, Field

from apps.platform.jobs.serializers import STRICT


class VariantBody(BaseModel):
    model_config = STRICT

    model: str = Field(min_length=1, max_length=256)
    version: int = Field(ge=1, le=2**31 - 1, description="Number of the version.")
    variant: str = Field(
        "", max_length=60, description="Empty: the first that a device can serve without torch (onnx, tvm)."
    )


class ReleaseBody(VariantBody):
    without_samples: bool = Field(
        False, description="Release it although a device could not compare its answers with those of the plane."
    )


class RevocationBody(BaseModel):
    model_config = STRICT

    reason: str = Field(min_length=1, max_length=2000, description="Stands in the trail.")
