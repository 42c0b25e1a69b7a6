"""``model.json``: what a model file is. Light to import.

A model is a folder of two files: ``model.json``, this manifest, and the file it names (``model.safetensors``,
``model.pt``, ``model.onnx``, ``model.pt2`` or ``model.so``).
A job carries them as two slots, ``model`` and ``manifest``.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from deepseek.job import EngineError
from deepseek.messages import N_

SCHEMA: Final = "plane/model/v1"
MANIFEST_NAME = "model.json"
MANIFEST_TYPE = "application/vnd.plane.model+json"
MEDIA_TYPES = {
    "safetensors": "application/vnd.safetensors",
    "torchscript": "application/vnd.torchscript",
    "onnx": "application/vnd.onnx",
    "pt2": "application/vnd.torch.export",
    "tvm": "application/vnd.tvm.library",
}
FILE_NAMES = {
    "safetensors": "model.safetensors",
    "torchscript": "model.pt",
    "onnx": "model.onnx",
    "pt2": "model.pt2",
    "tvm": "model.so",
}

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Format = Literal["safetensors", "torchscript", "onnx", "pt2", "tvm"]
Width = Annotated[int, Field(ge=1, le=10**8)]  # of a layer: no tensor of two such overflows


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Frozen):
    """The file beside the manifest, by its bytes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    sha256: Digest
    size: int = Field(ge=0)


class TensorSpec(_Frozen):
    """One input or output; -1 in the shape is the number of rows."""

    name: str
    dtype: Literal["float32", "float64", "int64", "string", "object"]
    shape: list[int]


class Signature(_Frozen):
    """What goes in and what comes out."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


def _is_empty(value: Any) -> bool:
    return not value


class EmbeddingShape(_Frozen):
    """Vectors of the codes 0 to `count` - 1 of one input, each of `width` numbers. The last code is of no category."""

    count: Width
    width: Width


class MlpArchitecture(_Frozen):
    """A multi-layer perceptron that standardises its inputs itself, so that it takes raw values in every form.

    The last inputs may be codes of categories, one for each entry of `embeddings`.
    """

    type: Literal["mlp"] = "mlp"
    inputs: Width
    hidden: list[Width] = Field(max_length=1000)
    outputs: Width
    activation: Literal["relu", "tanh", "gelu"]
    dropout: float = Field(0.0, ge=0, lt=1)
    output: Literal["value", "probabilities"]  # what forward() gives: numbers in the target's unit, or class shares
    residual: bool = False  # the network adds to the last input: a forecast learns the change from the last value
    embeddings: list[EmbeddingShape] = Field([], max_length=100_000, exclude_if=_is_empty)  # older ones lack the key

    @model_validator(mode="after")
    def _check_embeddings(self) -> Self:
        if len(self.embeddings) > self.inputs or (self.embeddings and self.residual):
            raise ValueError("embeddings are of the last inputs, and of no series")
        return self

    @property
    def numbers(self) -> int:
        """How many inputs are numbers: the first ones."""
        return self.inputs - len(self.embeddings)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.inputs,)


class ImageArchitecture(_Frozen):
    """A convolutional network of torchvision; it takes pixels of 0 to 255 and standardises them itself."""

    type: Literal["image"] = "image"
    backbone: Literal["resnet18", "mobilenet_v3_small", "mobilenet_v3_large"]
    height: int = Field(224, ge=32, le=1024)
    width: int = Field(224, ge=32, le=1024)
    outputs: Width
    dropout: float = Field(0.0, ge=0, lt=1)
    output: Literal["probabilities"] = "probabilities"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example: channels, rows, columns."""
        return (3, self.height, self.width)


class EntitiesArchitecture(_Frozen):
    """A transformer that tags the tokens of a text; its vocabulary is among the assets of its file."""

    type: Literal["entities"] = "entities"
    labels: list[str] = Field(min_length=1, max_length=50)
    words: int = Field(ge=0, le=10**6)  # of the vocabulary
    buckets: int = Field(ge=64, le=10**6)  # vectors that hashed parts of words share
    max_length: int = Field(ge=8, le=2048)  # tokens at once; longer texts are cut
    width: int = Field(ge=8, le=1024)
    layers: int = Field(ge=1, le=24)
    heads: int = Field(ge=1, le=32)
    dropout: float = Field(0.0, ge=0, lt=1)
    token_dropout: float = Field(0.0, ge=0, lt=1)
    output: Literal["spans"] = "spans"

    @property
    def outputs(self) -> int:
        """BIO tags: O, and two of each label."""
        return 1 + 2 * len(self.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the longest text, as the network takes it: tokens, and what it sees of each."""
        return (self.max_length, 10)


class LanguageArchitecture(_Frozen):
    """A network of transformers; its configuration and tokenizer are assets of the model file."""

    type: Literal["language"] = "language"
    model_type: Literal["deepseek_v3", "deepseek_v4"]
    vocabulary: Width
    context: Width  # positions
    output: Literal["logits"] = "logits"
    adapter: bool = False  # the file holds low-rank matrices, which mean something beside their base alone
    base: dict[str, Digest] = {}  # files of the base model -> SHA-256

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example: tokens, as many as the model has positions at most."""
        return (self.context,)

    @property
    def outputs(self) -> int:
        return self.vocabulary


def _read_type(value: Any) -> str:
    """The family of an architecture; the first ones did not name it."""
    family = value.get("type", "mlp") if isinstance(value, dict) else getattr(value, "type", "")
    return str(family)


Architecture = Annotated[
    Annotated[MlpArchitecture, Tag("mlp")]
    | Annotated[ImageArchitecture, Tag("image")]
    | Annotated[EntitiesArchitecture, Tag("entities")]
    | Annotated[LanguageArchitecture, Tag("language")],
    Discriminator(_read_type),
]


class ModelManifest(_Frozen):
    """What a model file is, on what it was trained, and how to use it. Equal runs give equal bytes: no time in it."""

    schema_: Literal["plane/model/v1"] = Field(SCHEMA, alias="schema")
    variant: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,59}$")  # fp32, int8, tvm-x86_64
    format: Format
    file: ModelFile
    task: Literal["classification", "regression", "forecast", "entities", "language"]
    target: str = Field(max_length=500)
    features: list[str]  # names of the inputs, in their order
    classes: list[str] = []  # of a classification, in the order of the outputs
    categories: dict[str, list[str]] = Field({}, exclude_if=_is_empty)  # of the last features, in the order of codes
    signature: Signature
    architecture: Architecture
    parent: Digest | None = None  # of the manifest that this form was made from; none for what was trained
    inputs: dict[str, Digest] = {}  # slot -> digest of the bytes that went in
    spec: dict[str, Any] = {}  # of the job that made it
    machine: dict[str, Any] = {}  # of a compiled form: target, CPU features, batch

    @model_validator(mode="after")
    def _check_categories(self) -> Self:
        shapes = self.architecture.embeddings if isinstance(self.architecture, MlpArchitecture) else []
        last = self.features[len(self.features) - len(self.categories) :] if self.categories else []
        if sorted(last) != sorted(self.categories):
            raise ValueError("categories are of the last features")
        if [len(self.categories[name]) + 1 for name in last] != [shape.count for shape in shapes]:
            raise ValueError("an embedding has a code for each category and one more")
        return self

    def list_codes(self) -> dict[int, dict[str, int]]:
        """Place of an input that takes categories -> {category: code}; any other value has their number as code."""
        names = self.features[len(self.features) - len(self.categories) :] if self.categories else []
        first = len(self.features) - len(names)
        return {
            place: {word: code for code, word in enumerate(self.categories[name])}
            for place, name in enumerate(names, start=first)
        }

    def to_json(self) -> str:
        """Canonical JSON: the bytes of ``model.json``."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"

    def compute_digest(self) -> str:
        """SHA-256 of `to_json`: what a form made from this one names as its parent."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def read(cls, path: Path, slot: str = "manifest") -> Self:
        """The manifest at `path`. Raises EngineError ``manifest_unreadable`` naming the field that is wrong."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise build_manifest_error(path, f"{error.strerror}", slot) from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            parts = [str(part) for part in first["loc"]]
            if parts[:1] == ["architecture"]:
                del parts[1:2]  # the family, which is no key of the document
            where = "/" + "/".join(parts)
            raise build_manifest_error(path, f"{where}: {first['msg']}", slot) from error


def require_mlp(manifest: ModelManifest, verb: str) -> MlpArchitecture:
    """The architecture, where it is that of a table or series. Raises EngineError ``family_unsupported`` otherwise."""
    if isinstance(manifest.architecture, MlpArchitecture):
        return manifest.architecture
    raise EngineError(
        "family_unsupported",
        "{verb} takes models of tables and series; this one is of the family {family}.",
        verb=verb,
        family=manifest.architecture.type,
        field="inputs/manifest",
        value=manifest.architecture.type,
        limit="mlp",
        hint=N_("Use the trained model as it is; its page says what can be done with it."),
    )


def build_manifest_error(path: Path, why: str, slot: str = "manifest") -> EngineError:
    return EngineError(
        "manifest_unreadable",
        "{path_name} is not the manifest of a model: {why}.",
        path_name=path.name,
        why=why,
        field=f"inputs/{slot}",
        value=str(path),
        limit=SCHEMA,
        hint=N_("Give the model.json that `deepseek train`, `quantize` or `compile` wrote beside the model."),
    )


def compute_file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(manifest: ModelManifest, path: Path, slot: str = "model") -> None:
    """Raise EngineError ``model_tampered`` unless the bytes at `path` are those that the manifest names."""
    for actual, expected in (
        (compute_file_sha256(path), manifest.file.sha256),
        (path.stat().st_size, manifest.file.size),
    ):
        if actual == expected:
            continue
        raise EngineError(
            "model_tampered",
            "The {variant} model has other bytes than its manifest names.",
            variant=manifest.variant,
            field=f"inputs/{slot}",
            value=str(actual),
            limit=str(expected),
            hint=N_("Take the two files from one folder, or make the model again."),
        )
