"""What each family of models reads, computes and writes: one class of each, all with the same methods."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import to_json

from deepseek.entities.predictor import EntitiesPredictor
from deepseek.models.manifest import ModelManifest
from deepseek.models.predictor_base import Predictor
from deepseek.serve.images import MOST_BODY_BYTES, build_image_schema, count_most_images, read_images, require_pillow
from deepseek.serve.messages import (
    Floats,
    RowsReader,
    compute_body_limit,
    encode_prediction,
    predict_schema,
)
from deepseek.serve.responses import Refused
from deepseek.serve.tensors import (
    BYTES,
    Tensor,
    TensorInfo,
    as_floats,
    as_texts,
    build_tensor_error,
    require_names,
)
from deepseek.serve.texts import build_texts_schema, compute_text_limit, encode_spans, list_spans, read_request_texts


class Inputs(NamedTuple):
    """What a request asks of a model: rows (an array, or a list of texts), how many, and whether it was one row with
    no list around it."""

    rows: Any
    total: int
    single: bool


class Handler(ABC):
    """One model of one family."""

    manifest: ModelManifest
    max_rows: int
    body_limit: int
    """Bytes of a body."""
    takes_arrays: bool = False
    """Whether its inputs and outputs are arrays of rows, which can be computed together."""
    reads_files: bool = False
    """Whether the body of POST /predict may carry files, which take long to decode however short they are."""
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    """The tensors of the Open Inference Protocol."""

    @abstractmethod
    def read(self, body: bytes) -> Inputs:
        """The inputs in the body of POST /predict. Raises Refused."""

    @abstractmethod
    def predict(self, rows: Any) -> Any:
        """The outputs of the rows. Raises EngineError."""

    @abstractmethod
    def encode(self, inputs: Inputs, outputs: Any) -> bytes:
        """The body of the answer: {"prediction": ...}. Raises EngineError."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What OpenAPI says of POST /predict."""

    def list_features(self, inputs: Inputs) -> list[Any]:
        """What each row of a request was asked, as JSON."""
        return list(inputs.rows)

    def list_answers(self, outputs: Any) -> list[Any]:
        """What each row was answered, as its label will be: the name of a class, a number, or numbers."""
        return list(outputs)

    @abstractmethod
    def read_tensors(self, tensors: Mapping[str, Tensor]) -> Inputs:
        """The inputs in tensors. Raises Refused."""

    @abstractmethod
    def build_tensors(self, inputs: Inputs, outputs: Any) -> list[Any]:
        """The values of each of the tensors that come out."""


class RowsHandler(Handler):
    """A model of tables and series: rows of numbers, and of categories.

    As tensors they are one matrix; where some are categories, one tensor for each column, by its name.
    """

    takes_arrays = True

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        self.predictor, self.manifest, self.max_rows = predictor, predictor.manifest, max_rows
        self.reader = RowsReader(predictor.inputs, max_rows, predictor.codes)
        self.body_limit = compute_body_limit(predictor.inputs, max_rows, len(predictor.codes))
        self.codes = predictor.codes
        self.inputs, self.outputs = describe_tensors(predictor.manifest)
        if self.codes:
            self.inputs = [
                TensorInfo(name, BYTES if place in self.codes else "FP32", [-1])
                for place, name in enumerate(predictor.manifest.features)
            ]

    def read(self, body: bytes) -> Inputs:
        rows, single, faults = self.reader.read(body)
        if faults:
            raise Refused(*faults)
        return Inputs(rows, len(rows), single)

    def predict(self, rows: Floats) -> Floats:
        return self.predictor.predict(rows)

    def encode(self, inputs: Inputs, outputs: Floats) -> bytes:
        return encode_prediction(outputs, inputs.single)

    def describe(self) -> dict[str, Any]:
        return predict_schema(self.predictor)

    def list_features(self, inputs: Inputs) -> list[Any]:
        features: list[list[Any]] = inputs.rows.tolist()
        for place, words in self.codes.items():
            names = list(words)
            for row in features:
                code = int(row[place])
                row[place] = names[code] if 0 <= code < len(names) else None
        return features

    def list_answers(self, outputs: Floats) -> list[Any]:
        return list_array_answers(self.manifest, outputs)

    def read_tensors(self, tensors: Mapping[str, Tensor]) -> Inputs:
        require_names(tensors, self.inputs)
        if not self.codes:
            return read_matrix(tensors, self.inputs[0])
        columns = []
        for place, info in enumerate(self.inputs):
            if place in self.codes:
                words = self.codes[place]
                texts = as_texts(info.name, tensors[info.name])
                columns.append(np.array([words.get(text, len(words)) for text in texts], np.float32))
            else:
                columns.append(_flatten_column(info, as_floats(info.name, tensors[info.name])))
        lengths = {len(column) for column in columns}
        if len(lengths) != 1:
            raise build_tensor_error(
                f"The inputs have {sorted(lengths)} rows.", "/inputs", "as many rows in each", "Send whole columns."
            )
        return Inputs(np.stack(columns, axis=1), lengths.pop(), False)

    def build_tensors(self, inputs: Inputs, outputs: Floats) -> list[Any]:
        return [outputs]


class ImagesHandler(Handler):
    """A model of images: pixels, or image files as base64."""

    takes_arrays = reads_files = True

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        require_pillow()
        self.predictor, self.manifest = predictor, predictor.manifest
        self.max_rows = count_most_images(predictor, max_rows)
        self.body_limit = min(MOST_BODY_BYTES, compute_body_limit(predictor.inputs, self.max_rows))
        self.inputs, self.outputs = describe_tensors(predictor.manifest)

    def read(self, body: bytes) -> Inputs:
        rows, single, faults = read_images(body, shape=self.predictor.shape, max_rows=self.max_rows)
        if faults:
            raise Refused(*faults)
        return Inputs(rows, len(rows), single)

    def predict(self, rows: Floats) -> Floats:
        return self.predictor.predict(rows)

    def encode(self, inputs: Inputs, outputs: Floats) -> bytes:
        return encode_prediction(outputs, inputs.single)

    def describe(self) -> dict[str, Any]:
        return build_image_schema(self.predictor)

    def list_features(self, inputs: Inputs) -> list[Any]:
        return inputs.rows.tolist()  # type: ignore[no-any-return]

    def list_answers(self, outputs: Floats) -> list[Any]:
        return list_array_answers(self.manifest, outputs)

    def read_tensors(self, tensors: Mapping[str, Tensor]) -> Inputs:
        require_names(tensors, self.inputs)
        inputs = read_matrix(tensors, self.inputs[0])
        if inputs.total and (inputs.rows.min() < 0 or inputs.rows.max() > 255):
            raise build_tensor_error(
                "The images have values beyond those of pixels.",
                f"/inputs/{self.inputs[0].name}",
                "0 to 255",
                "Send pixels as they are; the model standardises them itself.",
            )
        return inputs

    def build_tensors(self, inputs: Inputs, outputs: Floats) -> list[Any]:
        return [outputs]


class TextsHandler(Handler):
    """A model of entities: texts in, the spans of each out."""

    def __init__(self, predictor: EntitiesPredictor, max_rows: int) -> None:
        self.predictor, self.manifest, self.max_rows = predictor, predictor.manifest, max_rows
        self.body_limit = compute_text_limit(max_rows)
        self.inputs = [TensorInfo("features", BYTES, [-1])]
        self.outputs = [TensorInfo(predictor.architecture.output, BYTES, [-1])]

    def read(self, body: bytes) -> Inputs:
        texts, single, faults = read_request_texts(body, max_rows=self.max_rows)
        if faults:
            raise Refused(*faults)
        return Inputs(texts, len(texts), single)

    def predict(self, rows: Sequence[str]) -> Any:
        return self.predictor.predict(rows)

    def encode(self, inputs: Inputs, outputs: Any) -> bytes:
        return encode_spans(inputs.rows, outputs, inputs.single)

    def describe(self) -> dict[str, Any]:
        return build_texts_schema(self.predictor.architecture.labels)

    def list_answers(self, outputs: Any) -> list[Any]:
        return [[span.as_dict() for span in spans] for spans in outputs]

    def read_tensors(self, tensors: Mapping[str, Tensor]) -> Inputs:
        require_names(tensors, self.inputs)
        texts = as_texts("features", tensors["features"])
        return Inputs(texts, len(texts), False)

    def build_tensors(self, inputs: Inputs, outputs: Any) -> list[Any]:
        return [build_texts([to_json(spans).decode() for spans in list_spans(inputs.rows, outputs)])]


def list_array_answers(manifest: ModelManifest, outputs: Floats) -> list[Any]:
    """The class of each row of a classification, else its numbers."""
    if manifest.task == "classification" and len(manifest.classes) == outputs.shape[1]:
        return [manifest.classes[place] for place in outputs.argmax(axis=1).tolist()]
    rows: list[Any] = outputs.tolist()
    return [row[0] if len(row) == 1 else row for row in rows]


def describe_tensors(manifest: ModelManifest) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """The one tensor that goes in, and the one that comes out."""
    signature = manifest.signature
    return [TensorInfo(tensor.name, "FP32", list(tensor.shape)) for tensor in signature.inputs], [
        TensorInfo(tensor.name, "FP32", list(tensor.shape)) for tensor in signature.outputs
    ]


def read_matrix(tensors: Mapping[str, Tensor], info: TensorInfo) -> Inputs:
    """The rows of the only input. Raises Refused."""
    rows = as_floats(info.name, tensors[info.name])
    if rows.ndim != len(info.shape) or list(rows.shape[1:]) != info.shape[1:]:
        raise build_tensor_error(
            f"The input {info.name} has the shape {list(rows.shape)}.", f"/inputs/{info.name}/shape", f"{info.shape}"
        )
    return Inputs(rows, len(rows), False)


def _flatten_column(info: TensorInfo, values: Floats) -> Floats:
    if values.ndim != 1 and values.shape[1:] != (1,):
        raise build_tensor_error(
            f"The input {info.name} has the shape {list(values.shape)}.", f"/inputs/{info.name}/shape", "[-1]"
        )
    return values.reshape(-1)


def build_texts(texts: Sequence[str]) -> Any:
    """Texts as the values of a tensor."""
    values = np.empty(len(texts), object)
    values[:] = texts
    return values


def build_handler(predictor: Predictor | EntitiesPredictor, max_rows: int) -> Handler:
    """The handler of a model that takes rows, images or texts."""
    if isinstance(predictor, EntitiesPredictor):
        return TextsHandler(predictor, max_rows)
    family = ImagesHandler if predictor.manifest.architecture.type == "image" else RowsHandler
    return family(predictor, max_rows)
