"""``samples.json``: examples on which a model was most wrong, or that show what it learned. Light to import.

Families write what their examples are: pictures, texts with spans, questions with answers, or rows of a table.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

SAMPLES_NAME = "samples.json"
SAMPLES_TYPE = "application/vnd.plane.samples+json"
SCHEMA = "plane/samples/v1"
MAX_SAMPLES = 100
MAX_TEXT = 200_000  # characters of one text
MAX_IMAGE = 400_000  # characters of one picture as a data address
MAX_FEATURES = 50  # values of one row


class _Frozen(BaseModel):
    """Unknown fields are passed over: a family may say more of its examples than is drawn."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Label = Annotated[str, Field(max_length=500)]
Share = Annotated[float, Field(ge=0, le=1)]


class ImageSample(_Frozen):
    """A picture, small, as a data address; `share` is what the model gave to its prediction."""

    image: str = Field(max_length=MAX_IMAGE)
    target: Label
    prediction: Label
    share: Share | None = None
    target_share: Share | None = None
    name: Label = ""


class Span(_Frozen):
    """Characters from `start` up to, not including, `end`."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    label: Label


Spans = Annotated[list[Span], Field(max_length=1000)]


class TextSample(_Frozen):
    """A text, the spans that are right, and those that were predicted."""

    text: Text
    target: Spans
    prediction: Spans


class AnswerSample(_Frozen):
    """A question, its right answer, and what the model answered before and after its training."""

    prompt: Text
    target: Text | None = None
    before: Text | None = None
    after: Text


class RowSample(_Frozen):
    """A held-out row by its place, counted from 0; `features` are named values, the most important first."""

    row: int = Field(ge=0)
    target: float | Label
    prediction: float | Label
    share: Share | None = None
    target_share: Share | None = None
    features: dict[Label, float | Label | None] = Field(max_length=MAX_FEATURES)


class ImageSamples(_Frozen):
    schema_: Literal["plane/samples/v1"] = Field(alias="schema")
    kind: Literal["image"]
    samples: Annotated[list[ImageSample], Field(max_length=MAX_SAMPLES)]


class TextSamples(_Frozen):
    schema_: Literal["plane/samples/v1"] = Field(alias="schema")
    kind: Literal["text"]
    samples: Annotated[list[TextSample], Field(max_length=MAX_SAMPLES)]


class AnswerSamples(_Frozen):
    schema_: Literal["plane/samples/v1"] = Field(alias="schema")
    kind: Literal["answers"]
    samples: Annotated[list[AnswerSample], Field(max_length=MAX_SAMPLES)]


class RowSamples(_Frozen):
    schema_: Literal["plane/samples/v1"] = Field(alias="schema")
    kind: Literal["rows"]
    samples: Annotated[list[RowSample], Field(max_length=MAX_SAMPLES)]


Samples = ImageSamples | TextSamples | AnswerSamples | RowSamples
SAMPLES: TypeAdapter[Samples] = TypeAdapter(Annotated[Samples, Field(discriminator="kind")])


def serialize_samples(kind: str, samples: Sequence[Mapping[str, Any]]) -> str:
    """The text of the file; equal samples give equal bytes. Raises ValidationError for what no page could show."""
    document = {"schema": SCHEMA, "kind": kind, "samples": list(samples)}
    SAMPLES.validate_python(document)
    return json.dumps(document, ensure_ascii=False, sort_keys=False, separators=(",", ":"), allow_nan=False) + "\n"
