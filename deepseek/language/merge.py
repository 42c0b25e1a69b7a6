"""Add an adapter to its base model: the entry point of the capability.

The base is read and the result written tensor by tensor, so memory holds the largest tensor a few times, whatever the
size of the model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepseek.job import EngineError, Output, Report, Result, stage_outputs
from deepseek.language.adapter import Adapter, merge_tensor, read_adapter
from deepseek.language.base import Base, read_base
from deepseek.language.errors import require_packages
from deepseek.language.outputs import ADAPTER_CONFIG, FILES, build_architecture, write_manifest
from deepseek.language.spec import BASE, MergeSpec
from deepseek.language.tensor_files import TensorInfo, write_tensors
from deepseek.language.unpack import compute_folder_digest, open_base
from deepseek.messages import N_
from deepseek.models.assets import ASSETS, encode_assets
from deepseek.models.manifest import (
    FILE_NAMES,
    MANIFEST_NAME,
    MANIFEST_TYPE,
    MEDIA_TYPES,
    ModelManifest,
    compute_file_sha256,
)

VARIANTS = {"F32": "fp32", "BF16": "bf16", "F16": "fp16", "F64": "fp64"}


def run(spec: MergeSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Merge the adapter in the slots ``model`` and ``manifest`` into the model in the slot ``base``.

    Raises EngineError for whatever is wrong with one of them, and where the adapter is of another base.
    """
    require_packages()
    if set(inputs) != {BASE, "model", "manifest"}:
        raise EngineError(
            "wrong_inputs",
            "Merging takes a base model, an adapter and its manifest.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit="base, model, manifest",
            hint=N_("Give the folder of the base model as 'base', and the two files of the adapter."),
        )
    with open_base(inputs[BASE]) as folder, stage_outputs(out) as stage:
        base = read_base(folder)
        manifest = ModelManifest.read(inputs["manifest"])
        adapter = read_adapter(manifest, inputs["model"], base)
        digests = {
            BASE: compute_folder_digest(base.digests),
            "model": manifest.file.sha256,
            "manifest": compute_file_sha256(inputs["manifest"]),
        }
        merged = write_merged(base, adapter, stage, spec, digests, report)
    return Result(
        outputs=(
            Output("model", merged.file.name, MEDIA_TYPES["safetensors"], {"variant": merged.variant}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
        ),
        summary={"tensors": len(base.tensors), "changed": count_changed(base, adapter), "variant": merged.variant},
    )


def write_merged(
    base: Base, adapter: Adapter, stage: Path, spec: MergeSpec, digests: Mapping[str, str], report: Report
) -> ModelManifest:
    """Write the model, its manifest, and the files that make the folder one that transformers loads."""
    files = {**base.files, **{name: text for name, text in adapter.files.items() if name != ADAPTER_CONFIG}}
    for name, text in files.items():
        (stage / name).write_text(text, encoding="utf-8", newline="")
    tensors = [base.tensors[name].info for name in sorted(base.tensors)]
    done = 0

    def make(info: TensorInfo) -> Any:
        nonlocal done
        done += 1
        report.progress(done, len(tensors), "tensors", stage="merge")
        return merge_tensor(adapter, base, info)

    write_tensors(
        stage / FILE_NAMES["safetensors"], tensors, make, {ASSETS: encode_assets({FILES: files}), "format": "pt"}
    )
    return write_manifest(
        stage,
        build_architecture(base, adapter=False),
        name_variant(tensors),
        digests,
        spec.model_dump(mode="json"),
        parent=digests["manifest"],
    )


def name_variant(tensors: list[TensorInfo]) -> str:
    """The type that most of the numbers are of."""
    sizes: dict[str, int] = {}
    for info in tensors:
        sizes[info.dtype] = sizes.get(info.dtype, 0) + info.count
    return VARIANTS.get(max(sizes, key=lambda dtype: sizes[dtype]), "fp32")


def count_changed(base: Base, adapter: Adapter) -> int:
    return sum(stored.target.name in adapter.layers for stored in base.tensors.values())
