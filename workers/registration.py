"""What a job's outputs become, by kind; called in the transaction that ends the job, so it reads no bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.actors import Actor
from apps.jobs.models import Job


def nothing(actor: Actor, job: Job, result: Mapping[str, Any]) -> None:
    """The outputs stay artifacts of the job; the lineage says where they came from."""
