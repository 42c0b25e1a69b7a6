"""The spec of a training on images. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepseek.tables.spec import refuse_repeats
from deepseek.train.loop_spec import (
    CheckpointEvery,
    Device,
    Dropout,
    Epochs,
    MicroBatch,
    Patience,
    Precision,
    Processes,
    ScheduleSpec,
    Seed,
    ServerMode,
    Servers,
    Staleness,
    Strategy,
    TestShare,
    Threads,
    ValidationShare,
    WeightDecay,
)

IMAGES = "images"
"""The input slot with the folder, or before the path of each of its files."""
WEIGHTS = "weights"

Augmentation = Literal["flip", "crop", "color"]
ClassName = Annotated[str, Field(min_length=1, max_length=500)]
VERSION_PATTERN = r"^([^:/\s]+:v?[0-9]+)?$"


class ImageSpec(BaseModel):
    """Train a convolutional network to tell the classes of images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str = Field(
        "",
        max_length=80,
        pattern=VERSION_PATTERN,
        title="Images",
        description=(
            "Version of a dataset whose files are images, as NAME:vN. Labels are those of its table images.csv. On the "
            "command line a folder is given instead."
        ),
    )
    backbone: Literal["resnet18", "mobilenet_v3_small", "mobilenet_v3_large"] = Field(
        "resnet18",
        title="Network",
        description="ResNet-18 has 11 million weights, MobileNetV3 1.5 (small) or 4.2 million (large).",
        json_schema_extra={
            "words": {
                "resnet18": "ResNet-18",
                "mobilenet_v3_small": "MobileNetV3 small",
                "mobilenet_v3_large": "MobileNetV3 large",
            }
        },
    )
    height: int = Field(
        224,
        ge=32,
        le=1024,
        title="Height",
        description="Each image is scaled and cut at its edges to this height and width.",
        json_schema_extra={"unit": "pixels"},
    )
    width: int = Field(
        224, ge=32, le=1024, title="Width", description="As the height.", json_schema_extra={"unit": "pixels"}
    )
    classes: list[ClassName] | None = Field(
        None,
        min_length=2,
        max_length=10_000,
        title="Classes",
        description="The labels to learn, in the order of the outputs; every label that there is if empty.",
    )
    augmentation: list[Augmentation] = Field(
        ["flip", "crop"],
        max_length=3,
        title="Augmentation",
        description=(
            "What is changed at random each time an image is learned from: flip (left to right), crop (a part of it, "
            "scaled up), color (brightness, contrast and saturation)."
        ),
        json_schema_extra={"words": {"flip": "mirror", "crop": "crop and scale", "color": "change the colors"}},
    )
    on_broken: Literal["skip", "fail"] = Field(
        "skip",
        title="Broken images",
        description="skip: leave out images that cannot be decoded, up to a tenth, and name them. fail: refuse them.",
        json_schema_extra={"words": {"skip": "leave them out", "fail": "refuse"}},
    )
    validation_share: ValidationShare = 0.15
    test_share: TestShare = 0.15
    dropout: Dropout = 0.2
    weight_decay: WeightDecay = 1e-4
    epochs: Epochs = 20
    patience: Patience = 5
    schedule: ScheduleSpec = Field(
        default_factory=ScheduleSpec, title="Schedule", description="The learning rate and the batch size, by step."
    )
    seed: Seed = 0
    precision: Precision = "auto"
    device: Device = "auto"
    threads: Threads = 1
    strategy: Strategy = "none"
    processes: Processes = 1
    server_mode: ServerMode = "sync"
    servers: Servers = 1
    staleness: Staleness = 4
    micro_batch: MicroBatch = 0
    activation_checkpointing: bool = Field(
        False,
        title="Activation checkpointing",
        description="Compute what lies between the layers twice instead of keeping it: a third slower, less memory.",
    )
    cache_megabytes: int = Field(
        1024,
        ge=0,
        le=1_000_000,
        title="Cache",
        description="Decoded images up to this size are kept in memory; more lie in a temporary file.",
        json_schema_extra={"unit": "MB"},
    )
    checkpoint_every: CheckpointEvery = 100

    @field_validator("classes", "augmentation")
    @classmethod
    def _differ(cls, values: list[str] | None) -> list[str] | None:
        if values is not None:
            refuse_repeats(values)
        return values
