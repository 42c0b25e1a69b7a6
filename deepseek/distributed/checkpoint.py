"""The checkpoint of a shard: one safetensors file, replaced by a rename, with nothing in it that could run.

It survives the death of the process, for which the page cache is enough; it is not synced to the disk, because a fit
does not outlive its hosts.
"""

import json
import os
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from deepseek.distributed.errors import FitError

_OPTIMIZER = "optimizer."


@dataclass
class ShardProgress:
    """How far a shard is. `clocks`: steps that each rank has pushed. `losses`: epoch -> [sum, count].

    `lost`: ranks that were dropped and not replaced; `done`: ranks that have finished. `is_ending`: the caller has
    ended the fit, and no further gradient is applied.
    """

    layout: str
    round: int = 0
    steps: int = 0
    clocks: dict[int, int] = field(default_factory=dict)
    losses: dict[int, list[float]] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    max_lead: int = 0
    events: list[str] = field(default_factory=list)
    is_ending: bool = False


@dataclass(frozen=True)
class ShardCheckpoint:
    """Parameters, the optimizer's tensors and the progress of a shard."""

    parameters: Tensor
    optimizer: dict[str, Tensor]
    progress: ShardProgress


def get_checkpoint_path(folder: Path, index: int) -> Path:
    """Where the checkpoint of shard `index` lies."""
    return folder / f"shard-{index}.safetensors"


def write_checkpoint(path: Path, checkpoint: ShardCheckpoint) -> None:
    """Replace the file at `path`; a reader sees the old one or the new one."""
    tensors = {"parameters": checkpoint.parameters}
    tensors |= {f"{_OPTIMIZER}{name}": tensor for name, tensor in checkpoint.optimizer.items()}
    draft = path.with_name(f".{path.name}.new")
    safetensors.torch.save_file(tensors, draft, {"progress": json.dumps(asdict(checkpoint.progress))})
    os.replace(draft, path)


def read_checkpoint(path: Path) -> ShardCheckpoint:
    """Read a shard's checkpoint. Raises FitError if it cannot be read or is damaged."""
    try:
        data = path.read_bytes()
        tensors = safetensors.torch.load(data)
        (length,) = struct.unpack_from("<Q", data)
        fields = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["progress"])
        parameters = tensors.pop("parameters")
    except (OSError, ValueError, KeyError, struct.error, safetensors.SafetensorError) as error:
        raise FitError(
            f"The checkpoint {path.name} of a parameter server cannot be read ({error}). Start the fit again."
        ) from error
    for name in ("clocks", "losses"):
        fields[name] = {int(key): value for key, value in fields[name].items()}
    optimizer = {name.removeprefix(_OPTIMIZER): tensor.clone() for name, tensor in tensors.items()}
    return ShardCheckpoint(parameters.clone(), optimizer, ShardProgress(**fields))


def write_file(path: Path, data: bytes) -> None:
    """Replace a small file by a rename."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(data)
    os.replace(draft, path)
