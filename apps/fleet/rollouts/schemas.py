"""The plan of a rollout, as it comes in and as it is stored."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AwareDatetime, BaseModel, Field, field_validator, model_validator

from apps.fleet.devices.schemas import MAX_DEADLINE_SECONDS
from apps.platform.jobs.serializers import STRICT
from deepseek.canary.spec import CanaryPlan, Gate, Maximum
from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

MAX_WAVES = 20
MAX_STRATA_KEYS = 5
ArchitectureName = Literal["x86_64", "aarch64"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Code = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")]
LabelPath = Annotated[str, Field(pattern=r"^(tag|attribute)\.[^\x00-\x1f\x7f]{1,128}$")]


@cache
def list_time_zones() -> frozenset[str]:
    """The names of the tz database: to read them all takes 30 ms, and pages read plans."""
    return frozenset(available_timezones())


class WaveSize(BaseModel):
    """How many devices a wave takes: one of three."""

    model_config = STRICT

    share: float | None = Field(
        None, gt=0, le=1, description="Of all devices, the waves before it included: 0.1, 0.5, 1."
    )
    count: int | None = Field(None, ge=1, le=10**7, description="Devices.")
    group: str | None = Field(None, min_length=1, max_length=50, description="Those left of this saved query.")

    @model_validator(mode="after")
    def _check(self) -> WaveSize:
        if sum(value is not None for value in (self.share, self.count, self.group)) != 1:
            raise build_spec_error("wave_size", N_("A wave has one of share, count and group."))
        return self


class RetryPolicy(BaseModel):
    """Failures that are tried again by themselves."""

    model_config = STRICT

    codes: list[Code] = Field(
        ["silent", "download_failed", "disk_full"], max_length=50, description="Of failures that may pass."
    )
    attempts: int = Field(2, ge=1, le=10, description="In all; 1: none is tried again.")
    backoff_seconds: int = Field(600, ge=0, le=7 * 86_400, description="Before the second; doubled before each more.")


class InstallWindow(BaseModel):
    """A weekly time in which devices are given the version."""

    model_config = STRICT

    days: list[Day] = Field(min_length=1, max_length=7, description="On which it begins.")
    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="HH:MM, in the schedule's time zone.")
    minutes: int = Field(ge=1, le=7 * 24 * 60, description="How long it is open.")


class Schedule(BaseModel):
    """When devices are given the version."""

    model_config = STRICT

    automatic: bool = Field(True, description="Start when approved; false: a person starts it.")
    start_at: AwareDatetime | None = Field(None, description="Not before.")
    windows: list[InstallWindow] = Field(default_factory=list, max_length=20, description="Empty: at any time.")
    time_zone: str = Field("UTC", max_length=60, description="Of the windows: a name of the tz database.")

    @field_validator("time_zone")
    @classmethod
    def _check_zone(cls, name: str) -> str:
        if name not in list_time_zones():
            raise build_spec_error("time_zone", N_("There is no time zone {name!r}."), name=name)
        return name


class CanaryGate(Gate):
    """A gate of a rollout. Its name in the schema is not that of the registry's gates."""


class GatePlan(CanaryPlan):
    """The gates of every wave (docs/canary.md); `maximum` follows from the waves."""

    maximum: Maximum | None = Field(Maximum(canary=1, control=1), description="Set by the plane.")
    gates: list[CanaryGate] = Field(  # type: ignore[assignment]  # a narrower one
        default_factory=lambda: [
            CanaryGate.model_validate(
                {
                    "name": "install",
                    "measure": "install_failure",
                    "scale": "binary",
                    "reference": "limit",
                    "limit": 0.1,
                }
            ),
            CanaryGate.model_validate({"name": "silence", "measure": "silence", "scale": "binary"}),
        ],
        min_length=1,
        max_length=20,
        title="Gates",
        description="What is compared.",
    )


class RolloutPlan(BaseModel):
    """Waves, gates, approvals, schedule and retries of a rollout."""

    model_config = STRICT

    waves: list[WaveSize] = Field(
        default_factory=lambda: [WaveSize(share=0.1), WaveSize(share=0.5), WaveSize(share=1.0)],
        min_length=1,
        max_length=MAX_WAVES,
    )
    stratify_by: list[LabelPath] = Field(
        default_factory=list,
        max_length=MAX_STRATA_KEYS,
        description="Labels besides architecture and version before: tag.KEY, attribute.KEY.",
    )
    canary: GatePlan = Field(default_factory=lambda: GatePlan.model_validate({}), description="docs/canary.md.")
    approve_after: Literal["first", "every", "none"] = Field(
        "first", description="Waves after which approvers decide on the evidence; the start always takes an approval."
    )
    schedule: Schedule = Field(default_factory=lambda: Schedule.model_validate({}))
    retry: RetryPolicy = Field(default_factory=lambda: RetryPolicy.model_validate({}))
    deadline_seconds: int = Field(
        86_400, ge=10, le=MAX_DEADLINE_SECONDS, description="Of a device: without a receipt until then it has failed."
    )
    wave_deadline_seconds: int = Field(
        3 * 86_400, ge=1, le=MAX_DEADLINE_SECONDS, description="Of a wave: then its last look is taken."
    )
    look_seconds: int = Field(900, ge=1, le=86_400, description="Between two looks at the evidence.")
    without_samples: bool = Field(False, description="Release variants that have no samples (docs/releases.md).")
    covers_new: bool = Field(True, description="Devices that enrol later get it too, with the last wave or after it.")

    @model_validator(mode="after")
    def _check(self) -> RolloutPlan:
        shares = [wave.share for wave in self.waves if wave.share is not None]
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise build_spec_error("wave_order", N_("The shares of waves grow: each has those before it."))
        if self.wave_deadline_seconds <= self.canary.soak_seconds:
            raise build_spec_error(
                "wave_deadline",
                N_("A wave's deadline, {deadline} seconds, is not after its soak time, {soak:g} seconds."),
                deadline=self.wave_deadline_seconds,
                soak=self.canary.soak_seconds,
            )
        return self

    @property
    def wave_deadline(self) -> timedelta:
        return timedelta(seconds=self.wave_deadline_seconds)


class RolloutBody(RolloutPlan):
    """A rollout to be planned."""

    title: str = Field("", max_length=120)
    model: str = Field(min_length=1, max_length=256)
    version: int = Field(ge=1, le=2**31 - 1, description="Number of the version.")
    group: str = Field("", max_length=50, description="Devices that fit this saved query.")
    query: str = Field("", max_length=2000, description="Devices that fit this query. Neither: all devices.")
    variants: dict[ArchitectureName, str] = Field(
        default_factory=dict,
        description="Names by architecture; left out: the first that a device serves without torch.",
    )


class ApprovalRequestBody(BaseModel):
    model_config = STRICT

    comment: str = Field("", max_length=2000, description="For the approvers.")


class RetryBody(BaseModel):
    model_config = STRICT

    codes: list[Code] = Field(default_factory=list, max_length=50, description="Failures with these; empty: all.")
    reason: str = Field("", max_length=500, description="Stands in the audit trail.")


def read_plan(document: Any) -> RolloutPlan:
    """The plan as it is stored."""
    return RolloutPlan.model_validate_json(json.dumps(document))
