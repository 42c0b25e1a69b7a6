"""The training itself: steps, validation, early stopping, and everything that a checkpoint has to hold."""

import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepseek.job import JSON, EngineError, Report
from deepseek.messages import Message
from deepseek.train.checkpoint import Checkpoint, write_checkpoint
from deepseek.train.device import Place, derive_seed
from deepseek.train.learner import Forward, Learner
from deepseek.train.loop_spec import LoopSpec
from deepseek.train.plan import count_total_steps
from deepseek.train.replicas import SINGLE, Replicas, replicate
from deepseek.train.schedule import progressive_batch, warmup_lr
from deepseek.train.sharding import SHARDED, find_largest, gather_tensor, place_like, share_out
from deepseek.train.split import Rows

MOST_POINTS = 500
"""The training loss is reported about so often in the longest run; each value is the mean of the steps since."""
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
    overflow_steps: int = 0  # left out because a scaled gradient was not finite


class Training:
    """One training, from fresh weights or from a checkpoint, to the best weights in `best`."""

    def __init__(
        self, spec: LoopSpec, learner: Learner, place: Place, report: Report, replicas: Replicas = SINGLE
    ) -> None:
        self.spec, self.learner, self.place, self.report, self.replicas = spec, learner, place, report, replicas
        self.parts = learner.parts
        learner.move(place.device)
        self.network = learner.network
        self.is_sharded = spec.strategy == SHARDED and not replicas.is_single
        if self.is_sharded:  # before the optimizer, which is to move the parts
            self.shared: Any = share_out(learner, place)
        self.parameters = list(learner.list_parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=spec.schedule.init_lr, weight_decay=spec.weight_decay)
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=place.scaled)
        self.at = TrainingProgress()
        self.saved_step = 0  # of the last checkpoint
        self.server_state: dict[str, Tensor] = {}  # of the optimizer, where parameter servers step
        self.best = self._copy_weights()
        self.total = count_total_steps(spec.schedule, spec.epochs, len(self.parts.training))
        self.every = max(1, math.ceil(self.total / MOST_POINTS))
        torch.manual_seed(derive_seed(spec.seed, "dropout", replicas.rank))
        if not self.is_sharded:
            self.shared = None if replicas.is_single else replicate(learner, place.device)

    def run(self, path: Path, identity: str) -> None:
        """Train until the epochs are over or patience is; checkpoints go to `path`.

        Raises EngineError ``loss_not_finite`` before such a loss has touched the weights.
        """
        at = self.at
        if at.step == 0:
            at.first_loss = self.validate()
        while not self.is_over():
            self._finish_epoch(path, identity)
            self.end_epoch()
        self.report.progress(at.step, at.step, "steps", stage="train")

    def close(self) -> None:
        """Drop the module that the ranks share; to be called before they leave their process group.

        The reducer of DistributedDataParallel, freed as the last owner of the group, would destroy it while it holds
        the interpreter's lock, for which gloo's thread may be waiting: a deadlock.
        """
        self.shared = None

    def is_over(self) -> bool:
        """Whether the epochs are over, or patience is."""
        spec, at = self.spec, self.at
        return at.epoch >= spec.epochs or bool(spec.patience and at.stale >= spec.patience)

    def end_epoch(self) -> None:
        """Validate after the last step of an epoch, and keep the weights if they are the best so far."""
        at, loss = self.at, self.validate()
        at.epoch, at.batch = at.epoch + 1, 0
        self.report.metric("validation_loss", loss, at.step)
        if at.best_loss is None or loss < at.best_loss:
            at.best_loss, at.best_epoch, at.stale, self.best = loss, at.epoch, 0, self._copy_weights()
        else:
            at.stale += 1

    def _finish_epoch(self, path: Path, identity: str) -> None:
        """The steps of this epoch that are not done yet, in an order that seed and epoch alone decide."""
        at, size = self.at, self.get_batch_size(self.at.epoch)
        self.learner.begin_epoch(at.epoch)
        order = self.draw_order(at.epoch)
        while at.batch * size < len(order):
            rows = order[at.batch * size : (at.batch + 1) * size]
            following = order[(at.batch + 1) * size : (at.batch + 2) * size]
            self.learner.prepare_ahead(self.replicas.shard(following))
            self.count_step(self._step(rows), size)
            if at.step % self.spec.checkpoint_every == 0:
                self.save(path, identity)

    def draw_order(self, epoch: int) -> Rows:
        """The training rows in the order of an epoch, which seed and epoch alone decide."""
        draw = torch.Generator().manual_seed(derive_seed(self.spec.seed, "order", epoch))
        return cast(Rows, self.parts.training[torch.randperm(len(self.parts.training), generator=draw).numpy()])

    def count_step(self, loss: float, size: int) -> None:
        """Record a step that was taken on a batch of `size` rows, and report it if it is one of those to report."""
        at = self.at
        at.loss_sum += loss
        at.loss_steps, at.step, at.batch = at.loss_steps + 1, at.step + 1, at.batch + 1
        if at.step % self.every == 0:
            self._report_step(size)

    def save(self, path: Path, identity: str) -> None:
        """Write a checkpoint, in which all ranks take part, and announce it."""
        checkpoint = self.checkpoint()
        self.saved_step = self.at.step
        if self.replicas.is_first:
            write_checkpoint(path, identity, checkpoint)
            self.report.checkpoint(path, self.at.step)

    def _step(self, rows: Rows) -> float:
        """One step on these rows; returns their loss."""
        schedule, number = self.spec.schedule, self.at.step
        self.network.train()
        warmup_lr(self.optimizer, number, schedule.warmup_steps, schedule.init_lr, schedule.max_lr)
        self.optimizer.zero_grad()
        value = self._compute_gradient(rows)
        if not self.place.scaled:  # a scaler looks for itself, and leaves such a step out
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            largest = (
                find_largest(gradients) if self.is_sharded else float(nn.utils.get_total_norm(gradients, math.inf))
            )
            if not math.isfinite(largest):
                raise self._build_not_finite_error("gradient", largest)
        self.scaler.step(self.optimizer)
        scale = self.scaler.get_scale() if self.place.scaled else 1.0
        self.scaler.update()
        if self.place.scaled and self.scaler.get_scale() < scale:
            self.at.overflow_steps += 1
        if self.place.scaled and self.scaler.get_scale() < _SMALLEST_SCALE:
            raise self._build_not_finite_error("gradient", math.inf)
        return value

    def _compute_gradient(self, rows: Rows) -> float:
        """Leave the gradient of the mean loss over `rows` in the parameters; returns that loss, over all ranks."""
        micro = self.spec.micro_batch
        if self.replicas.is_single and not 0 < micro < len(rows):
            loss = self.compute_loss(rows, "mean")
            value = float(loss.detach())
            self.require_finite_loss(value)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            return value
        own, terms, value = self.replicas.shard(rows), self.learner.count_terms(rows), 0.0
        most, size = -(-len(rows) // self.replicas.world), micro or len(rows)
        for start in range(0, most, size):  # as many on each rank
            is_last = start + size >= most
            chunk = own[start : start + size]
            with nullcontext() if is_last or self.shared is None else self.shared.no_sync():
                # A rank whose part is over computes one row for nothing: the others wait for its gradients.
                part = self.compute_loss(chunk, "sum") if len(chunk) else self.compute_loss(rows[:1], "sum") * 0
                value += float(part.detach()) if self.replicas.is_single else self.replicas.sum(part)
                self.require_finite_loss(value)
                # The ranks' gradients are averaged: times their number it is the mean over the rows.
                loss = part * (self.replicas.world / terms)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return value / terms

    def run_trial_pass(self, place: Place) -> None:
        """A forward and backward pass of this rank's largest batch in the precision of `place`, which changes nothing.

        Weights are not stepped; buffers, random numbers and the mode of the network are put back, and gradients go.
        Ranks share nothing here. What the learner draws by itself it draws again in `begin_epoch`.
        """
        network, micro = self.network, self.spec.micro_batch
        own = self.replicas.shard(self.parts.training[: self.spec.schedule.last_batch])
        rows = own[: micro or len(own)]
        buffers = {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
        gpus = [self.place.device] if self.place.device.type == "cuda" else []
        training = network.training
        self.learner.begin_epoch(self.at.epoch)
        try:
            with torch.random.fork_rng(devices=gpus):
                network.train()
                loss = self.learner.compute_loss(
                    lambda *inputs: self._compute_logits(network.compute_logits, place, inputs), rows, "mean"
                )
                loss.backward()  # type: ignore[no-untyped-call]
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            network.train(training)
            with torch.no_grad():
                for name, buffer in network.named_buffers():
                    buffer.copy_(buffers[name])

    def require_finite_loss(self, value: float) -> None:
        """Raise EngineError ``loss_not_finite`` for such a loss."""
        if not math.isfinite(value):
            raise self._build_not_finite_error("loss", value)

    def compute_loss(self, rows: Rows, reduction: str) -> Tensor:
        """The loss of these rows, as `Learner.compute_loss` says."""
        return self.learner.compute_loss(self._forward, rows, reduction)

    def _forward(self, *inputs: Tensor) -> Tensor:
        """The logits; of a step in the training's precision, and with several ranks shared among them."""
        is_step = self.network.training
        place = self.place if is_step else Place(self.place.device, None)
        if self.shared is not None and (is_step or self.is_sharded):
            return self._compute_logits(self.shared, place, inputs)
        return self._compute_logits(self.network.compute_logits, place, inputs)

    def _compute_logits(self, forward: Forward, place: Place, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.autocast(place.device.type, dtype=place.dtype, enabled=place.dtype is not None):
            return forward(*inputs)

    @torch.no_grad()
    def validate(self) -> float:
        """The mean loss over the validation rows, in float32."""
        self.network.eval()
        rows, total, size = self.parts.validation, 0.0, self.learner.validation_chunk
        own = self.replicas.shard(rows)
        each = -(-len(rows) // self.replicas.world) if self.is_sharded else len(own)  # then all ranks take part in each
        for start in range(0, each, size):
            chunk = own[start : start + size]
            if self.is_sharded:
                total += float(self.compute_loss(chunk, "sum"))
            else:
                total += float(self.compute_loss(chunk, "mean")) * self.learner.count_terms(chunk)
        if not self.replicas.is_single:
            total = self.replicas.sum(torch.tensor(total, dtype=torch.float64, device=self.place.device))
        if not math.isfinite(total):
            raise self._build_not_finite_error("validation loss", total)
        return total / self.learner.count_terms(rows)

    def _report_step(self, size: int) -> None:
        at = self.at
        self.report.metric("train_loss", at.loss_sum / at.loss_steps, at.step)
        self.report.metric("learning_rate", float(self.optimizer.param_groups[0]["lr"]), at.step)
        self.report.metric("batch_size", size, at.step)
        self.report.progress(at.step, self.total, "steps", stage="train")
        at.loss_sum, at.loss_steps = 0.0, 0

    def get_batch_size(self, epoch: int) -> int:
        """Rows of a batch in this epoch."""
        schedule = self.spec.schedule
        return progressive_batch(epoch, self.spec.epochs, schedule.first_batch, schedule.last_batch)

    def _copy_weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.learner.get_weights().items()}

    def checkpoint(self) -> Checkpoint:
        """Everything to go on from: weights, best weights, optimizer, scaler, place in the data, random states.

        All ranks take part, for the random states of each.
        """
        tensors = {f"model/{name}": tensor for name, tensor in self.learner.get_weights().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"servers/{name}": tensor for name, tensor in self.server_state.items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{name}": value for name, value in values.items()}
        if self.is_sharded:
            tensors = self._gather(tensors)
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

    def collect_best(self) -> dict[str, Tensor]:
        """The best weights, whole; all ranks take part, and only the first gets them."""
        return self._gather(self.best) if self.is_sharded else self.best

    def _gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of which each rank has a part, whole and on the processor, for the first rank."""
        all_weights: dict[str, Tensor] = {}
        for name in sorted(tensors):  # in one order on all ranks, wherever each has the tensors from
            gathered = gather_tensor(tensors[name])
            if self.replicas.is_first:
                all_weights[name] = gathered.cpu()
        return all_weights

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`, which must be of the same run: bit for bit if it was made on such a processor."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}, "servers": {}, "random": {}}
        for name, tensor in checkpoint.tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        own = self.learner.get_weights()
        for group in ("model", "best"):
            groups[group] = {name: place_like(tensor, own[name]) for name, tensor in groups[group].items()}
        self.learner.load_weights(groups["model"])
        self.best = {name: tensor.to(self.place.device) for name, tensor in groups["best"].items()}
        self.server_state = groups["servers"]
        moving: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups["optimizer"].items():
            number, _, rest = name.partition("/")
            moving.setdefault(int(number), {})[rest] = place_like(tensor, self.parameters[int(number)])
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moving})
        scaler = cast("dict[str, Any]", checkpoint.state["scaler"])
        if self.place.scaled and scaler:
            self.scaler.load_state_dict(scaler)
        random, rank = groups["random"], self.replicas.rank
        torch.set_rng_state(random[name_random_state("cpu", rank)])
        if self.place.device.type == "cuda" and name_random_state("cuda", rank) in random:
            torch.cuda.set_rng_state(random[name_random_state("cuda", rank)], self.place.device)
        self.at = TrainingProgress(**cast(Any, checkpoint.state["at"]))
        self.saved_step = self.at.step
        if checkpoint.state["place"] != self.place.words:
            self.report.log(
                f"The checkpoint was made on {checkpoint.state['place']}, this run goes on on {self.place.words}: "
                "its result is not bit for bit that of a run on one of them.",
                level="warning",
            )

    def _build_not_finite_error(self, what: str, value: float) -> EngineError:
        saved = (
            Message("the last good checkpoint, of step {kept}, is kept", kept=self.saved_step)
            if self.saved_step
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
