"""What is known of a training's table before it is queued: a target of text, which no regression takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.registry import Registry
from apps.platform.accounts.models import Project
from deepseek.messages import Message
from deepseek.train.spec import TrainSpec

TABLE_COLUMNS: Registry[Callable[[Actor, Project, str], Mapping[str, str]]] = Registry("TABLE_COLUMNS")
"""Who knows the columns of an artifact: of its digest, {column: type as pyarrow writes it}; empty where unknown."""
TEXT_TYPES = ("string", "large_string", "dictionary")


def check_columns(actor: Actor, project: Project, spec: BaseModel, digests: Mapping[str, str]) -> list[dict[str, Any]]:
    """Errors of the columns that a training names; `digests`: of its inputs, by slot."""
    digest = next((digest for slot, digest in digests.items() if slot.partition("/")[0] == "table"), None)
    if not isinstance(spec, TrainSpec) or spec.task == "classification" or digest is None:
        return []
    for find_columns in TABLE_COLUMNS.values():
        columns = find_columns(actor, project, digest)
        if columns:
            return check_target(spec, columns)
    return []


def check_target(spec: TrainSpec, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """The error of a target of text, where a number is to be predicted."""
    dtype = columns.get(spec.target, "")
    if spec.task == "classification" or not dtype.startswith(TEXT_TYPES):
        return []
    return [
        {
            "code": "column_not_numeric",
            "message": Message(
                "The column {target!r} holds text, and the task {task} predicts numbers.",
                target=spec.target,
                task=spec.task,
            ),
            "field": "/spec/target",
            "limit": Message("a column of numbers"),
            "hint": Message("Choose the task classification for classes, or another target."),
        }
    ]
