"""What is known of the devices at a look, and of the looks before it. Light to import."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, field_validator

from deepseek.canary.spec import MAX_GATES, NAME_LIMIT, STRICT, Arm, TestKind
from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

MAX_DEVICES = 1_000_000
GREATEST_VALUE = 1e60
"""Of a figure: its cube, summed over every device, is a number still."""
MAX_LOOKS = 200
"""Of one test of one gate: the newest that a history keeps."""


class DeviceValue(BaseModel):
    """A figure of one device: the mean of its observations."""

    model_config = STRICT

    mean: float = Field(ge=-GREATEST_VALUE, le=GREATEST_VALUE)
    count: int = Field(1, ge=0, le=10**12, description="Observations behind the mean.")


class DeviceEvidence(BaseModel):
    """One device, which is the unit of every test."""

    model_config = STRICT

    device: str = Field(min_length=1, max_length=200)
    stratum: str = Field("", max_length=200)
    arm: Arm
    installed: bool = Field(
        True, description="Of a canary: the running system reported the new version. Of a control: it is in use."
    )
    failed: bool = Field(False, description="The installation failed, or the device fell back to the version before.")
    observed_seconds: float = Field(0.0, ge=0, description="Since the installation; of a control in the same window.")
    silent_seconds: float = Field(0.0, ge=0, description="Since the device was heard last.")
    values: dict[str, DeviceValue] = Field({}, max_length=1000, description="By the gates' names; others are ignored.")


class Look(BaseModel):
    """One analysis of one test."""

    model_config = STRICT

    gate: str = Field(max_length=NAME_LIMIT)
    test: TestKind
    at: AwareDatetime
    fraction: float = Field(gt=0, description="Information so far, as a share of the planned maximum.")
    spending: float = Field(gt=0, le=1, description="The fraction whose error is spent; 1 at the last look.")
    z: float = Field(description="The statistic; greater speaks for harm, or for non-inferiority.")
    log_e: float | None = Field(None, description="Of an e-process: the logarithm of its greatest value so far.")
    scale: float | None = Field(None, gt=0, description="Of an e-process of means: squared mixing width by variance.")
    log_likelihoods: list[float] | None = Field(None, max_length=200, description="State of an e-process of counts.")
    totals: dict[str, list[float]] | None = Field(None, description="Likewise: failures of both arms, by stratum.")


class History(BaseModel):
    """The looks so far, as the last verdict gave them."""

    model_config = STRICT

    plan_digest: str = Field(min_length=64, max_length=64)
    looks: list[Look] = Field(max_length=2 * MAX_GATES * MAX_LOOKS)


class Evidence(BaseModel):
    """Everything that a verdict is made of, besides the plan."""

    model_config = STRICT

    at: AwareDatetime
    final: bool = Field(False, description="Nothing more will come: what is left of the error probabilities is spent.")
    devices: list[DeviceEvidence] = Field(max_length=MAX_DEVICES)
    history: History | None = None

    @field_validator("devices")
    @classmethod
    def _check_devices(cls, devices: list[Any]) -> list[Any]:
        known = set()
        for each in devices:
            if each.device in known:
                raise build_spec_error("repeated", N_("{value} is there twice."), value=each.device)
            known.add(each.device)
        return devices
