"""Fields of the specs of jobs that run over the partitions of a table. Light to import."""

from typing import Any

from pydantic import Field, ValidationInfo

from deepseek.spec_errors import build_spec_error

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
CLUSTER: Any = Field(
    False,
    title="Dask cluster",
    description=(
        "Whether the Dask cluster that the operator has configured shares the work, in the place of processes of the "
        "node."
    ),
)
CLUSTER_EXTRA = "cluster"
"""What a node has whose worker knows a cluster (apps/platform/nodes/extras.py)."""


def refuse_processes(is_on_cluster: bool, info: ValidationInfo) -> bool:
    """For the field of CLUSTER, after that of PROCESSES: the work is shared here or there."""
    processes = info.data.get("processes", 1)
    if is_on_cluster and processes > 1:
        raise build_spec_error(
            "cluster_alone",
            "The cluster's workers share the work, and {processes} processes of the node are asked for: leave "
            "processes at 1, or the cluster out.",
            processes=processes,
        )
    return is_on_cluster
