"""The spec of a job that runs its user's own code."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

MAX_PROCESSES = 64  # of one node
MAX_SLOT = 255  # characters of an output's path
MAX_DATA = 50  # dataset versions
CODE = "code"
"""The input with the archive of the code, or the folder of the inputs that are its files."""
DISTRIBUTED = "python"
"""What a command begins with that is started once for each process."""


def validate_output_path(path: str) -> str:
    """Raise unless `path` is relative, with forward slashes, and leads to a file below its folder."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise build_spec_error(
            "bad_path",
            N_("{path!r} is no path below the output folder: write it like model.pt or plots/loss.png."),
            path=path[:80],
        )
    return path


Argument = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]
OutputPath = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLOT), AfterValidator(validate_output_path)]
VersionName = Annotated[str, StringConstraints(min_length=3, max_length=80, pattern=r"^[^:/\s]+:v?[0-9]+$")]


class ScriptSpec(BaseModel):
    """Run a command on code of your own, in a sandbox."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: tuple[Argument, ...] = Field(
        min_length=1,
        max_length=1000,
        title="Command",
        description="Program and arguments, run in the folder of the code: for instance python, train.py, --lr, 0.1.",
    )
    code: str = Field(
        "",
        max_length=120,
        pattern=r"^([^:/\s]+:[^:/\s]+)?$",
        title="Code from a repository",
        description="Version, commit or tag of a dataset whose files are the code, as NAME:v1; instead of an archive.",
    )
    processes: int = Field(
        1,
        ge=1,
        le=MAX_PROCESSES,
        title="Processes",
        description="Processes of the script on each node; more than one are started by torchrun.",
        json_schema_extra={"unit": "processes"},
    )
    data: tuple[VersionName, ...] = Field(
        (),
        max_length=MAX_DATA,
        title="Dataset versions",
        description="Dataset versions that the script reads, as NAME:vN; their files are in $DATA/NAME.",
    )
    outputs: tuple[OutputPath, ...] = Field(
        (),
        max_length=100,
        title="Promised outputs",
        description="Files below $OUT without which the job fails. All other files there are kept too.",
    )
    table: str = Field(
        "",
        max_length=MAX_SLOT,
        title="Table for the dataset",
        description="Which file below $OUT becomes the dataset version; empty: the only table there.",
    )
    environment: str = Field(
        "",
        max_length=32,
        pattern=r"^[A-Za-z0-9._-]*$",
        title="Environment",
        description="Name of a virtual environment or an image that the operator has set up; empty: the node's Python.",
    )

    @property
    def extra(self) -> str:
        """What a node needs beyond that of the kind: the environment that is named, if one is."""
        return f"scripts:{self.environment}" if self.environment else ""

    @model_validator(mode="after")
    def check_command(self) -> "ScriptSpec":
        """Several processes need an interpreter that torchrun can start."""
        if self.processes > 1 and (self.command[0] != DISTRIBUTED or len(self.command) < 2):
            raise build_spec_error(
                "bad_command",
                N_("{processes} processes need a command that begins with python and names a script."),
                processes=self.processes,
            )
        return self
