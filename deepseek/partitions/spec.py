"""Fields of the specs of jobs that run over the partitions of a table. Light to import."""

from typing import Any

from pydantic import Field

MAX_PROCESSES = 64
MAX_PARTS = 1_000

PROCESSES: Any = Field(
    1,
    ge=1,
    le=MAX_PROCESSES,
    title="Processes",
    description="Processes of the node that share the work, each on partitions of the table; the job takes a CPU each.",
)
PARTITIONS: Any = Field(
    None,
    ge=1,
    le=MAX_PARTS,
    title="Parts of the result",
    description=(
        "Into how many Parquet files of about as many rows each the work and the result are split. Empty: a table in "
        "parts stays in parts, and a table in one file becomes one file."
    ),
)
