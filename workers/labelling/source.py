"""The tasks of a labelling project: from a file, from images, or from what the level before agreed on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.db import connection

from apps.data.datasets.queries import iter_chunks
from apps.ml.labelling.models import LabellingProject
from apps.ml.labelling.services import importing, results
from apps.ml.labelling.states import TaskOrder
from apps.ml.registry.models import ModelVersion
from deepseek.job import EngineError
from deepseek.labelling.tasks import Task, add_prelabels, iterate_tasks
from workers.labelling.round import Round

IMAGE_SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}


def prepare_tasks(turn: Round) -> None:
    """Read the source and store its tasks, in the order that annotators meet them. Raises EngineError."""
    labelling = turn.labelling
    tasks: list[Task] = []
    for task in iterate_source(turn):
        tasks.append(task)
        if len(tasks) > importing.MAX_TASKS:
            raise EngineError(
                "too_many_tasks",
                "The source has more than {most} tasks.",
                most=importing.MAX_TASKS,
                limit=importing.MAX_TASKS,
            )
    if not tasks:
        raise EngineError("no_tasks", "The source has no task.")
    if labelling.order == TaskOrder.UNCERTAINTY:
        tasks.sort(key=lambda task: -(task["uncertainty"] or 0.0))
    turn.renew_lease()
    importing.store_tasks(actor=turn.actor, labelling=labelling, tasks=tasks)


def iterate_source(turn: Round) -> Iterator[Task]:
    labelling = turn.labelling
    if labelling.parent is not None:
        yield from iterate_parent(labelling.parent)
    elif turn.schema.data == "image":
        yield from iterate_images(labelling)
    else:
        yield from iterate_rows(turn)


def iterate_parent(parent: LabellingProject) -> Iterator[Task]:
    """What the level before agreed on, with its marks to begin from."""
    for result in results.iterate_results(parent):
        yield {
            "row": result["row"],
            "data": result["data"],
            "gold": None,
            "prelabel": result["marks"],
            "uncertainty": None,
        }


def iterate_images(labelling: LabellingProject) -> Iterator[Task]:
    files = {file.path: file.artifact_id for file in labelling.source.files.all()}
    for row, path in enumerate(sorted(files)):
        if Path(path).suffix.lower() in IMAGE_SUFFIXES:
            data = {"image": path, "digest": files[path]}
            yield {"row": row, "data": data, "gold": None, "prelabel": None, "uncertainty": None}


def iterate_rows(turn: Round) -> Iterator[Task]:
    """Texts and rows of the source's file, with pre-labels where a model gives them."""
    labelling = turn.labelling
    source = labelling.source.files.get(path=labelling.source_file)
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        local = fetch_file(Path(folder, "source"), source.artifact_id)
        tasks = iterate_tasks(local, labelling.source_file, turn.schema, labelling.text_column)
        if labelling.prelabel_version is not None:
            model, manifest = fetch_model(labelling.prelabel_version, Path(folder))
            tasks = add_prelabels(tasks, model, manifest, turn.schema)
        for place, task in enumerate(tasks):
            if place % 256 == 0:
                turn.keep_lease()
            yield task


def fetch_model(version: ModelVersion, folder: Path) -> tuple[Path, Path]:
    """The files of its fp32 form, or of the only form it has: weights and manifest."""
    variant = version.variants.filter(format="safetensors").order_by("pk").first() or version.variants.first()
    if variant is None:
        raise EngineError("no_variant", "{model} has no form that can run here.", model=str(version))
    model = fetch_file(folder / Path(variant.file).name, variant.artifact_id)
    return model, fetch_file(folder / "model.json", variant.manifest_id)


def fetch_file(path: Path, digest: str) -> Path:
    with path.open("wb") as file:
        for chunk in iter_chunks(digest):
            file.write(chunk)
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()  # reading the file and predicting may take minutes
    return path
