"""The spec of exporting one model. Light to import."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Form = Literal["pt2", "torchscript", "onnx"]


class ExportSpec(BaseModel):
    """Write a trained model as torch.export's archive, TorchScript and ONNX, each compared with PyTorch's outputs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    forms: list[Form] = Field(
        [],
        max_length=3,
        title="Forms",
        description="pt2, torchscript, onnx; empty: all, but ONNX only where its packages are installed.",
    )
    tolerance: float = Field(
        1e-4,
        gt=0,
        le=1,
        title="Tolerance",
        description="Largest difference from PyTorch's outputs, relative to their largest value; more is a failure.",
    )
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="Of the inputs that the forms are compared on.")

    extra_field: ClassVar[str] = "/forms"  # that asks for `extra`

    @property
    def extra(self) -> str:
        """What of a node beyond the core it needs (apps/platform/nodes/extras.py)."""
        return "onnx" if "onnx" in self.forms else ""
