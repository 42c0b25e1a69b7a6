"""The network that an architecture describes, and its one safe file format.

Weights are written and read as safetensors: a header of names, types and shapes, then numbers. Nothing in such a file
can run, and nothing else is ever opened.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.assets import ASSETS, build_safetensors_error, encode_assets, refuse_pickle
from deepseek.models.manifest import (
    FILE_NAMES,
    MANIFEST_NAME,
    Architecture,
    EntitiesArchitecture,
    ModelFile,
    ModelManifest,
    Signature,
    TensorSpec,
    check_file,
    compute_file_sha256,
)
from deepseek.models.trainable import Trainable

BUILDERS = {
    "mlp": "deepseek.models.mlp:MlpNetwork",
    "image": "deepseek.images.network:ImageNetwork",
    "entities": "deepseek.entities.network:EntitiesNetwork",
}
"""Architecture type -> "module:class" of its network, which takes the architecture alone."""


def build_network(architecture: Architecture) -> Trainable:
    """The network with fresh weights, drawn from torch's global generator, and nothing standardised yet."""
    module, _, name = BUILDERS[architecture.type].partition(":")
    network: Trainable = getattr(import_module(module), name)(architecture)
    return network


def save_network(
    network: Trainable,
    folder: Path,
    *,
    architecture: Architecture,
    task: str,
    target: str,
    features: list[str],
    classes: list[str],
    inputs: Mapping[str, str],
    spec: Mapping[str, Any],
    assets: Mapping[str, Any] | None = None,
    categories: Mapping[str, list[str]] | None = None,
) -> ModelManifest:
    """Write ``model.safetensors`` and ``model.json`` into `folder`; equal weights give equal bytes.

    `inputs`: slot -> SHA-256 of what went in. `spec`: of the job, as JSON. `assets`: what else the model needs to
    predict, such as its vocabulary, as JSON; it goes into the header of the safetensors file, for `read_assets`.
    `categories`: those of the last features, by name.
    """
    path = folder / FILE_NAMES["safetensors"]
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = None if assets is None else {ASSETS: encode_assets(assets)}
    path.write_bytes(safetensors.torch.save(tensors, metadata))  # save_file would make the file its owner's alone
    manifest = ModelManifest(
        schema="plane/model/v1",
        variant="fp32",
        format="safetensors",
        file=ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size),
        task=task,
        target=target,
        features=features,
        classes=classes,
        categories=dict(categories or {}),
        signature=build_signature(architecture),
        architecture=architecture,
        inputs=dict(inputs),
        spec=dict(spec),
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def build_signature(architecture: Architecture) -> Signature:
    """One input ``features`` (rows, ...) and one output, named by what it is, such as ``value`` or ``spans``."""
    if isinstance(architecture, EntitiesArchitecture):  # texts, and of each a list of spans
        return Signature(
            inputs=[TensorSpec(name="features", dtype="string", shape=[-1])],
            outputs=[TensorSpec(name=architecture.output, dtype="object", shape=[-1])],
        )
    return Signature(
        inputs=[TensorSpec(name="features", dtype="float32", shape=[-1, *architecture.input_shape])],
        outputs=[TensorSpec(name=architecture.output, dtype="float32", shape=[-1, architecture.outputs])],
    )


def load_network(manifest: ModelManifest, path: Path) -> Trainable:
    """The trained network from the safetensors file at `path`, ready to predict (eval mode, no gradients).

    Raises EngineError: ``model_unsafe`` (a pickle, which could run code; it is never opened), ``model_tampered`` (other
    bytes than the manifest names), ``model_format`` (the manifest is of another form), ``model_unreadable`` (no
    safetensors file), ``model_mismatch`` (tensors that do not fit the architecture).
    """
    if manifest.format != "safetensors":
        raise EngineError(
            "model_format",
            "The {variant} model is a {format} file; weights are needed.",
            variant=manifest.variant,
            format=manifest.format,
            field="inputs/manifest",
            value=manifest.format,
            limit="safetensors",
            hint=N_("Give the model that `deepseek train` made."),
        )
    if manifest.architecture.type not in BUILDERS:
        raise EngineError(
            "family_unsupported",
            "A model of the family {family} is not taken here.",
            family=manifest.architecture.type,
            field="inputs/manifest",
            value=manifest.architecture.type,
            limit=", ".join(BUILDERS),
            hint=N_("Use the trained model as it is; its page says what can be done with it."),
        )
    refuse_pickle(path)
    check_file(manifest, path)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise build_safetensors_error(path, str(error)) from error
    with torch.device("meta"):  # costs no memory, whatever widths a forged manifest names
        network = build_network(manifest.architecture)
    _compare(network.state_dict(), tensors)
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _compare(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> None:
    def describe(tensors: Mapping[str, Tensor], name: str) -> str:
        if name not in tensors:
            return "none"
        return f"{str(tensors[name].dtype).removeprefix('torch.')} {tuple(tensors[name].shape)}"

    for name in [*expected, *sorted(set(actual) - set(expected))]:
        if describe(expected, name) != describe(actual, name):
            raise EngineError(
                "model_mismatch",
                "The tensor {name!r} of the model file does not fit the architecture in its manifest.",
                name=name,
                field="inputs/model",
                value=f"{name}: {describe(actual, name)}",
                limit=f"{name}: {describe(expected, name)}",
                hint=N_("Take the model and the manifest from one folder."),
            )
