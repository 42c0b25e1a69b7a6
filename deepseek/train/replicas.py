"""The ranks of a data-parallel training: each has the whole table and the same weights, and a part of every batch.

A batch is that of one process, in the same order; rank r takes its rows r, r + W, r + 2W, ... The loss is the mean over
the whole batch, so learning rate, batch size and their schedule mean the same for any number of ranks; only the order
in which numbers are added differs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepseek.models.trainable import Trainable
from deepseek.torchrun.rank import LOCAL_RANK
from deepseek.train.device import wants_gpu
from deepseek.train.learner import Learner
from deepseek.train.loop_spec import LoopSpec
from deepseek.train.roles import take_role


@dataclass(frozen=True)
class Replicas:
    """Rank `rank` of `world`. Of one alone nothing is communicated."""

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_single(self) -> bool:
        return self.world == 1

    def shard(self, rows: Any) -> Any:
        """This rank's part of the rows."""
        return rows[self.rank :: self.world]

    def sum(self, value: Tensor) -> float:
        """The sum over the ranks, the same bits on each."""
        total = value.detach().to(torch.float64)
        dist.all_reduce(total)
        return float(total)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The ranks' tensors of one shape, on each rank; of bytes, on the processor."""
        if self.is_single:
            return [tensor]
        device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else tensor.device
        parts = [torch.empty_like(tensor, device=device) for _ in range(self.world)]
        dist.all_gather(parts, tensor.to(device))
        return [part.cpu() for part in parts]


SINGLE = Replicas()


class _Logits(nn.Module):
    """`forward` is what DistributedDataParallel hooks into, and training computes logits."""

    def __init__(self, network: Trainable) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.network.compute_logits(*inputs)


def replicate(learner: Learner, device: torch.device) -> DistributedDataParallel:
    """The learner's network as a module whose backward pass leaves the mean of all ranks' gradients."""
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(
        _Logits(learner.network),
        device_ids=ids,
        forward_sync_buffers=learner.broadcasts_buffers,
        gradient_as_bucket_view=True,  # one copy of the gradients less, in memory and in time
    )


@contextmanager
def join_replicas(spec: LoopSpec) -> Iterator[Replicas]:
    """Join the other ranks, as torchrun's variables name them; one alone where the strategy is none.

    Each rank of a node takes a GPU of its own, where there are as many.
    """
    if spec.strategy == "none":
        yield SINGLE
        return
    if spec.strategy == "ps":
        take_role(spec)
    gpus = torch.cuda.device_count() if wants_gpu(spec) else 0
    if gpus:
        torch.cuda.set_device(int(os.environ[LOCAL_RANK]) % gpus)
    dist.init_process_group("nccl" if gpus >= spec.processes else "gloo")
    try:
        yield Replicas(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
