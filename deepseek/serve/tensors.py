"""Tensors of the Open Inference Protocol v2: out of JSON or of raw bytes, and back.

https://github.com/kserve/open-inference-protocol, with the binary tensor data extension.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from deepseek.job import EngineError
from deepseek.serve.messages import Number, describe_kind, require_finite
from deepseek.serve.responses import Refused

NUMPY_TYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BYTES, BF16 = "BYTES", "BF16"
DATATYPES = (*NUMPY_TYPES, BYTES, BF16)
MAX_TENSORS = 10_000
"""Inputs of one request: a model may take one for each of its columns."""
MAX_AXES, MAX_LENGTH = 8, (1 << 31) - 1
_FLOATS = TypeAdapter(Annotated[list[Number], FailFast()])
_INTEGERS = TypeAdapter(Annotated[list[Annotated[int, Field(strict=True)]], FailFast()])
_BOOLS = TypeAdapter(Annotated[list[Annotated[bool, Field(strict=True)]], FailFast()])
_TEXTS = TypeAdapter(Annotated[list[Annotated[str, Field(strict=True)]], FailFast()])


class TensorInfo(NamedTuple):
    """A tensor that a model takes or gives; -1 in the shape is any length."""

    name: str
    datatype: str
    shape: list[int]


class Tensor(NamedTuple):
    """A tensor: numbers, or texts in an array of objects."""

    datatype: str
    values: Any


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=1000)
    shape: list[Annotated[int, Field(ge=0, le=MAX_LENGTH, strict=True)]] = Field(max_length=MAX_AXES)
    datatype: str = Field(max_length=20)
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class _Output(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=1000)
    parameters: dict[str, Any] | None = None


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str | None = Field(None, max_length=1000)
    parameters: dict[str, Any] | None = None
    inputs: list[_Input] = Field(min_length=1, max_length=MAX_TENSORS)
    outputs: list[_Output] | None = Field(None, max_length=MAX_TENSORS)


class InferRequest(NamedTuple):
    """A request: its tensors by name, the outputs that it names (None: all), and which are wanted as raw bytes."""

    id: str | None
    tensors: dict[str, Tensor]
    outputs: list[str] | None
    binary: dict[str, bool]
    binary_by_default: bool


def build_tensor_error(message: str, field: str, limit: str, hint: str = "GET /v2/models/NAME says it.") -> Refused:
    """The refusal of a tensor."""
    return Refused(EngineError("tensor_invalid", message, field=field, limit=limit, hint=hint))


def parse_request(body: bytes, json_length: int | None) -> InferRequest:
    """The request in a body whose first `json_length` bytes are JSON; all of it, if None. Raises Refused."""
    if json_length is not None and not 0 <= json_length <= len(body):
        raise build_tensor_error(
            f"The body has {len(body)} bytes, and its JSON part is announced with {json_length}.",
            "Inference-Header-Content-Length",
            f"at most {len(body)}",
            "Send the length of the JSON part alone.",
        )
    head, rest = (body, b"") if json_length is None else (body[:json_length], body[json_length:])
    try:
        request = _Request.model_validate(from_json(head, allow_inf_nan=False))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = "".join(f"/{part}" for part in fault["loc"])
        raise build_tensor_error(
            f"The request is no inference request: {fault['msg']}.",
            field or "/",
            "an object with inputs",
            "Send the request of the Open Inference Protocol v2.",
        ) from error
    except ValueError as error:
        raise Refused(
            EngineError(
                "malformed_json",
                f"The body is not JSON: {error}.",
                limit='{"inputs": [...]}',
                hint="Send one JSON object as UTF-8, without NaN and Infinity; binary tensors may come after it.",
            )
        ) from error
    tensors, place = dict[str, Tensor](), 0
    for at, entry in enumerate(request.inputs):
        field = f"/inputs/{at}"
        if entry.datatype not in DATATYPES:
            raise build_tensor_error(
                f"There is no datatype {entry.datatype}.", f"{field}/datatype", ", ".join(DATATYPES)
            )
        if entry.name in tensors:
            raise build_tensor_error(f"The input {entry.name} is given twice.", f"{field}/name", "once")
        size = (entry.parameters or {}).get("binary_data_size")
        if size is None:
            tensors[entry.name] = Tensor(entry.datatype, _read_json(entry, field))
            continue
        if type(size) is not int or size < 0 or place + size > len(rest) or entry.data is not None:
            raise build_tensor_error(
                f"binary_data_size is {size!r}, and {len(rest) - place} bytes are left after the JSON part.",
                f"{field}/parameters/binary_data_size",
                "the bytes of this tensor, and no data",
                "Send the tensors after the JSON, in the order of the inputs.",
            )
        tensors[entry.name] = Tensor(entry.datatype, _read_binary(entry, rest[place : place + size], field))
        place += size
    if place != len(rest):
        raise build_tensor_error(
            f"{len(rest) - place} bytes of the body belong to no input.",
            "/inputs",
            "as many bytes as the inputs name",
            "Give each binary input its binary_data_size.",
        )
    outputs = None if request.outputs is None else [output.name for output in request.outputs]
    expected = {
        output.name: bool(output.parameters["binary_data"])
        for output in request.outputs or ()
        if output.parameters and "binary_data" in output.parameters
    }
    by_default = bool((request.parameters or {}).get("binary_data_output", False))
    return InferRequest(request.id, tensors, outputs or None, expected, by_default)


def _read_json(entry: _Input, field: str) -> Any:
    """The values of a tensor in JSON: flat in row-major order, or nested as its shape."""
    if entry.data is None:
        raise build_tensor_error("The input has no data.", f"{field}/data", "an array")
    level: list[Any] = entry.data
    nested = [len(level)]
    while level and isinstance(level[0], list):
        lengths = {len(part) if isinstance(part, list) else -1 for part in level}
        if len(lengths) > 1 or len(nested) >= MAX_AXES:
            raise build_tensor_error(
                "The data is nested unevenly.", f"{field}/data", f"the shape {entry.shape}, or a flat array"
            )
        nested.append(lengths.pop())
        level = list(chain.from_iterable(level))
    if len(level) != math.prod(entry.shape) or (len(nested) > 1 and nested != entry.shape):
        raise _build_size_error(entry, f"{len(level)} values", field)
    values: Any
    try:
        if entry.datatype == BYTES:
            values = np.empty(len(level), object)
            values[:] = _TEXTS.validate_python(level)
        elif entry.datatype == BF16:
            raise build_tensor_error(
                "BF16 has no form in JSON.", f"{field}/datatype", "binary data", "Send it as raw bytes, or as FP32."
            )
        elif entry.datatype == "BOOL":
            values = np.array(_BOOLS.validate_python(level), np.bool_)
        elif entry.datatype.startswith("FP"):
            with np.errstate(over="ignore"):
                values = np.array(_FLOATS.validate_python(level), np.float64).astype(NUMPY_TYPES[entry.datatype])
        else:
            values = np.array(_INTEGERS.validate_python(level), NUMPY_TYPES[entry.datatype])
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise build_tensor_error(
            f"A value of {entry.name} is {describe_kind(fault['input'])}.",
            f"{field}/data ({fault['loc'][0]} in row-major order)",
            entry.datatype,
            "Give every value in the input's datatype.",
        ) from error
    except OverflowError as error:
        raise build_tensor_error(
            f"A value of {entry.name} is too large for {entry.datatype}.", f"{field}/data", entry.datatype
        ) from error
    return _reshape(values, entry, field)


def _read_binary(entry: _Input, data: bytes, field: str) -> Any:
    """The values of a tensor in raw bytes: little-endian; of BYTES each with its length before it."""
    total = math.prod(entry.shape)
    if entry.datatype == BYTES:
        return _read_texts(entry, data, total, field)
    dtype = np.dtype("<u2") if entry.datatype == BF16 else NUMPY_TYPES[entry.datatype]
    if len(data) != total * dtype.itemsize:
        raise _build_size_error(entry, f"{len(data)} bytes", field)
    values = _reshape(np.frombuffer(data, dtype), entry, field)
    if entry.datatype == BF16:  # the upper half of an FP32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _read_texts(entry: _Input, data: bytes, total: int, field: str) -> Any:
    texts, place = list[str](), 0
    while place < len(data) and len(texts) < total:
        end = place + 4 + int.from_bytes(data[place : place + 4], "little")
        if end > len(data):
            break
        try:
            texts.append(data[place + 4 : end].decode())
        except UnicodeDecodeError as error:
            raise build_tensor_error(
                f"A text of {entry.name} is not UTF-8.", f"{field} ({len(texts)} in row-major order)", "UTF-8"
            ) from error
        place = end
    if place != len(data) or len(texts) != total:
        raise _build_size_error(entry, f"{len(data)} bytes of {len(texts)} texts", field)
    values = np.empty(total, object)
    values[:] = texts
    return _reshape(values, entry, field)


def _reshape(values: Any, entry: _Input, field: str) -> Any:
    try:
        return values.reshape(entry.shape)
    except ValueError as error:  # an axis of 0 beside axes that no array can have
        raise _build_size_error(entry, f"{len(values)} values", field) from error


def _build_size_error(entry: _Input, found: str, field: str) -> Refused:
    return build_tensor_error(
        f"The input {entry.name} has {found}, which do not fill its shape {entry.shape} of {entry.datatype}.",
        f"{field}/shape",
        f"{math.prod(entry.shape)} values",
        "Give the shape of what is sent.",
    )


def as_floats(name: str, tensor: Tensor) -> Any:
    """The values of a tensor of numbers as float32. Raises Refused for texts, truth values and what does not fit."""
    if tensor.datatype in (BYTES, "BOOL"):
        raise build_tensor_error(f"The input {name} is of {tensor.datatype}.", f"/inputs/{name}", "FP32")
    with np.errstate(over="ignore"):
        values = np.array(tensor.values, np.float32, order="C")
    if not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        raise Refused(
            EngineError(
                "not_a_number",
                f"The input {name} has a value at {place} that is NaN, infinite or too large for a float32.",
                field=f"/inputs/{name}",
                limit="finite numbers",
                hint="Fill in missing values, as the training data were cleaned.",
            )
        )
    return values


def as_texts(name: str, tensor: Tensor) -> list[str]:
    """The values of a tensor of texts, of one axis (or of a second of length 1)."""
    if tensor.datatype != BYTES:
        raise build_tensor_error(f"The input {name} is of {tensor.datatype}.", f"/inputs/{name}", BYTES)
    shape = tensor.values.shape
    if len(shape) != 1 and shape[1:] != (1,):
        raise build_tensor_error(f"The input {name} has the shape {list(shape)}.", f"/inputs/{name}/shape", "[-1]")
    return [str(text) for text in tensor.values.reshape(-1)]


def require_names(tensors: Mapping[str, Tensor], infos: Sequence[TensorInfo]) -> None:
    """Raise Refused unless the tensors are those that the model takes."""
    expected = [info.name for info in infos]
    missing = [name for name in expected if name not in tensors]
    if missing or len(tensors) > len(expected):
        unknown = [name for name in tensors if name not in expected]
        problem = f"The input {missing[0]} is missing." if missing else f"There is no input {unknown[0][:100]}."
        raise build_tensor_error(problem, "/inputs", ", ".join(expected[:20]))


def encode_response(
    request: InferRequest, tensors: Iterable[tuple[TensorInfo, Any]], model: str, version: str
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON part where raw tensors follow. Raises Refused, EngineError."""
    by_name = {info.name: (info, values) for info, values in tensors}
    names = list(by_name) if request.outputs is None else request.outputs
    document: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        document["id"] = request.id
    entries, raw = list[dict[str, Any]](), list[bytes]()
    for at, name in enumerate(names):
        if name not in by_name:
            raise build_tensor_error(
                f"There is no output {name[:100]}.", f"/outputs/{at}/name", ", ".join(by_name), "Leave outputs out."
            )
        info, values = by_name[name]
        if info.datatype != BYTES:
            require_finite(values, single=False)
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": info.datatype}
        if request.binary.get(name, request.binary_by_default):
            data = _encode_binary(info.datatype, values)
            entry["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            entry["data"] = values.reshape(-1).tolist()
        entries.append(entry)
    head = to_json({**document, "outputs": entries})
    return (head + b"".join(raw), len(head)) if raw else (head, None)


def _encode_binary(datatype: str, values: Any) -> bytes:
    if datatype != BYTES:
        return np.ascontiguousarray(values, NUMPY_TYPES[datatype]).tobytes()
    texts = [str(text).encode() for text in values.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
