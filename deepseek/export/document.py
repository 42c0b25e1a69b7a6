"""``manifest.json``: what lies in the folder of an export, and all that a program needs to use it without this one."""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from deepseek.entities.tokens import HASHES, RESERVED, SHAPES
from deepseek.entities.vocabulary import Assets
from deepseek.export.forms import Axes
from deepseek.models.manifest import (
    Digest,
    EntitiesArchitecture,
    ImageArchitecture,
    ModelManifest,
    compute_file_sha256,
)

SCHEMA: Final = "plane/export/v1"
EXPORT_MANIFEST_NAME = "manifest.json"
EXPORT_MANIFEST_TYPE = "application/vnd.plane.export+json"
VOCABULARY_NAME = "vocabulary.json"
PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorShape(_Record):
    """An input or output of every form; a name in the shape is an axis of any length."""

    name: str
    dtype: str
    shape: list[int | str]
    limits: dict[str, int] = {}  # axis -> its largest length


class Comparison(_Record):
    """How far a form lies from PyTorch on one batch of fresh inputs."""

    shape: list[int]  # of the input
    max_abs_difference: float
    max_rel_difference: float  # of the largest output


class FormRecord(_Record):
    """One form that was written, opened again and compared."""

    form: str
    file: str
    tolerance: float  # what max_rel_difference may be
    comparisons: list[Comparison]


class FileRecord(_Record):
    """A file by its bytes."""

    sha256: Digest
    size: int = Field(ge=0)


class ExportManifest(_Record):
    """The document. Equal exports give equal bytes: no time in it."""

    schema_: str = Field(SCHEMA, alias="schema")
    family: str
    task: str
    target: str
    parent: Digest  # of the model.json that it was made from
    model: Digest  # of the weights
    inputs: list[TensorShape]
    outputs: list[TensorShape]
    classes: list[str]
    preprocessing: dict[str, Any]
    postprocessing: dict[str, Any]
    forms: list[FormRecord]
    left_out: dict[str, str] = {}  # form -> why
    tools: dict[str, str]
    files: dict[str, FileRecord]

    def to_json(self) -> str:
        """The bytes of ``manifest.json``."""
        return (
            json.dumps(self.model_dump(mode="json", by_alias=True), ensure_ascii=False, sort_keys=True, indent=1) + "\n"
        )


def build_axes(manifest: ModelManifest) -> Axes:
    """The names of the input and the output, and the axes that have any length."""
    architecture = manifest.architecture
    if isinstance(architecture, EntitiesArchitecture):
        return Axes("tokens", "log_shares", {0: ("rows", None), 1: ("tokens", architecture.max_length)})
    return Axes("features", architecture.output, {0: ("rows", None)})


def describe_tensors(manifest: ModelManifest, axes: Axes) -> tuple[TensorShape, TensorShape]:
    """The input and the output of every form."""
    architecture = manifest.architecture
    is_text = isinstance(architecture, EntitiesArchitecture)
    names = [name for name, _ in axes.dynamic.values()]
    limits = {name: most for name, most in axes.dynamic.values() if most is not None}
    entry = TensorShape(
        name=axes.input_name,
        dtype="int64" if is_text else "float32",
        shape=[*names, *architecture.input_shape[len(names) - 1 :]],
        limits=limits,
    )
    return entry, TensorShape(name=axes.output_name, dtype="float32", shape=[*names, architecture.outputs])


def describe_preprocessing(manifest: ModelManifest, network: nn.Module, assets: Assets | None) -> dict[str, Any]:
    """What a program does with raw data before the network, and what the network then does itself."""
    architecture = manifest.architecture
    if isinstance(architecture, ImageArchitecture):
        return _describe_images(architecture, network)
    if isinstance(architecture, EntitiesArchitecture):
        return _describe_texts(architecture)
    mean, scale = network.get_buffer("input_mean").tolist(), network.get_buffer("input_scale").tolist()
    codes, columns = manifest.list_codes(), list[dict[str, Any]]()
    for place, name in enumerate(manifest.features):
        if place in codes:
            words = manifest.categories[name]
            columns.append({"name": name, "kind": "category", "categories": words, "other": len(words)})
        else:
            columns.append({"name": name, "kind": "number", "mean": mean[place], "scale": scale[place]})
    residual = getattr(architecture, "residual", False)
    return {
        "columns": columns,
        "codes": "a category is given as its place in categories, any other value and a missing one as other",
        "scaling": "inside the network: (value - mean) / scale"
        + (", of the distance from the last column" if residual else ""),
    }


def _describe_images(architecture: ImageArchitecture, network: nn.Module) -> dict[str, Any]:
    return {
        "orientation": "by EXIF",
        "colors": "RGB, transparent pixels on white, of 16 bits the upper 8",
        "resize": {
            "height": architecture.height,
            "width": architecture.width,
            "filter": "bilinear",
            "fit": "scaled to cover, then cut to the center",
        },
        "layout": "channels, rows, columns",
        "range": [0, 255],
        "normalization": {
            "place": "inside the network: (value - mean) / scale",
            "mean": network.get_buffer("input_mean").flatten().tolist(),
            "scale": network.get_buffer("input_scale").flatten().tolist(),
        },
    }


def _describe_texts(architecture: EntitiesArchitecture) -> dict[str, Any]:
    return {
        "tokenizer": "deepseek.entities.tokens, version 1: tokenize, then encode_tokens",
        "vocabulary": VOCABULARY_NAME,
        "words": f"the place in the vocabulary + {RESERVED}; 0 pads, 1 is any other word",
        "columns": ["word", "shape", *(f"hash {number}" for number in range(HASHES))],
        "shapes": list(SHAPES),
        "buckets": architecture.buckets,
        "padding": "shorter texts of a batch end in rows of zeros",
        "max_tokens": architecture.max_length,
    }


def describe_postprocessing(manifest: ModelManifest, assets: Assets | None) -> dict[str, Any]:
    """What a program does with the outputs."""
    if assets is not None:
        tags = ["O", *(f"{mark}-{label}" for label in assets.labels for mark in "BI")]
        return {"decoding": "deepseek.entities.tags.decode_tags", "tags": tags, "continuation": assets.continuation}
    if manifest.classes:
        return {"decoding": "the class with the largest share, in the order of classes"}
    return {"decoding": "none: values in the unit of the target", "target": manifest.target}


def list_tool_versions() -> dict[str, str]:
    """The versions of what wrote and compared the forms."""
    versions = {}
    for name in ("deepseek-offline", *PACKAGES):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def digest_files(folder: Path) -> dict[str, FileRecord]:
    """Every file of the folder by its bytes; a sidecar of large weights is among them."""
    return {
        path.name: FileRecord(sha256=compute_file_sha256(path), size=path.stat().st_size)
        for path in sorted(folder.iterdir())
    }


def write_vocabulary(assets: Assets, folder: Path) -> None:
    """The words in the order of their ids."""
    text = json.dumps(assets.vocabulary, ensure_ascii=False, indent=0) + "\n"
    (folder / VOCABULARY_NAME).write_text(text, encoding="utf-8", newline="")


def summarize_differences(forms: list[FormRecord]) -> Mapping[str, float]:
    """Form -> its largest relative difference."""
    return {record.form: max(one.max_rel_difference for one in record.comparisons) for record in forms}
