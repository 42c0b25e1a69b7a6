"""The spec of gathering a model's forms into a version. Light to import: the web process reads it."""

from pydantic import BaseModel, ConfigDict, Field

QUANTIZED_FORMS = ("int8_dynamic", "int8_onnx", "int8_static", "fp32_onnx", "fp32_torchscript")
"""Slots of forms that a quantization made beside the one that it recommends, as its outputs are called."""


class RegisterSpec(BaseModel):
    """Check that the forms of a model belong together, and make a version of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    note: str = Field("", max_length=500, title="Note", description="What a reader of the version should know.")
