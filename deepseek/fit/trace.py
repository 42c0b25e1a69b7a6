"""What one training step of a network keeps in memory, by running it on the meta device: shapes without numbers.

The light arithmetic of `deepseek.fit.families`, which the web process can do, is tested against this.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deepseek.models.trainable import Trainable

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class StepTrace:
    """Bytes of one training step. `kept`: what autograd saves for the backward pass, parameters left out; `peak`: the
    most that is in memory at once beside parameters, their gradients and the inputs.
    """

    parameters: int
    trainable: int
    buffers: int
    kept: int
    peak: int


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that operations have made and that are still alive, and the most so far."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.add(tensor.untyped_storage())
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.seen:
            return
        self.seen.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, size)

    def leave_out_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self._release(parameter.grad.untyped_storage()._cdata, parameter.grad.untyped_storage().nbytes())

    def _release(self, key: int, size: int) -> None:
        if key in self.seen:
            self.seen.remove(key)
            self.now -= size


def trace_step(
    build: Callable[[], tuple[Trainable, Sequence[Tensor]]],
    *,
    loss: Loss | None = None,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
) -> StepTrace:
    """Trace one forward and backward pass of the network and the inputs that `build` makes, in mixed precision where
    `dtype` is given. Nothing is computed and no memory taken, whatever the widths.
    """
    with FakeTensorMode(), torch.device(device):
        network, inputs = build()
        network.train()
        owned = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
        owned |= {tensor.untyped_storage()._cdata for tensor in inputs}
        saved: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in owned:
                saved[storage._cdata] = storage.nbytes()
            return tensor

        live = _LiveBytes()
        live.seen |= owned
        for parameter in filter(lambda parameter: parameter.requires_grad, network.parameters()):
            parameter.register_post_accumulate_grad_hook(live.leave_out_gradient)  # type: ignore[no-untyped-call]
        precision: AbstractContextManager[Any] = torch.autocast(device, dtype=dtype) if dtype else nullcontext()
        with live, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with precision:
                logits = network.compute_logits(*inputs)
            value = (loss or compute_mean_square)(logits)
            forward_kept = sum(saved.values())
            del logits
            value.backward()  # type: ignore[no-untyped-call]
    return StepTrace(
        parameters=sum(p.nbytes for p in network.parameters()),
        trainable=sum(p.nbytes for p in network.parameters() if p.requires_grad),
        buffers=sum(b.nbytes for b in network.buffers()),
        kept=forward_kept,
        peak=live.peak,
    )


def trace_forward(build: Callable[[], tuple[Trainable, Sequence[Tensor]]], *, device: str = "cpu") -> int:
    """The most bytes in memory at once in a pass without gradients, as validation is, beside weights and inputs."""
    with FakeTensorMode(), torch.device(device), torch.no_grad():
        network, inputs = build()
        network.eval()
        live = _LiveBytes()
        live.seen |= {
            tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers(), *inputs)
        }
        with live:
            network.compute_logits(*inputs)
    return live.peak


def compute_mean_square(logits: Tensor) -> Tensor:
    """A loss that keeps as much as cross entropy does: one number for each logit."""
    return nn.functional.mse_loss(logits.float(), torch.zeros_like(logits, dtype=torch.float32))
