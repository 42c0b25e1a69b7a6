"""The spec of making the samples by which devices check a model. Light to import."""

from pydantic import BaseModel, ConfigDict, Field


class HealthSamplesSpec(BaseModel):
    """Answer a few held-out rows with one form of a model, so that a device can compare its own answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(
        16,
        ge=1,
        le=64,
        title="Rows",
        description="Held-out rows that a device answers after it has installed the model; images are fewer.",
        json_schema_extra={"unit": "rows"},
    )
