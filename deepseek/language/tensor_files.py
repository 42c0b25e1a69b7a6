"""Safetensors files, read and written one tensor at a time, so that memory holds one tensor and not a model.

The format: eight bytes with the length of a JSON header, the header (name -> type, shape, place), then the numbers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in TYPES.items()}
ALIGNMENT = 8  # bytes that the header's length is a multiple of, as the format asks
METADATA = "__metadata__"
MAX_HEADER_BYTES = 100 * 10**6  # as safetensors itself has it


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as a header names it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * TYPES[self.dtype].itemsize


def read_header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The tensors of a safetensors file by name, and its metadata. Raises ValueError or OSError."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(MAX_HEADER_BYTES, path.stat().st_size):
            raise ValueError("it has no header of a safetensors file")
        header = json.loads(file.read(length))
    metadata = header.pop(METADATA, {})
    tensors = {}
    end = 0
    for name, entry in header.items():
        tensors[name] = TensorInfo(name, str(entry["dtype"]), tuple(map(int, entry["shape"])))
        end = max(end, int(entry["data_offsets"][1]))
    if 8 + length + end > path.stat().st_size:
        raise ValueError("it is cut short")
    return tensors, metadata


def write_tensors(
    path: Path, tensors: Sequence[TensorInfo], make: Callable[[TensorInfo], Tensor], metadata: Mapping[str, str]
) -> None:
    """Write the file; `make` gives each tensor in its turn. Equal tensors and metadata give equal bytes."""
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))}
    start = 0
    for info in tensors:
        header[info.name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [start, start + info.size],
        }
        start += info.size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for info in tensors:
            tensor = make(info).detach().to("cpu", TYPES[info.dtype]).contiguous()
            if tuple(tensor.shape) != info.shape:
                raise RuntimeError(f"{info.name} has the shape {tuple(tensor.shape)} and not {info.shape}")
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)


def describe_tensors(tensors: Mapping[str, Tensor]) -> list[TensorInfo]:
    """How a header names these tensors, in the order of their names."""
    return [TensorInfo(name, NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in sorted(tensors.items())]
