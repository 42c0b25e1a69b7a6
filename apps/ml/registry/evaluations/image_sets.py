"""What a model is measured on: the table of an evaluation set, or the images of its version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.core.canonical import compute_digest
from apps.data.datasets.queries import load_files
from apps.data.datasets.versions.image_data import TABLE, build_image_slot, select_image_files
from apps.ml.registry.documents import read_document
from apps.ml.registry.models import EvaluationSet, ModelVersion
from deepseek.tables.part_manifest import is_part_path


def takes_images(version: ModelVersion) -> bool:
    """Whether the version is a model of images, which is measured on the files of a set and not on its table."""
    architecture = read_document(version.document).get("architecture") if version.document else None
    return isinstance(architecture, dict) and architecture.get("type") == "image"


def is_image_slot(slot: str) -> bool:
    """Whether a file of a folder of images is in this slot of an evaluation."""
    return slot.startswith(f"{TABLE}/") and not is_part_path(slot)


def list_set_images(on: EvaluationSet) -> dict[str, str]:
    """{slot: digest} of the images of the set, as a job takes them, and of the table of their labels; one query."""
    files = select_image_files(on.dataset_version, load_files(on.dataset_version))
    return {build_image_slot(file.path, TABLE): file.artifact_id for file in files}


def compare_data(
    document: Mapping[str, Any], inputs: Mapping[str, str], on: EvaluationSet
) -> dict[str, tuple[object, object]]:
    """What was measured on beside what the set has: its table, or each image of its version."""
    images = {slot: digest for slot, digest in inputs.items() if is_image_slot(slot)}
    if images:
        return {"the set's images": (compute_digest(images), compute_digest(list_set_images(on)))}
    if on.dataset_version.parts:
        return {"the set's table": (document.get("table"), on.dataset_version.digest)}
    return {
        "table": (document.get("table"), inputs.get(TABLE)),
        "the set's table": (document.get("table"), on.table_id),
    }
