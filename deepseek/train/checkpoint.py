"""Checkpoint files: whole or absent, recognised when foreign or damaged, and with nothing in them that could run.

Line one names the format, whose run it is (`identity`) and the SHA-256 of all that follows; line two is a JSON object;
the rest is a safetensors file.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from deepseek.code import compute_code_digest
from deepseek.job import JSON
from deepseek.train.loop_spec import LoopSpec

FORMAT = "plane/checkpoint/v1"


class Unusable(Exception):
    """Why a file cannot be gone on from, as a sentence."""


@dataclass(frozen=True)
class Checkpoint:
    """Numbers and words in `state`, arrays in `tensors`."""

    state: dict[str, JSON]
    tensors: dict[str, Tensor]


def compute_identity(spec: LoopSpec, inputs: dict[str, str]) -> str:
    """Whose checkpoint it is: SHA-256 over the spec, the digests of the inputs, and the code that computes."""
    document = {
        "spec": spec.model_dump(mode="json"),
        "inputs": inputs,
        "code": compute_code_digest(),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def write_checkpoint(path: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Replace the file at `path` by a rename; when this returns it is on the disk, also after a power cut."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    state = json.dumps(checkpoint.state, allow_nan=False).encode() + b"\n"
    data = safetensors.torch.save(tensors)
    digest = hashlib.sha256(state)
    digest.update(data)
    draft = path.with_name(f"{path.name}.new")
    try:
        with draft.open("wb") as file:
            file.write(f"{FORMAT} {identity} {digest.hexdigest()}\n".encode())
            file.write(state)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_checkpoint(path: Path, identity: str) -> Checkpoint:
    """The checkpoint at `path`. Raises Unusable if it cannot be read, is damaged, or is not of this very run."""
    try:
        with path.open("rb") as file:
            head = file.readline(1000).split()
            data = file.read() if head[:1] == [FORMAT.encode()] else b""
    except OSError as error:
        raise Unusable(f"it cannot be read ({error.strerror})") from error
    if len(head) != 3 or not data:
        raise Unusable("it is no checkpoint")
    if hashlib.sha256(data).hexdigest().encode() != head[2]:
        raise Unusable("it is damaged")
    if head[1] != identity.encode():
        raise Unusable("it is of another spec, table or version of the engine")
    line, _, tensors = data.partition(b"\n")
    try:
        return Checkpoint(json.loads(line), safetensors.torch.load(tensors))
    except (ValueError, safetensors.SafetensorError) as error:
        raise Unusable("it is damaged") from error
