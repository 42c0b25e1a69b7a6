"""Bodies that come in: from devices, and from people and their programs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from apps.fleet.devices.models import LABEL_LENGTH, MAX_LABELS, NAME_LENGTH
from apps.ml.observations.schemas import MAX_ROWS_PER_BATCH, LabelRow, PredictionRow

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
# What newer agents send in addition is left unread, so that a fleet is not refused by an older plane.
LENIENT = ConfigDict(extra="ignore", strict=True, frozen=True)

MAX_USES = 100_000
MAX_DAYS = 365
MAX_DEADLINE_SECONDS = 366 * 24 * 3600
MAX_METRICS = 50
MAX_MESSAGE = 2_000  # characters of a status

DeviceName = Annotated[
    str, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._:-]{{0,{NAME_LENGTH - 1}}}$", max_length=NAME_LENGTH)
]
LabelKey = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=LABEL_LENGTH)]
LabelValue = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=LABEL_LENGTH)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ArchitectureName = Literal["x86_64", "aarch64"]


# -- devices --------------------------------------------------------------------------------------------------------
class EnrolBody(BaseModel):
    """A device that asks to be let in."""

    model_config = LENIENT

    token: str = Field(max_length=200, description="The enrolment token.")
    name: DeviceName = Field(description="Letters, digits, dots, colons, hyphens and underscores; of the project.")
    public_key: str = Field(max_length=44, description="Base64 of the 32 bytes of an Ed25519 key.")
    architecture: ArchitectureName
    attributes: Labels = Field(default_factory=dict, description="What the device says of itself.")
    agent_version: str = Field("", max_length=60)
    proof: str = Field(
        max_length=200,
        description="Base64 of the key's signature over the DSSE encoding of name, public_key and token_sha256.",
    )


class StatusBody(BaseModel):
    """How far an assignment has come. It tells; the result counts from the receipt."""

    model_config = LENIENT

    step: Literal[
        "downloading", "verifying", "installing", "checking", "switching", "rolled_back", "failed", "cancelled"
    ]
    message: str = Field("", max_length=MAX_MESSAGE)
    progress: float | None = Field(None, ge=0, le=1, allow_inf_nan=False, description="Of the step.")
    code: str = Field("", max_length=60, pattern=r"^[a-z0-9_]*$", description="Of a failure, for instance disk_full.")


class ReceiptBody(BaseModel):
    model_config = LENIENT

    envelope: dict[str, Any] = Field(description="DSSE by the device's key: application/vnd.plane.receipt+json.")


class HeartbeatBody(BaseModel):
    """What a device says of itself now. It is shown, and decides nothing."""

    model_config = LENIENT

    running: Digest | None = Field(None, description="SHA-256 of the payload of the release that answers.")
    installed: Digest | None = Field(None, description="Likewise of the newest that is installed.")
    health: Literal["healthy", "failing", "unknown"] = "unknown"
    metrics: dict[Annotated[str, Field(min_length=1, max_length=60)], Annotated[float, Field(allow_inf_nan=False)]] = (
        Field(default_factory=dict, max_length=MAX_METRICS)
    )
    clock: AwareDatetime | None = Field(None, description="The device's own time, with its offset from UTC.")


class DevicePredictionBatch(BaseModel):
    """Predictions of the device itself. All are taken or none is."""

    model_config = STRICT

    rows: list[PredictionRow] = Field(min_length=1, max_length=MAX_ROWS_PER_BATCH)


class DeviceLabelBatch(BaseModel):
    """Labels of predictions of the device itself. All are taken or none is."""

    model_config = STRICT

    rows: list[LabelRow] = Field(min_length=1, max_length=MAX_ROWS_PER_BATCH)


# -- people ---------------------------------------------------------------------------------------------------------
class EnrolmentTokenBody(BaseModel):
    """A token that lets devices in: one, or with `gateway` as many as `max_uses`."""

    model_config = STRICT

    name: str = Field(min_length=1, max_length=80, description="For people: who gets it.")
    gateway: bool = Field(False, description="For several devices; hawkBit clients authenticate with it.")
    max_uses: int | None = Field(None, ge=1, le=MAX_USES, description="Of a gateway's; others have one.")
    days: int = Field(7, ge=1, le=MAX_DAYS, description="Days until it expires.")
    tags: Labels = Field(default_factory=dict, description="What devices that it lets in begin with.")


class DeviceBody(BaseModel):
    """A device of a stock hawkBit client, made by hand."""

    model_config = STRICT

    name: DeviceName
    architecture: ArchitectureName | None = None
    tags: Labels = Field(default_factory=dict)
    note: str = Field("", max_length=500)


class DeviceChanges(BaseModel):
    """What may change of a device; what is left out stays."""

    model_config = STRICT

    tags: Labels | None = Field(None, description="All of them: others go.")
    attributes: Labels | None = Field(None, description="All of them; an agent sends its own with the next enrolment.")
    note: str | None = Field(None, max_length=500)
    architecture: ArchitectureName | None = Field(None, description="Of a hawkBit client's; an agent says its own.")
    sampling_rate: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Share of its predictions that it sends; 0: none."
    )


class AssignBody(BaseModel):
    """A release for one device."""

    model_config = STRICT

    release: int = Field(ge=1, le=2**63 - 1, description="Id of the release.")
    deadline_seconds: int | None = Field(
        None, ge=10, le=MAX_DEADLINE_SECONDS, description="Without a receipt until then it has failed."
    )
    reason: str = Field("", max_length=500)


class DeviceGroupBody(BaseModel):
    model_config = STRICT

    name: str = Field(max_length=50, description="1 to 50 lower-case letters, digits and hyphens.")
    query: str = Field(max_length=2000, description="For instance: tag.site = 'berlin' AND architecture = 'aarch64'.")
    description: str = Field("", max_length=500)


class DeviceGroupChanges(BaseModel):
    model_config = STRICT

    query: str | None = Field(None, max_length=2000)
    description: str | None = Field(None, max_length=500)


def measure_clock_offset(clock: datetime | None, now: datetime) -> float | None:
    """Seconds that a device's clock is ahead of the plane's."""
    return None if clock is None else round((clock - now).total_seconds(), 1)
