"""The spec of cleaning one table. Light to import: the web process reads it."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from deepseek.clean.steps_spec import AnyStep
from deepseek.partitions.spec import CLUSTER, CLUSTER_EXTRA, PARTITIONS, PROCESSES, refuse_processes
from deepseek.quality.expectations_spec import MAX_EXPECTATIONS, Expectation
from deepseek.spec_errors import build_spec_error
from deepseek.tables.spec import CsvSpec, refuse_repeats

ColumnName = Annotated[str, Field(min_length=1, max_length=500)]

DEFAULT_THRESHOLDS = {"iqr": 1.5, "robust_z": 3.5}
"""From Tukey (Exploratory Data Analysis, 1977), and Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993)."""


class OutlierSpec(BaseModel):
    """What counts as an outlier, and what becomes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["none", "iqr", "robust_z"] = Field(
        "none",
        title="Method",
        description=(
            "How outliers are found: not at all, by Tukey's fences around the quartiles, or by the robust z-score "
            "from median and median absolute deviation."
        ),
        json_schema_extra={
            "words": {
                "none": "leave them",
                "iqr": "fences around the quartiles",
                "robust_z": "distance from the median",
            }
        },
    )
    threshold: float | None = Field(
        None,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        title="Threshold",
        description=(
            "Beyond what a value is an outlier: a multiple of the interquartile range (1.5 if empty), "
            "or an absolute robust z-score (3.5 if empty)."
        ),
    )
    action: Literal["flag", "cap", "blank"] = Field(
        "flag",
        title="Action",
        description=(
            "What happens to an outlier: flag adds a true/false column NAME__outlier, cap moves the value to the "
            "nearest allowed one, blank makes it missing before the fill, which then fills it."
        ),
        json_schema_extra={
            "words": {
                "flag": "add a true/false column",
                "cap": "move to the nearest allowed value",
                "blank": "make missing, then fill",
            }
        },
    )

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, threshold: float | None, info: ValidationInfo) -> float | None:
        if threshold is not None and info.data.get("method") == "none":
            raise build_spec_error(
                "needs_method", "A threshold needs a method: choose iqr or robust_z, or leave it empty."
            )
        return threshold

    def limit(self) -> float:
        """The threshold in force, the method's default if none is given."""
        return self.threshold if self.threshold is not None else DEFAULT_THRESHOLDS.get(self.method, 0.0)


class CleanSpec(BaseModel):
    """Clean one table. Per column, in this order: find outliers; flag, cap or blank them; fill what is missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: list[ColumnName] | None = Field(
        None,
        min_length=1,
        max_length=10_000,
        title="Columns",
        description="The numeric columns to clean; empty for every numeric column.",
    )
    window_size: int = Field(
        5,
        ge=1,
        le=100_001,
        title="Window",
        description=(
            "Rows in the window around a missing value, itself included; cut at the ends of the table. "
            "An even number acts as the next odd one."
        ),
        json_schema_extra={"unit": "rows"},
    )
    fill: Literal["median_window", "none"] = Field(
        "median_window",
        title="Fill",
        description="How missing values are filled: by the median of the original values in the window, or not.",
        json_schema_extra={"words": {"median_window": "median around each gap", "none": "leave the gaps"}},
    )
    outliers: OutlierSpec = Field(
        default=OutlierSpec(), title="Outliers", description="What counts as an outlier, and what becomes of it."
    )
    steps: list[AnyStep] | None = Field(
        None,
        max_length=100,
        title="Plan of steps",
        description="A plan of steps, done in this order in place of the simple fields.",
    )
    processes: int = PROCESSES
    partitions: int | None = PARTITIONS
    cluster: bool = CLUSTER
    csv: CsvSpec = Field(
        default=CsvSpec(), title="CSV", description="How to read the table if it is text rather than Parquet."
    )
    expectations: list[Expectation] = Field(
        default=[],
        max_length=MAX_EXPECTATIONS,
        title="Expectations",
        description=(
            "Expectations for the cleaned table: if one of severity error fails, the job fails and creates nothing."
        ),
    )

    _no_repeats = field_validator("columns")(refuse_repeats)
    _cluster_alone = field_validator("cluster")(refuse_processes)

    extra_field: ClassVar[str] = "/cluster"  # that asks for `extra`

    @property
    def extra(self) -> str:
        """What of a node beyond the core it needs (apps/platform/nodes/extras.py)."""
        return CLUSTER_EXTRA if self.cluster else ""

    @field_validator("steps", mode="before")
    @classmethod
    def _drop_empty_plan(cls, steps: Any) -> Any:
        """An empty list is no plan: a form sends one, and the simple fields hold."""
        return None if steps == [] else steps

    @field_validator("steps")
    @classmethod
    def _check_steps_alone(cls, steps: list[AnyStep] | None, info: ValidationInfo) -> list[AnyStep] | None:
        simple = ("columns", "window_size", "fill", "outliers")
        fields = cls.model_fields
        changed = [name for name in simple if name in info.data and info.data[name] != fields[name].default]
        if steps is not None and changed:
            raise build_spec_error(
                "steps_alone",
                "A plan of steps says everything: leave {names} as it is, or leave the steps out.",
                names=", ".join(changed),
            )
        return steps
