"""The training itself: steps, validation, early stopping, and everything that a checkpoint has to hold."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.job import JSON, EngineError, Report
from deepseek.messages import Message
from deepseek.models.manifest import Architecture
from deepseek.models.network import Network, build_network
from deepseek.train.checkpoint import Checkpoint, write_checkpoint
from deepseek.train.device import Place, derive_seed
from deepseek.train.examples import Examples, compute_moments
from deepseek.train.plan import count_total_steps
from deepseek.train.replicas import SINGLE, Replicas, replicate
from deepseek.train.schedule import progressive_batch, warmup_lr
from deepseek.train.spec import TrainSpec

MOST_POINTS = 500
"""The training loss is reported about so often in the longest run; each value is the mean of the steps since."""
_CHUNK = 8192
_SMALLEST_SCALE = 2.0**-20  # a loss scale that fell to this will not find finite gradients any more


@dataclass
class TrainingProgress:
    """How far a training is; `stale` counts epochs since the best one."""

    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    step: int = 0
    first_loss: float = 0.0  # validation loss before any step
    best_loss: float | None = None
    best_epoch: int = 0  # counted from 1
    stale: int = 0
    loss_sum: float = 0.0  # of the steps since the last report
    loss_steps: int = 0


class Training:
    """One training, from fresh weights or from a checkpoint, to the best weights in `best`."""

    def __init__(
        self,
        spec: TrainSpec,
        examples: Examples,
        architecture: Architecture,
        place: Place,
        report: Report,
        replicas: Replicas = SINGLE,
    ) -> None:
        self.spec, self.place, self.report, self.replicas = spec, place, report, replicas
        self.parts = examples.parts
        fresh = _create_network(spec, examples, architecture)
        self.target = _build_targets(examples, fresh).to(place.device)
        self.network = fresh.to(place.device)
        self.features = _move_features(examples, place.device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=spec.schedule.init_lr, weight_decay=spec.weight_decay
        )
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=place.scaled)
        self.at = TrainingProgress()
        self.best = self._copy_weights()
        self.total = count_total_steps(spec.schedule, spec.epochs, len(self.parts.training))
        self.every = max(1, math.ceil(self.total / MOST_POINTS))
        torch.manual_seed(derive_seed(spec.seed, "dropout", replicas.rank))
        self.shared = None if replicas.is_single else replicate(self.network, place.device)

    def run(self, path: Path, identity: str) -> None:
        """Train until the epochs are over or patience is; checkpoints go to `path`.

        Raises EngineError ``loss_not_finite`` before such a loss has touched the weights.
        """
        at = self.at
        if at.step == 0:
            at.first_loss = self._validate()
        while at.epoch < self.spec.epochs and not self._is_over():
            self._finish_epoch(path, identity)
            loss = self._validate()
            at.epoch, at.batch = at.epoch + 1, 0
            self.report.metric("validation_loss", loss, at.step)
            if at.best_loss is None or loss < at.best_loss:
                at.best_loss, at.best_epoch, at.stale, self.best = loss, at.epoch, 0, self._copy_weights()
            else:
                at.stale += 1
        self.report.progress(at.step, at.step, "steps", stage="train")

    def _is_over(self) -> bool:
        return bool(self.spec.patience) and self.at.stale >= self.spec.patience

    def _finish_epoch(self, path: Path, identity: str) -> None:
        """The steps of this epoch that are not done yet, in an order that seed and epoch alone decide."""
        at, size = self.at, self._get_batch_size(self.at.epoch)
        draw = torch.Generator().manual_seed(derive_seed(self.spec.seed, "order", at.epoch))
        order = self.parts.training[torch.randperm(len(self.parts.training), generator=draw).numpy()]
        while at.batch * size < len(order):
            rows = order[at.batch * size : (at.batch + 1) * size]
            at.loss_sum += self._step(rows)
            at.loss_steps, at.step, at.batch = at.loss_steps + 1, at.step + 1, at.batch + 1
            if at.step % self.every == 0:
                self._report_step(size)
            if at.step % self.spec.checkpoint_every == 0:
                checkpoint = self.checkpoint()
                if self.replicas.is_first:
                    write_checkpoint(path, identity, checkpoint)
                    self.report.checkpoint(path, at.step)

    def _step(self, rows: Any) -> float:
        """One step on these rows; returns their loss."""
        schedule, number = self.spec.schedule, self.at.step
        self.network.train()
        warmup_lr(self.optimizer, number, schedule.warmup_steps, schedule.init_lr, schedule.max_lr)
        self.optimizer.zero_grad()
        loss, value = self._compute_batch_loss(rows)
        if not math.isfinite(value):
            raise self._build_not_finite_error("loss", value)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if not self.place.scaled:  # a scaler looks for itself, and leaves such a step out
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            largest = float(nn.utils.get_total_norm(gradients, math.inf))
            if not math.isfinite(largest):
                raise self._build_not_finite_error("gradient", largest)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.place.scaled and self.scaler.get_scale() < _SMALLEST_SCALE:
            raise self._build_not_finite_error("gradient", math.inf)
        return value

    def _compute_batch_loss(self, rows: Any) -> tuple[Tensor, float]:
        """The loss whose gradient a step follows, and its value over the whole batch."""
        if self.replicas.is_single:
            loss = self._compute_loss(rows)
            return loss, float(loss.detach())
        part = self._compute_loss(self.replicas.shard(rows), reduction="sum")
        # The ranks' gradients are averaged: times their number it is the mean over the rows.
        return part * (self.replicas.world / len(rows)), self.replicas.sum(part) / len(rows)

    def _compute_loss(self, rows: Any, reduction: str = "mean") -> Tensor:
        place = torch.from_numpy(rows).to(self.place.device)
        features, target = self.features[place], self.target[place]
        with torch.autocast(self.place.device.type, dtype=self.place.dtype, enabled=self._use_mixed_precision()):
            use_shared = self.shared is not None and self.network.training
            logits = self.shared(features) if self.shared and use_shared else self.network.compute_logits(features)
        if self.network.probabilities:
            return nn.functional.cross_entropy(logits.float(), target, reduction=reduction)
        return nn.functional.mse_loss(logits.float()[:, 0], target, reduction=reduction)

    def _use_mixed_precision(self) -> bool:
        return self.place.dtype is not None and self.network.training

    @torch.no_grad()
    def _validate(self) -> float:
        """The mean loss over the validation rows, in float32."""
        self.network.eval()
        rows, total = self.parts.validation, 0.0
        own = self.replicas.shard(rows)
        for start in range(0, len(own), _CHUNK):
            chunk = own[start : start + _CHUNK]
            total += float(self._compute_loss(chunk)) * len(chunk)
        if not self.replicas.is_single:
            total = self.replicas.sum(torch.tensor(total, dtype=torch.float64, device=self.place.device))
        if not math.isfinite(total):
            raise self._build_not_finite_error("validation loss", total)
        return total / len(rows)

    def _report_step(self, size: int) -> None:
        at = self.at
        self.report.metric("train_loss", at.loss_sum / at.loss_steps, at.step)
        self.report.metric("learning_rate", float(self.optimizer.param_groups[0]["lr"]), at.step)
        self.report.metric("batch_size", size, at.step)
        self.report.progress(at.step, self.total, "steps", stage="train")
        at.loss_sum, at.loss_steps = 0.0, 0

    def _get_batch_size(self, epoch: int) -> int:
        schedule = self.spec.schedule
        return progressive_batch(epoch, self.spec.epochs, schedule.first_batch, schedule.last_batch)

    def _copy_weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def checkpoint(self) -> Checkpoint:
        """Everything to go on from: weights, best weights, optimizer, scaler, place in the data, random states.

        All ranks take part, for the random states of each.
        """
        tensors = {f"model/{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{name}": value for name, value in values.items()}
        for rank, state in enumerate(self.replicas.gather(torch.get_rng_state())):
            tensors[f"random/{name_random_state('cpu', rank)}"] = state
        if self.place.device.type == "cuda":
            for rank, state in enumerate(self.replicas.gather(torch.cuda.get_rng_state(self.place.device))):
                tensors[f"random/{name_random_state('cuda', rank)}"] = state
        words: dict[str, JSON] = {
            "at": asdict(self.at),
            "scaler": self.scaler.state_dict(),
            "place": self.place.words,
        }
        return Checkpoint(words, tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`, which must be of the same run: bit for bit if it was made on such a processor."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}, "random": {}}
        for name, tensor in checkpoint.tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        self.network.load_state_dict(groups["model"])
        self.best = {name: tensor.to(self.place.device) for name, tensor in groups["best"].items()}
        moving: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups["optimizer"].items():
            number, _, rest = name.partition("/")
            moving.setdefault(int(number), {})[rest] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moving})
        scaler = cast("dict[str, Any]", checkpoint.state["scaler"])
        if self.place.scaled and scaler:
            self.scaler.load_state_dict(scaler)
        random, rank = groups["random"], self.replicas.rank
        torch.set_rng_state(random[name_random_state("cpu", rank)])
        if self.place.device.type == "cuda" and name_random_state("cuda", rank) in random:
            torch.cuda.set_rng_state(random[name_random_state("cuda", rank)], self.place.device)
        self.at = TrainingProgress(**cast(Any, checkpoint.state["at"]))
        if checkpoint.state["place"] != self.place.words:
            self.report.log(
                f"The checkpoint was made on {checkpoint.state['place']}, this run goes on on {self.place.words}: "
                "its result is not bit for bit that of a run on one of them.",
                level="warning",
            )

    def _build_not_finite_error(self, what: str, value: float) -> EngineError:
        saved_step = self.at.step // self.spec.checkpoint_every * self.spec.checkpoint_every
        saved = (
            Message("the last good checkpoint, of step {kept}, is kept", kept=saved_step)
            if saved_step
            else Message("no checkpoint was due yet")
        )
        return EngineError(
            "loss_not_finite",
            "The {what} of step {step} is {found}: the training stopped before it; {saved}.",
            what=what,
            step=self.at.step + 1,
            found=value,
            saved=saved,
            field="/schedule/max_lr",
            value=str(value),
            limit="a finite number",
            hint=(
                Message(
                    "Lower max_lr or lengthen the warm-up, look for extreme values in the table, or choose "
                    "precision bf16 or fp32."
                )
                if self.place.scaled
                else Message("Lower max_lr or lengthen the warm-up, look for extreme values in the table.")
            ),
        )


def name_random_state(device: str, rank: int) -> str:
    """Rank 0 has the name that it has alone."""
    return f"{device}.{rank}" if rank else device


def _create_network(spec: TrainSpec, examples: Examples, architecture: Architecture) -> Network:
    """Weights by seed (He et al., 2015; Glorot and Bengio, 2010, for tanh), standardisation from the training rows.

    The last layer starts at zero, so the first outputs are those of no model: equal shares, the mean, the last value.
    """
    torch.manual_seed(derive_seed(spec.seed, "weights"))
    network = build_network(architecture)
    lines = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    for line in lines:
        nn.init.zeros_(line.bias)
        if line is lines[-1]:
            nn.init.zeros_(line.weight)
        elif spec.activation == "tanh":
            nn.init.xavier_uniform_(line.weight)
        else:
            nn.init.kaiming_uniform_(line.weight, nonlinearity="relu")
    rows = examples.parts.training
    mean, scale = compute_moments(examples.features, rows, residual=architecture.residual)
    network.input_mean.copy_(torch.from_numpy(mean))
    network.input_scale.copy_(torch.from_numpy(scale))
    if not network.probabilities:
        values = _compute_changes(examples, architecture.residual)[:, None]
        mean, scale = compute_moments(values, rows, residual=False)
        network.output_mean.copy_(torch.from_numpy(mean))
        network.output_scale.copy_(torch.from_numpy(scale))
    return network


def _build_targets(examples: Examples, network: Network) -> Tensor:
    """What the last layer should give for each row: a class, or the target as a distance in `output_scale`."""
    if network.probabilities:
        return torch.from_numpy(examples.target)
    changes = _compute_changes(examples, network.residual)
    return (torch.from_numpy(changes) - network.output_mean) / network.output_scale


def _compute_changes(examples: Examples, residual: bool) -> Any:
    """The target, (N,) float32; of a residual network its distance to the last input."""
    return examples.target - examples.features[:, -1] if residual else examples.target


def _move_features(examples: Examples, device: torch.device) -> Tensor:
    table = torch.from_numpy(np.ascontiguousarray(examples.table)).to(device)
    return table.unfold(0, examples.lags, 1) if examples.lags else table
