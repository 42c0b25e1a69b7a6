"""A module's trainable parameters as one flat vector that is split over the servers, and the rest of its state."""

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from deepseek.distributed.errors import ArgumentError, FitError

MAX_STATE_BYTES = 1 << 30
"""Of frozen parameters and buffers, which travel as one message."""


class ParameterLayout:
    """Where each trainable parameter lies in the flat float32 vector; tied parameters lie in it once."""

    def __init__(self, module: nn.Module, server_num: int) -> None:
        self._slots: list[tuple[nn.Parameter, int, int]] = []
        shapes = []
        start = 0
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            _validate_parameter(name, parameter)
            self._slots.append((parameter, start, start + parameter.numel()))
            shapes.append([name, list(parameter.shape)])
            start += parameter.numel()
        if start < server_num:
            raise ArgumentError(
                "server_num",
                server_num,
                f"at most the number of trainable values of the module, {start:,}",
                "Use fewer servers, or check that parameters of the module have requires_grad=True.",
            )
        self.size = start
        bounds = [start * number // server_num for number in range(server_num + 1)]
        self.shards = [slice(low, high) for low, high in pairwise(bounds)]
        self.digest = hashlib.sha256(json.dumps([shapes, server_num]).encode()).hexdigest()
        self.module = module

    def bind(self) -> Tensor:
        """Let the module's parameters be views of one vector, and return it: what is written into it, they have."""
        flat = torch.empty(self.size, dtype=torch.float32)
        for parameter, low, high in self._slots:
            flat[low:high].copy_(parameter.detach().reshape(-1))
            parameter.data = flat[low:high].view(parameter.shape)
        return flat

    def release(self) -> None:
        """Give each parameter a storage of its own again, so that the module can be saved like any other."""
        for parameter, _, _ in self._slots:
            parameter.data = parameter.detach().clone()

    def copy_values(self) -> Tensor:
        """A flat copy of the parameters."""
        return torch.cat([parameter.detach().reshape(-1) for parameter, _, _ in self._slots])

    def load_values(self, flat: Tensor) -> None:
        """Set the parameters from a flat vector."""
        for parameter, low, high in self._slots:
            parameter.data.copy_(flat[low:high].view(parameter.shape))

    def move_gradients(self, flat: Tensor) -> None:
        """Move the gradients into the vector `flat`; a parameter without one counts as zero."""
        for parameter, low, high in self._slots:
            gradient = parameter.grad
            if gradient is None:
                flat[low:high].zero_()
            else:
                flat[low:high].copy_(gradient.reshape(-1))
                parameter.grad = None

    def dump_state(self) -> bytes:
        """Frozen parameters and buffers as safetensors; empty where the module has none."""
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self._state_items()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        if size > MAX_STATE_BYTES:
            raise ArgumentError(
                "build_model",
                f"a module with {size:,} bytes of frozen parameters and buffers",
                f"a module with at most {MAX_STATE_BYTES:,} of them",
                "Train such a module with DistributedDataParallel.",
            )
        return safetensors.torch.save(tensors) if tensors else b""

    def load_state(self, data: bytes) -> None:
        """Set frozen parameters and buffers from `dump_state`'s bytes."""
        if not data:
            return
        tensors = load_tensors(data)
        with torch.no_grad():
            for name, tensor in self._state_items():
                tensor.copy_(tensors[name])

    def _state_items(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                yield f"parameter:{name}", parameter
        for name, buffer in self.module.named_buffers():
            yield f"buffer:{name}", buffer


def load_tensors(data: bytes) -> dict[str, Tensor]:
    """Tensors of safetensors bytes. Raises FitError where they are none."""
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise FitError(f"A module's state cannot be read: {error}") from error


def view_array(flat: Tensor) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """The vector as an array over the same memory."""
    return cast("np.ndarray[Any, np.dtype[np.float32]]", flat.numpy())


def _validate_parameter(name: str, parameter: nn.Parameter) -> None:
    if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
        raise ArgumentError(
            "build_model",
            f"a module whose parameter {name} is {parameter.dtype} on {parameter.device}",
            "a module of torch.float32 parameters on the cpu",
            "Call .float().cpu() on the module before you return it.",
        )
