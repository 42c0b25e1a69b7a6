"""ONNX files: read as bytes before ONNX Runtime opens them, and opened only if they do nothing but compute.

ONNX has no operator that writes a file, but a tensor may name another file as the place of its bytes, and a loop need
never end. What this project writes is one flat graph: so whatever refers outside of the file, holds a graph within the
graph, or calls an operator of a library that would have to be loaded, is refused.

The format is protobuf (onnx/onnx.proto); the few fields that matter are read here, so that serving needs no package
but ONNX Runtime.
"""

import mmap
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.packages import is_installed
from deepseek.models.unsafe_file import build_unsafe_error

DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Whose operators ONNX Runtime has built in."""
_GRAPH, _TRAINING, _FUNCTION = 7, 20, 25  # of the model
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15  # of a graph
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # of a node
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE, _SPARSES = 5, 6, 10, 11, 22, 23  # of an attribute
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_VARINT, _WIDE, _BYTES, _NARROW = 0, 1, 2, 5  # wire types
Field = tuple[int, memoryview | int]


def require_onnxruntime() -> None:
    """Raise EngineError ``package_missing`` where ONNX Runtime is not installed."""
    if is_installed("onnxruntime"):
        return
    raise EngineError(
        "package_missing",
        "A model of the format onnx needs the package onnxruntime.",
        field="inputs/model",
        value="onnxruntime is not installed",
        limit="onnxruntime 1.23 or later",
        hint=N_("Install it: python -m pip install 'deepseek-offline[onnx]', or take another form of the model."),
    )


def open_session(path: Path, threads: int | None = None) -> Any:
    """ONNX Runtime's session of the file at `path`, which computes with `threads` threads; None: as many as torch.

    Raises EngineError ``package_missing``, ``model_unsafe`` or ``model_unreadable``.
    """
    require_onnxruntime()
    check_onnx_file(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _count_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait would take the processor from whatever else runs here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes share no base but this one
        raise build_onnx_error(path, str(error).strip().splitlines()[-1][:300]) from error


def _count_threads() -> int:
    """As many as torch computes with, where it is loaded; else one for each processor."""
    torch: Any = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else os.cpu_count() or 1


def check_onnx_file(path: Path) -> None:
    """Raise EngineError ``model_unsafe`` for what a model file does not need, ``model_unreadable`` for no ONNX."""
    try:
        with path.open("rb") as file:
            # Closed with the last view of it: an error on the way still holds some.
            refused = _find_refused(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError, IndexError) as error:  # an empty file cannot be mapped
        raise build_onnx_error(path, str(error)) from error
    if refused is not None:
        raise build_unsafe_error(
            path, refused, limit="an ONNX file that only computes", hint=N_("Quantize the trained model here.")
        )


def build_onnx_error(path: Path, why: str) -> EngineError:
    return EngineError(
        "model_unreadable",
        "{path_name} is no ONNX file that ONNX Runtime opens: {why}",
        path_name=path.name,
        why=why,
        field="inputs/model",
        value=path.name,
        limit="a file that `deepseek quantize` wrote",
        hint=N_("The file may be cut short; copy it again and compare its SHA-256 with the manifest."),
    )


def _find_refused(data: memoryview) -> str | None:
    """What the file holds that no model of this project does; None if there is nothing. ValueError: no protobuf."""
    if bytes(data[:1]) == b"\x80" or bytes(data[:4]) == b"PK\x03\x04":
        return "is a pickle or an archive: opening it could run any code"
    graphs = 0
    for number, value in _iterate_fields(data):
        if number in (_TRAINING, _FUNCTION):
            return "holds functions of its own"
        if number == _GRAPH:
            graphs += 1
            refused = _check_graph(_as_bytes(value))
            if refused is not None:
                return refused
    if not graphs:
        raise ValueError("it has no graph.")
    return None


def _check_graph(graph: memoryview) -> str | None:
    for number, value in _iterate_fields(graph):
        if number == _SPARSE_INITIALIZER:
            return "holds sparse tensors"
        if number == _INITIALIZER and _is_external(_as_bytes(value)):
            return "refers to another file"
        if number == _NODE:
            refused = _check_node(_as_bytes(value))
            if refused is not None:
                return refused
    return None


def _check_node(node: memoryview) -> str | None:
    operator, domain, attributes = "", "", list[memoryview]()
    for number, value in _iterate_fields(node):
        if number == _OPERATOR:
            operator = bytes(_as_bytes(value)).decode()
        elif number == _DOMAIN:
            domain = bytes(_as_bytes(value)).decode()
        elif number == _ATTRIBUTE:
            attributes.append(_as_bytes(value))
    if domain not in DOMAINS:
        return f"calls {domain}.{operator}, of a library"[:200]
    for attribute in attributes:
        for number, value in _iterate_fields(attribute):
            if number in (_SUBGRAPH, _SUBGRAPHS):
                return f"holds a graph within the graph, of {operator}"
            if number in (_SPARSE, _SPARSES):
                return "holds sparse tensors"
            if number in (_TENSOR, _TENSORS) and _is_external(_as_bytes(value)):
                return "refers to another file"
    return None


def _is_external(tensor: memoryview) -> bool:
    return any(
        number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value) for number, value in _iterate_fields(tensor)
    )


def _as_bytes(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a field has another type than ONNX gives it.")
    return value


def _iterate_fields(data: memoryview) -> Iterator[Field]:
    """Number and value of each field of a message: bytes, or the number of a varint; other values are passed over."""
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _read_varint(data, place)
            yield number, value
        elif wire == _BYTES:
            size, place = _read_varint(data, place)
            if size > len(data) - place:
                raise ValueError("it ends too early.")
            yield number, data[place : place + size]
            place += size
        elif wire in (_WIDE, _NARROW):
            place += 8 if wire == _WIDE else 4
        else:
            raise ValueError("it is no protobuf.")


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("it is no protobuf.")
