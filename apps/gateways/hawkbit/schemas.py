"""Bodies of the REST calls about stock clients."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from apps.gateways.hawkbit.windows import MINUTES_PER_DAY

STRICT = ConfigDict(extra="forbid", frozen=True)
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def check_time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("it must be a time zone of the IANA database, for instance Europe/Berlin")
    ZoneInfo(name)
    return name


def parse_clock(text: str) -> int:
    """Minutes after midnight of "HH:MM"."""
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


class UpdateFileBody(BaseModel):
    """The archive that the site has built of a release, as an artifact of the project."""

    model_config = STRICT

    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of an uploaded artifact.")
    name: str = Field("", max_length=100, description="That devices see; empty: as it was uploaded.")


class WindowBody(BaseModel):
    """When stock clients may install; at other times they download and wait."""

    model_config = STRICT

    days: tuple[Day, ...] = Field(min_length=1, max_length=7, description="On which it opens.")
    start: str = Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM, by the clock on the wall.")
    minutes: int = Field(ge=5, le=MINUTES_PER_DAY, description="That it stays open.")
    time_zone: Annotated[str, AfterValidator(check_time_zone)] = Field("UTC", max_length=60)
