"""The plan of a canary: what is compared, by which tests, and when the evidence is enough. Light to import."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
NAME_LIMIT = 100
MAX_GATES = 20

Arm = Literal["canary", "control"]
TestKind = Literal["harm", "non_inferiority"]


class Gate(BaseModel):
    """One figure of a device, and the tests that it has to pass."""

    model_config = STRICT

    name: str = Field(
        min_length=1, max_length=NAME_LIMIT, title="Name", description="Of the figure, as devices send it."
    )
    measure: Literal["value", "install_failure", "silence", "failure"] = Field(
        "value",
        title="Measure",
        description="What is taken of a device.",
        json_schema_extra={
            "words": {
                "value": "the figure that it sends under the gate's name",
                "install_failure": "whether the installation failed",
                "silence": "whether it fell silent after the installation",
                "failure": "whether either happened",
            }
        },
    )
    scale: Literal["continuous", "binary"] = Field(
        "continuous",
        title="Scale",
        description="A number whose mean over devices is compared, or 0 or 1 whose share is.",
        json_schema_extra={"words": {"continuous": "number", "binary": "0 or 1"}},
    )
    better: Literal["lower", "higher"] = Field(
        "lower",
        title="Better",
        description="Which direction is better.",
        json_schema_extra={"words": {"lower": "lower is better", "higher": "higher is better"}},
    )
    reference: Literal["control", "limit"] = Field(
        "control",
        title="Compared with",
        description="Control devices of the same stratum, or a fixed share.",
        json_schema_extra={"words": {"control": "control devices", "limit": "a fixed share"}},
    )
    limit: float | None = Field(
        None, gt=0, lt=1, title="Limit", description="The highest acceptable share, where no control is compared with."
    )
    tests: list[TestKind] = Field(
        ["harm"],
        min_length=1,
        max_length=2,
        title="Tests",
        description="Harm rolls back when it is shown; non-inferiority has to be shown before the rollout goes on.",
    )
    tolerance: float = Field(
        0.0, ge=0, title="Tolerance", description="A difference up to this is no harm, in the figure's unit."
    )
    margin: float | None = Field(
        None, gt=0, title="Margin", description="Non-inferior is what is worse by less than this, in the figure's unit."
    )
    min_observations: int = Field(
        1,
        ge=1,
        le=10**9,
        title="Observations per device",
        description="A device with fewer observations of the figure is left out.",
        json_schema_extra={"unit": "observations"},
    )

    @model_validator(mode="after")
    def _check(self) -> Gate:
        if self.measure != "value" and (self.scale != "binary" or self.better != "lower"):
            raise build_spec_error(
                "bad_scale",
                N_("The measure {measure} is 0 or 1, and lower is better: set scale to binary."),
                measure=self.measure,
            )
        if self.measure == "install_failure" and self.reference != "limit":
            raise build_spec_error(
                "bad_reference", N_("Control devices install nothing: compare install_failure with a limit.")
            )
        if (self.reference == "limit") != (self.limit is not None):
            raise build_spec_error("bad_limit", N_("A limit is given with the reference limit, and only with it."))
        if self.reference == "limit" and self.scale != "binary":
            raise build_spec_error("bad_limit", N_("Only a binary figure is compared with a limit."))
        if len(set(self.tests)) < len(self.tests):
            raise build_spec_error("repeated", N_("{value} is there twice."), value=self.tests[0])
        if self.reference == "control" and "non_inferiority" in self.tests and self.margin is None:
            raise build_spec_error("no_margin", N_("Non-inferiority needs a margin."))
        if self.margin is not None and self.margin <= self.tolerance:
            raise build_spec_error(
                "bad_margin",
                N_("The margin {margin} is not above the tolerance, {tolerance}."),
                margin=self.margin,
                tolerance=self.tolerance,
            )
        return self


class Maximum(BaseModel):
    """How many devices the evidence will come from at most."""

    model_config = STRICT

    canary: int = Field(
        ge=1, le=10**7, title="Canary devices", description="Of the wave.", json_schema_extra={"unit": "devices"}
    )
    control: int = Field(
        0,
        ge=0,
        le=10**7,
        title="Control devices",
        description="That they are compared with. 0: every gate has a limit.",
        json_schema_extra={"unit": "devices"},
    )


class CanaryPlan(BaseModel):
    """Decide whether a wave of canary devices may go on, is rolled back, or waits."""

    model_config = STRICT

    gates: list[Gate] = Field(min_length=1, max_length=MAX_GATES, title="Gates", description="What is compared.")
    maximum: Maximum | None = Field(
        None,
        title="Planned maximum",
        description="Group-sequential tests up to this sample. Empty: anytime-valid tests (e-processes) with no end.",
    )
    soak_seconds: float = Field(
        86_400,
        gt=0,
        le=366 * 86_400,
        title="Soak time",
        description="How long each device is observed after the installation.",
        json_schema_extra={"unit": "seconds"},
    )
    soak_share: float = Field(
        1.0,
        gt=0,
        le=1,
        title="Share soaked",
        description="So many of the canary devices must have soaked, failed or fallen silent before the wave goes on.",
    )
    silence_seconds: float = Field(
        3_600,
        gt=0,
        le=366 * 86_400,
        title="Deadline of silence",
        description="A device that was not heard for this long after the installation has failed.",
        json_schema_extra={"unit": "seconds"},
    )
    min_canary: int = Field(
        10,
        ge=2,
        le=10**7,
        title="Least canary devices",
        description="With fewer, only failures counted exactly decide.",
        json_schema_extra={"unit": "devices"},
    )
    min_control: int = Field(
        10,
        ge=2,
        le=10**7,
        title="Least control devices",
        description="With fewer, only failures counted exactly decide.",
        json_schema_extra={"unit": "devices"},
    )
    max_uncovered_share: float = Field(
        0.1,
        ge=0,
        le=1,
        title="Share without control",
        description="At most this share of the canary devices may stand in strata without a control device.",
    )
    harm_alpha: float = Field(
        0.01,
        gt=1e-6,
        lt=0.5,
        title="False roll-backs",
        description="Probability that a good version is rolled back, over all looks and gates.",
    )
    non_inferiority_alpha: float = Field(
        0.05,
        gt=1e-6,
        lt=0.5,
        title="False promotions",
        description="Probability that a version worse by a margin goes on, over all looks.",
    )
    power: float = Field(
        0.9, gt=0.5, lt=1, title="Power", description="For what the verdict says of detectable differences."
    )
    shortage: Literal["hold", "roll_back"] = Field(
        "hold",
        title="Too few devices",
        description="The verdict when the evidence is final and the minimum sample was not met.",
        json_schema_extra={"words": {"hold": "hold and ask", "roll_back": "roll back"}},
    )

    @field_validator("gates")
    @classmethod
    def _check_names(cls, gates: list[Gate]) -> list[Gate]:
        names = [gate.name for gate in gates]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise build_spec_error("repeated", N_("{value} is there twice."), value=repeated)
        return gates

    @model_validator(mode="after")
    def _check(self) -> CanaryPlan:
        for gate in self.gates:
            if gate.reference != "control":
                continue
            if self.maximum is not None and not self.maximum.control:
                raise build_spec_error(
                    "no_control", N_("The gate {gate} compares with control devices: plan some."), gate=gate.name
                )
            if self.maximum is None and gate.margin is None:
                raise build_spec_error(
                    "no_margin", N_("Without a planned maximum the gate {gate} needs a margin."), gate=gate.name
                )
        return self

    def compute_digest(self) -> str:
        """SHA-256 of the plan as canonical JSON: looks that were taken under another plan do not count for this one."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
