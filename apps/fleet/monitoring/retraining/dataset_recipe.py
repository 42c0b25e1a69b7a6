"""How a version of a model was made of a dataset version, whatever it learned from: a table, texts or images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.fleet.monitoring.retraining.recipe import (
    build_recipe_error,
    build_request_body,
    collect_steps,
    find_base_file,
    find_pipeline,
    replace_digest,
)
from apps.ml.registry.models import ModelVersion
from deepseek.messages import N_

IMAGES = "train_image"
SLOTS = {"train": "table", "train_entities": "texts", "train_language": "texts"}
"""Kind of training -> the input that holds what it learns from. One of images names a dataset version in its spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecipe:
    """A pipeline with a place for a dataset version."""

    base: DatasetVersion  # what it was made of
    file: DatasetFile | None  # of `base`; None where the whole version goes in
    body: Mapping[str, Any]  # of POST pipelines, with `base` as its data
    reference: str = ""  # `base` as the training names it, of images

    def build_body(self, data: DatasetVersion) -> dict[str, Any]:
        """The request of the same pipeline with another version. Raises Invalid where that has no such file."""
        if "template" in self.body:
            return {**self.body, "dataset": data.dataset.name, "version": data.number}
        if self.file is None:
            former, new = self.reference, f"{data.dataset.name}:v{data.number}"
            steps = [{**step, "spec": replace_images(step.get("spec", {}), former, new)} for step in self.body["steps"]]
            return {**self.body, "steps": steps}
        old, digest = self.file.artifact_id, find_same_file(data, self.file).artifact_id
        steps = [
            {**step, "inputs": {slot: replace_digest(each, old, digest) for slot, each in step["inputs"].items()}}
            if step.get("inputs")
            else step
            for step in self.body["steps"]
        ]
        return {**self.body, "steps": steps}


def replace_images(spec: Mapping[str, Any], former: str, new: str) -> dict[str, Any]:
    return {**spec, "images": new} if spec.get("images") == former else dict(spec)


def find_same_file(version: DatasetVersion, former: DatasetFile) -> DatasetFile:
    """The file at the same path, else the only one with the same ending; Invalid."""
    files = version.files.order_by("path")
    same = files.filter(path=former.path).first()
    if same is not None:
        return same
    ending = PurePosixPath(former.path).suffix
    alike = list(files.filter(path__endswith=ending)[:2]) if ending else []
    if len(alike) == 1:
        return alike[0]
    raise Invalid(
        "{version} has no file {path!r}, and not just one that ends in {ending!r}.",
        version=version,
        path=former.path[:120],
        ending=ending,
        code="no_file",
        field="dataset",
        hint=N_("Add a version with a file of that path."),
    )


def find_dataset_recipe(version: ModelVersion) -> DatasetRecipe:
    """The recipe of a version that a pipeline trained on a dataset version. Raises Invalid `no_recipe`."""
    pipeline = find_pipeline(version)
    if pipeline is None:
        raise build_recipe_error(version, N_("no pipeline registered it"))
    steps = collect_steps(pipeline)
    training = next((step for step in steps.values() if step.kind in SLOTS or step.kind == IMAGES), None)
    if training is None:
        raise build_recipe_error(version, N_("its pipeline trains no model"))
    body = build_request_body(pipeline, steps)
    if training.kind == IMAGES:
        reference = str(training.spec.get("images", ""))
        return DatasetRecipe(base=find_images(version, reference), file=None, body=body, reference=reference)
    file = find_base_file(version, steps, training, SLOTS[training.kind])
    return DatasetRecipe(base=file.version, file=file, body=body)


def find_images(version: ModelVersion, reference: str) -> DatasetVersion:
    """The dataset version that a training of images names, as NAME:vN or NAME:N."""
    name, _colon, text = reference.partition(":")
    number = text.removeprefix("v")
    rows = DatasetVersion.objects.select_related("dataset__project").filter(
        dataset__project=version.project_id, dataset__name=name, deleted_at=None
    )
    base = rows.filter(number=int(number)).first() if number.isdecimal() and len(number) < 10 else None
    if base is None:
        raise build_recipe_error(version, N_("the images that it learned from are in no dataset version"))
    return base
