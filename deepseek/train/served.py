"""The strategy ps: parameter servers take the steps of a training, and its first worker ends the epochs.

Each worker has the whole table and takes rows r, r + W, r + 2W, ... of every batch, as a rank of data-parallel training
does. In sync mode the servers' mean of the gradients is that of the batch, so losses, learning rates and batch sizes
are those of one process. In the other modes each gradient is applied by its share of the learning rate, 1 / W.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from deepseek.job import EngineError
from deepseek.messages import Message
from deepseek.train.device import derive_seed
from deepseek.train.loop import Training
from deepseek.train.replicas import Replicas
from deepseek.train.schedule import learning_rate, warmup_lr
from deepseek.train.split import Rows

ANSWER_SECONDS = 3600.0
"""A worker waits so long for an answer: in sync mode it waits for the validation of the first one."""
_NO_CHECKPOINTS = 1_000_000  # the servers' own ones: what ends one of them ends the attempt


@dataclass(frozen=True)
class Part:
    """A worker's rows of a batch, and what the sum of their losses is multiplied by: the mean over the workers is then
    that over the batch. A worker for which no row is left computes one for nothing: the others wait for its gradient.
    """

    rows: Rows
    weight: float


class PartLoss(nn.Module):
    """The learner's network as a module of a worker: its output is the loss of a part."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self.network = training.network
        self.last_loss = 0.0
        self._training = training

    def forward(self, part: Part) -> Tensor:
        training, count = self._training, len(part.rows)
        size = training.spec.micro_batch or count
        training.network.train()
        earlier = 0.0
        for start in range(0, count, size):
            loss = training.compute_loss(part.rows[start : start + size], "sum") * part.weight
            if start + size < count:  # of a micro-batch: its gradient is added to, its graph is not kept
                loss.backward()  # type: ignore[no-untyped-call]
                earlier += float(loss.detach())
        loss = loss + earlier
        self.last_loss = float(loss.detach())
        training.require_finite_loss(self.last_loss)
        return loss


class ServedTraining:
    """A training whose steps run through `ParameterServer.fit`; on each rank, of which the first writes checkpoints."""

    def __init__(self, training: Training, replicas: Replicas, path: Path, identity: str) -> None:
        from deepseek.distributed.gang import OptimizerState

        self.training, self.replicas, self.path, self.identity = training, replicas, path, identity
        self.workers = replicas.world - training.spec.servers
        self.module = PartLoss(training)
        self.optimizer = OptimizerState(training.server_state)
        self.first_step = training.at.step
        self._next_epoch = training.at.epoch

    def run(self) -> None:
        """Train until the epochs are over or patience is."""
        from deepseek.distributed import ParameterServer

        training, spec = self.training, self.training.spec
        if training.at.step == 0 and self.replicas.is_first:
            training.at.first_loss = training.validate()
        if training.is_over():
            return
        ParameterServer(self.workers, spec.servers, ANSWER_SECONDS).fit(
            lambda: self.module,
            self.build_batches,
            loss=lambda outputs, targets: outputs,
            optimizer="adamw",
            lr=self.get_lr,
            weight_decay=spec.weight_decay,
            epochs=spec.epochs - training.at.epoch,
            mode=spec.server_mode,
            staleness=spec.staleness,
            checkpoint_every=_NO_CHECKPOINTS,
            threads=spec.threads,
            on_epoch=self.end_epoch,
            optimizer_state=self.optimizer,
        )
        training.report.progress(training.at.step, training.at.step, "steps", stage="train")

    def get_lr(self, step: int) -> float:
        """The learning rate of a gradient, by the number of its step in this fit."""
        schedule = self.training.spec.schedule
        rate = learning_rate(self.first_step + step, schedule.warmup_steps, schedule.init_lr, schedule.max_lr)
        return rate if self.training.spec.server_mode == "sync" else rate / self.workers

    def build_batches(self, rank: int, world: int) -> Iterator[tuple[Part, None]]:
        """A worker's parts of the batches of one epoch: each call is for the next one."""
        self._next_epoch += 1
        return self._iterate_parts(self._next_epoch - 1, rank, world)

    def _iterate_parts(self, epoch: int, rank: int, world: int) -> Iterator[tuple[Part, None]]:
        training, size = self.training, self.training.get_batch_size(epoch)
        training.learner.begin_epoch(epoch)
        torch.manual_seed(derive_seed(training.spec.seed, "dropout", epoch * world + rank))
        order = training.draw_order(epoch)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            own, weight = rows[rank::world], world / training.learner.count_terms(rows)
            yield Part(own, weight) if len(own) else Part(rows[:1], 0.0), None
            schedule = training.spec.schedule
            warmup_lr(training.optimizer, training.at.step, schedule.warmup_steps, schedule.init_lr, schedule.max_lr)
            training.count_step(self.module.last_loss, size)

    def end_epoch(self, epoch: int, loss: float) -> bool:
        """Validate on the first worker, while the others of sync mode wait; returns whether the training is over."""
        training = self.training
        with torch.random.fork_rng(devices=[]):  # the next epoch has begun, with a random state of its own
            training.end_epoch()
        is_over = training.is_over()
        if not is_over and training.at.step - training.saved_step >= training.spec.checkpoint_every:
            training.server_state = self.optimizer.fetch()
            training.save(self.path, self.identity)
        return is_over


def train_with_servers(training: Training, replicas: Replicas, path: Path, identity: str) -> None:
    """Train by the strategy ps: rank 0 returns with the best weights and the progress.

    Raises EngineError ``servers_unusable`` for a network that parameter servers cannot hold.
    """
    from deepseek.distributed import ArgumentError

    try:
        ServedTraining(training, replicas, path, identity).run()
    except ArgumentError as error:
        raise EngineError(
            "servers_unusable",
            Message("Parameter servers cannot train this network: {reason}", reason=str(error)),
            field="/strategy",
            value="ps",
            limit="none, ddp",
            hint=Message("Choose the strategy ddp, or another number of servers."),
        ) from error
