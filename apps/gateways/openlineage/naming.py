"""OpenLineage names: namespaces and run ids of our events, and keys of foreign jobs and datasets. Pure."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid5

from django.conf import settings

FOREIGN_JOB, FOREIGN_DATASET = "foreign_job", "foreign_dataset"
RUN_ID_NAMESPACE = UUID("3f1c9a52-5b0e-5b57-9a0c-6c1f6c9b6a11")
"""The name space of our run ids; a number of our own, drawn once."""


def get_namespace(slug: str) -> str:
    """The namespace of a project's jobs and datasets."""
    return f"{settings.ENV.openlineage_namespace}/{slug}"


def get_run_id(job: int, attempt: int) -> UUID:
    """The run id of one attempt of a job: the same whoever asks, and never that of another attempt."""
    return uuid5(RUN_ID_NAMESPACE, f"{settings.ENV.openlineage_namespace}/job/{job}/{attempt}")


def get_pipeline_run_id(pipeline: int) -> UUID:
    return uuid5(RUN_ID_NAMESPACE, f"{settings.ENV.openlineage_namespace}/pipeline/{pipeline}")


def build_key(namespace: str, name: str, version: str = "") -> str:
    """32 hex digits: an end's id may hold no slashes, and no more than 80 characters."""
    text = "\0".join((namespace, name, version))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
