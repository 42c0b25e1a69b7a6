"""The bodies of REST."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from apps.platform.jobs.serializers import STRICT

MAX_ROW = 2**53


class RecallBody(BaseModel):
    model_config = STRICT

    type: str = Field(max_length=40, description="What is recalled: dataset_version, model_version, run...")
    id: str = Field(max_length=300, description="Its id as lineage has it, or name:number of a version.")
    row: Annotated[int, Field(ge=1, le=MAX_ROW)] | Annotated[str, Field(max_length=400)] | None = Field(
        None, description="One row of a dataset version: its number from 1, or column=value of a CSV table."
    )
    reason: str = Field(min_length=1, max_length=400, description="Stands in the trail and on everything it acts on.")
    note: str = Field("", max_length=10_000, description="What is known of the fault.")
    exact_only: bool = Field(False, description="Leave alone what only may contain the row.")
    quarantine: bool = Field(False, description="Quarantine devices that have no release to go back to.")


class RetryBody(BaseModel):
    model_config = STRICT

    reason: str = Field("", max_length=400)
