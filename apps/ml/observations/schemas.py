"""Bodies that come in: batches of predictions and of labels, and what is set of a source."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import to_json

from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.ml.observations.models import FINGERPRINT_LENGTH
from deepseek.messages import N_
from deepseek.observations.spec import FIRST_YEAR, ID_LIMIT, LAST_YEAR, VARIANT_LIMIT, ObservationsSpec
from deepseek.spec_errors import build_spec_error

MAX_ROWS_PER_BATCH = 5_000
MAX_VALUE_CHARACTERS = 16_384  # of an answer or a label, as JSON
MAX_FEATURES_CHARACTERS = 65_536  # likewise
MAX_RETENTION_DAYS = 3_650
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)

Text = StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$")
RowId = Annotated[str, Text, Field(min_length=1, max_length=ID_LIMIT)]
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Value = JsonValue
FIRST_TIME, LAST_TIME = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(LAST_YEAR, 12, 31, tzinfo=UTC)
RowTime = Annotated[AwareDatetime, Field(ge=FIRST_TIME, le=LAST_TIME)]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def check_json_size(value: Value, most: int) -> Value:
    """Refuse what is longer than `most` characters of compact JSON."""
    if value is None or isinstance(value, int | float):
        return value
    text = to_json(value)
    if len(text) > most and (size := len(text.decode())) > most:
        raise build_spec_error(
            "too_long", N_("This is {size} characters of JSON, and {most} at most are kept."), size=size, most=most
        )
    return value


class PredictionRow(BaseModel):
    """One answer that was given."""

    model_config = STRICT

    id: RowId = Field(description="Names the prediction within its source; its label comes under the same id.")
    at: RowTime = Field(description="When it was answered, with its offset from UTC.")
    model: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Name of the model.")
    version: int = Field(ge=1, le=2**31 - 1, description="Number of the model version.")
    variant: Annotated[str, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_./-]{{0,{VARIANT_LIMIT - 1}}}$")] = Field(
        "fp32", description="Which form of the version answered: fp32, int8, ..."
    )
    shadow: bool = Field(False, description="It ran beside the traffic and was not returned.")
    answer: Value = Field(description="What the model answered.")
    features: Value = Field(None, description="What it was asked; or leave it out and send its digest.")
    features_digest: Digest | None = Field(None, description="SHA-256 of the features where they are not sent.")
    latency_ms: float | None = Field(None, ge=0, le=86_400_000, description="How long the answer took, milliseconds.")

    @field_validator("answer")
    @classmethod
    def _check_answer(cls, answer: Value) -> Value:
        return check_json_size(answer, MAX_VALUE_CHARACTERS)

    @field_validator("features")
    @classmethod
    def _check_features(cls, features: Value) -> Value:
        return check_json_size(features, MAX_FEATURES_CHARACTERS)

    @field_validator("features_digest")
    @classmethod
    def _check_digest(cls, digest: str | None, info: ValidationInfo) -> str | None:
        if digest is not None and info.data.get("features") is not None:
            raise build_spec_error("features_twice", N_("Send the features or their digest, not both."))
        return digest

    def list_facts(self, at: int) -> list[Any]:
        """All that was sent but the id; `at`: the microseconds of its time."""
        facts = [at, self.model, self.version, self.variant, self.shadow, self.features_digest, self.latency_ms]
        return [*facts, self.answer, self.features]


class LabelRow(BaseModel):
    """What turned out to be right."""

    model_config = STRICT

    id: RowId = Field(description="Of the prediction. The label may come before it.")
    at: RowTime = Field(description="When it was known, with its offset from UTC.")
    label: Value = Field(description="What the answer should have been.")

    @field_validator("label")
    @classmethod
    def _check_label(cls, label: Value) -> Value:
        return check_json_size(label, MAX_VALUE_CHARACTERS)

    def list_facts(self, at: int) -> list[Any]:
        return [at, self.label]


class PredictionBatch(BaseModel):
    """Predictions of one source. All are taken or none is."""

    model_config = STRICT

    source: SourceName = Field(description="Name of the endpoint or device that answered.")
    rows: list[PredictionRow] = Field(min_length=1, max_length=MAX_ROWS_PER_BATCH)


class LabelBatch(BaseModel):
    """Labels of predictions of one source. All are taken or none is."""

    model_config = STRICT

    source: SourceName = Field(description="Name of the endpoint or device that answered.")
    rows: list[LabelRow] = Field(min_length=1, max_length=MAX_ROWS_PER_BATCH)


SamplingRate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
RetentionDays = Annotated[int, Field(ge=1, le=MAX_RETENTION_DAYS)]


class SourceBody(BaseModel):
    """A new source."""

    model_config = STRICT

    name: SourceName = Field(description="Lower-case letters, digits and hyphens.")
    kind: Literal["endpoint", "device"] = Field("endpoint", description="What answers.")
    task: Literal["classification", "regression", "other"] = Field(
        description="How answers are compared with labels; other: they are counted alone."
    )
    sampling_rate: SamplingRate = Field(1.0, description="The share of ids that is kept, above 0 up to 1.")
    retention_days: RetentionDays | None = Field(None, description="Days after which rows and parts go. Null: never.")


class SourceChanges(BaseModel):
    """What may change of a source; what is left out stays."""

    model_config = STRICT

    sampling_rate: SamplingRate | None = Field(None, description="The share of ids that is kept, above 0 up to 1.")
    retention_days: RetentionDays | None = Field(None, description="Days after which rows and parts go. Null: never.")

    @model_validator(mode="after")
    def _check(self) -> SourceChanges:
        if "sampling_rate" in self.model_fields_set and self.sampling_rate is None:
            raise build_spec_error("sampling_rate", N_("The sampling rate is a number above 0 up to 1."))
        return self


class DatasetBody(ObservationsSpec):
    """A dataset version of a period."""

    dataset: str = Field(max_length=50, description="Name of the dataset; one that does not exist is made.")

    def build_spec(self) -> ObservationsSpec:
        return ObservationsSpec(**self.model_dump(exclude={"dataset"}))


def compute_fingerprint(facts: list[Any]) -> str:
    """Of what a row says, in whatever order its features came."""
    return sha256_hex(to_json([sort_names(fact) for fact in facts], inf_nan_mode="constants"))[:FINGERPRINT_LENGTH]


def compute_former_fingerprint(facts: list[Any]) -> str:
    """As rows of older planes have it, which writes floats with exponents otherwise. It takes four times as long."""
    return sha256_hex(encode_canonical_json(facts))[:FINGERPRINT_LENGTH]


def is_same_row(stored: str, fingerprint: str, facts: list[Any]) -> bool:
    """Whether a stored fingerprint is of a row with these facts."""
    return stored == fingerprint or stored == compute_former_fingerprint(facts)


def sort_names(value: Value) -> Value:
    """The value with the names of its objects sorted."""
    if type(value) is dict:
        if any(type(each) in (dict, list) for each in value.values()):
            return {name: sort_names(value[name]) for name in sorted(value)}
        return dict(sorted(value.items()))
    return [sort_names(each) for each in value] if type(value) is list else value


def encode_value(value: Value) -> str:
    """The JSON of an answer, a label or features, as it is kept."""
    return to_json(value, inf_nan_mode="constants").decode()


def count_microseconds(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (at - EPOCH) // MICROSECOND


def is_number(value: Any) -> bool:
    """Whether it is a number that a float holds; JSON has integers of any length."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
