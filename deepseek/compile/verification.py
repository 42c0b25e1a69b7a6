"""``verify.json``: where a compiled model ran, and how far its outputs are from PyTorch's; or why it could not run."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepseek.job import JSON, EngineError
from deepseek.messages import N_, record_messages
from deepseek.models.source import measure_gap

Floats = npt.NDArray[np.float32]

SCHEMA: Final = "plane/verification/v1"
VERIFICATION_NAME = "verify.json"
VERIFICATION_TYPE = "application/vnd.plane.verification+json"
SEEDS = (0, 1, 2)
"""Of the inputs that outputs are compared on, added to the seed of the spec."""
HERE = "host"
"""Where a model ran that the machine's own processor runs."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _is_none(value: Any) -> bool:
    return value is None


class SeedComparison(_Record):
    """How far the outputs are from PyTorch's on rows drawn with one seed."""

    seed: int
    rows: int
    max_abs_difference: float
    max_rel_difference: float  # of the largest output


class Verification(_Record):
    """The document. `where`: "host" or "qemu-aarch64 (emulated)"; empty, with the reason, where nothing ran."""

    schema_: str = Field(SCHEMA, alias="schema")
    target: str
    triple: str
    arch: str
    ran: bool
    where: str
    emulated: bool
    tolerance: float
    largest_difference: float | None = None
    largest_relative_difference: float | None = None
    seeds: list[SeedComparison] = []
    reason: str = ""
    reason_msgid: str | None = Field(None, exclude_if=_is_none)
    reason_params: dict[str, Any] | None = Field(None, exclude_if=_is_none)

    @model_validator(mode="before")
    @classmethod
    def record_reason(cls, data: Any) -> Any:
        """The id and the values of a reason that is a message go along with its English."""
        return record_messages(data)

    def as_dict(self) -> dict[str, JSON]:
        """The document as a JSON object."""
        document: dict[str, JSON] = self.model_dump(mode="json", by_alias=True)
        return document

    def to_json(self) -> str:
        """The bytes of ``verify.json``. No time in it: an emulated one says nothing, and a host's is in the figures."""
        return json.dumps(self.as_dict(), ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


def compare_seeds(
    predict: Callable[[Floats], Floats],
    expect: Callable[[Floats], Floats],
    batches: Sequence[tuple[int, Floats]],
    *,
    what: str,
    tolerance: float,
) -> list[SeedComparison]:
    """Compare outputs with PyTorch's on the rows of each seed, all of them in one run.

    Raises EngineError ``compiled_differs`` where a difference is over `tolerance`, or a value is not finite.
    """
    rows = np.concatenate([batch for _, batch in batches])
    outputs, expected = predict(rows), expect(rows)
    comparisons = list[SeedComparison]()
    start = 0
    for seed, batch in batches:
        part = slice(start, start + len(batch))
        largest, relative = measure_gap(outputs[part], expected[part])
        if not relative <= tolerance:
            raise EngineError(
                "compiled_differs",
                "{what} gives other outputs than PyTorch on the rows of the seed {seed}.",
                what=what,
                seed=seed,
                field="inputs/model",
                value=f"a relative difference of {relative:.3g}",
                limit=f"{tolerance:g}",
                hint=N_(
                    "Look for extreme weights or features; this may also be a defect of the compiler or its version."
                ),
            )
        comparisons.append(
            SeedComparison(seed=seed, rows=len(batch), max_abs_difference=largest, max_rel_difference=relative)
        )
        start += len(batch)
    return comparisons
