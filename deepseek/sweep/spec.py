"""What a sweep tries, and the spec of the short job that is asked for its next trials. The web process reads it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

MAX_PARAMETERS = 20
MAX_CHOICES = 50
MAX_TRIALS = 500
MAX_ASKED = 100
"""Trials that one job is asked for."""

STRICT = ConfigDict(frozen=True, extra="forbid")
Scalar = str | int | float | bool
Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        title="Parameter",
        description=(
            "Pointer to a field of the spec, like /schedule/max_lr; of a script a word, whose value replaces {word} in "
            "the arguments of the command."
        ),
    ),
]


def split_choices(value: Any) -> Any:
    """A list typed as text: JSON, or values between commas or lines, of which numbers and true and false are such."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for line in value.splitlines() for part in line.split(",")]
    return [parse_scalar(part) for part in parts if part]


def parse_scalar(text: str) -> Scalar:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


class FloatParameter(BaseModel):
    """A number between two bounds."""

    model_config = STRICT

    type: Literal["float"] = Field(title="Number")
    name: Name
    low: float = Field(allow_inf_nan=False, title="Lowest", description="The lowest value to try.")
    high: float = Field(allow_inf_nan=False, title="Highest", description="The highest value to try.")
    log: bool = Field(
        False, title="Logarithmic", description="Try values evenly by magnitude, as suits learning rates."
    )

    @model_validator(mode="after")
    def _check(self) -> FloatParameter:
        check_bounds(self.low, self.high, self.log)
        return self


class IntParameter(BaseModel):
    """A whole number between two bounds."""

    model_config = STRICT

    type: Literal["int"] = Field(title="Whole number")
    name: Name
    low: int = Field(ge=-(2**53), le=2**53, title="Lowest", description="The lowest value to try.")
    high: int = Field(ge=-(2**53), le=2**53, title="Highest", description="The highest value to try.")
    log: bool = Field(False, title="Logarithmic", description="Try values evenly by magnitude, as suits sizes.")

    @model_validator(mode="after")
    def _check(self) -> IntParameter:
        check_bounds(self.low, self.high, self.log)
        return self


class ChoiceParameter(BaseModel):
    """One of a few values."""

    model_config = STRICT

    type: Literal["choice"] = Field(title="Choice")
    name: Name
    choices: Annotated[list[Scalar], BeforeValidator(split_choices)] = Field(
        min_length=2,
        max_length=MAX_CHOICES,
        title="Values",
        description="The values to try: a JSON list, or values between commas.",
    )

    @field_validator("choices")
    @classmethod
    def _check_repeats(cls, choices: list[Scalar]) -> list[Scalar]:
        texts = [json.dumps(choice) for choice in choices]
        repeated = next((text for text in texts if texts.count(text) > 1), None)
        if repeated is not None:
            raise build_spec_error("repeated", N_("{value} is there twice."), value=repeated[:60])
        return choices


def check_bounds(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise build_spec_error(
            "bad_bounds", N_("The lowest value {low} is not below the highest, {high}."), low=low, high=high
        )
    if log and low <= 0:
        raise build_spec_error("bad_bounds", N_("A logarithmic range begins above 0, and this one at {low}."), low=low)


Parameter = Annotated[FloatParameter | IntParameter | ChoiceParameter, Field(discriminator="type")]


class SweepSettings(BaseModel):
    """What a sweep tries, what it looks for, and when it stops."""

    model_config = STRICT

    space: list[Parameter] = Field(
        min_length=1, max_length=MAX_PARAMETERS, title="Search space", description="The parameters that are varied."
    )
    metric: str = Field(
        min_length=1,
        max_length=250,
        pattern=r"^[^\x00]+$",
        title="Objective",
        description="Name of a metric that each trial's run reports, for instance validation_loss.",
    )
    direction: Literal["minimize", "maximize"] = Field(
        "minimize",
        title="Direction",
        description="Whether a lower or a higher value of the metric is better.",
        json_schema_extra={"words": {"minimize": "lower is better", "maximize": "higher is better"}},
    )
    value: Literal["last", "best"] = Field(
        "last",
        title="Value of a trial",
        description="Which of a trial's values counts.",
        json_schema_extra={"words": {"last": "at its last step", "best": "the best of all steps"}},
    )
    trials: int = Field(
        20,
        ge=1,
        le=MAX_TRIALS,
        title="Trials",
        description="How many trials the sweep makes; pruned and failed ones count.",
        json_schema_extra={"unit": "trials"},
    )
    parallel: int = Field(
        2,
        ge=1,
        le=64,
        title="At once",
        description="How many trials are queued or running at a time.",
        json_schema_extra={"unit": "trials"},
    )
    sampler: Literal["tpe", "random"] = Field(
        "tpe",
        title="Sampler",
        description="How the values of the next trial are chosen.",
        json_schema_extra={
            "words": {"tpe": "learns from the trials so far (TPE)", "random": "independent of other trials"}
        },
    )
    startup_trials: int = Field(
        10,
        ge=1,
        le=MAX_ASKED,
        title="Random trials first",
        description="How many trials TPE draws at random before it learns from them.",
        json_schema_extra={"unit": "trials"},
    )
    pruner: Literal["none", "median", "halving"] = Field(
        "none",
        title="Pruning",
        description="When a trial that does badly is stopped early, by the metric that it reports.",
        json_schema_extra={
            "words": {
                "none": "never",
                "median": "when it is worse than the median of the others at the same step",
                "halving": "when it is not among the best at a rung (successive halving)",
            }
        },
    )
    pruning_trials: int = Field(
        5,
        ge=1,
        le=MAX_TRIALS,
        title="Trials before pruning",
        description="Of the median: how many trials must have succeeded before one is stopped.",
        json_schema_extra={"unit": "trials"},
    )
    pruning_steps: int = Field(
        1,
        ge=0,
        le=2**31,
        title="Steps before pruning",
        description="Before this step of the metric no trial is stopped; of successive halving the first rung.",
        json_schema_extra={"unit": "steps"},
    )
    reduction_factor: int = Field(
        4,
        ge=2,
        le=100,
        title="Reduction factor",
        description="Of successive halving: one in so many goes on at a rung, and the next one is so many times later.",
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, title="Seed", description="Of the sampler: the same results lead to the same trials."
    )
    timeout_seconds: int | None = Field(
        None,
        ge=1,
        le=365 * 86_400,
        title="Time limit of the sweep",
        description="After this time no further trial starts; those that run end by themselves. Empty: none.",
        json_schema_extra={"unit": "seconds"},
    )

    @field_validator("space")
    @classmethod
    def _check_names(cls, space: list[Any]) -> list[Any]:
        names = [parameter.name for parameter in space]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise build_spec_error("repeated", N_("{value} is there twice."), value=repeated[:60])
        return space


class TrialRecord(BaseModel):
    """A trial so far, as the sampler learns of it."""

    model_config = STRICT

    state: Literal["running", "complete", "pruned", "failed"]
    values: list[Scalar] = Field(max_length=MAX_PARAMETERS, description="Of the parameters, in the order of the space.")
    objective: float | None = Field(None, allow_inf_nan=False)
    step: int | None = Field(None, description="Of a pruned trial: at which the objective was measured.")


class SweepAskSpec(BaseModel):
    """Choose the values of a sweep's next trials, and tell how much each parameter mattered so far."""

    model_config = STRICT

    settings: SweepSettings
    count: int = Field(0, ge=0, le=MAX_ASKED, description="How many trials to choose values for.")
    trials: list[TrialRecord] = Field([], max_length=MAX_TRIALS, description="Every trial so far, by number.")


class SweepAnswer(BaseModel):
    """What the job answers."""

    model_config = STRICT

    trials: list[list[Scalar]] = Field(max_length=MAX_ASKED, description="Values in the order of the space.")
    importance: dict[str, float] = Field(description="Share of each parameter; empty where too few trials are there.")
