"""The peak memory of a training, from what its network costs: pure arithmetic, light to import.

The parts follow the training loop (deepseek/train/loop.py) and are held against traces (deepseek/fit/trace.py) and
measured peaks (benchmarks/fit.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from deepseek.train.loop_spec import LoopSpec
from deepseek.train.plan import count_total_steps

MIB = 2**20
NUMBER, HALF = 4, 2  # bytes of a number in float32 and in the 16-bit formats
MOMENTS = 2  # AdamW keeps two numbers for each weight
SERIALIZED = 2  # copies of what is written: safetensors.torch.save makes one of each tensor, then the whole file
LIBRARIES = 425 * 10**6  # a process with torch, pyarrow and the engine loaded; 411 to 427 MB measured
LAUNCHER = 300 * 10**6  # the process that starts ranks: torch is loaded, and nothing computed
CUDA_HOST = 1_200 * 10**6  # more of the host for CUDA's libraries; not measured here
CUDA_CONTEXT = 600 * 10**6  # of each GPU, for a process that uses it; not measured here


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What is known of the data before the job runs; None where it is not.

    `rows`: of a table, images of a folder, or texts of a file. `tokens` of all texts, `longest` of one of them, `words`
    that occur more than once. `classes`: labels of images. `base`: the config.json of a base model, and `base_bytes` of
    its tensors.
    """

    rows: int | None = None
    columns: int | None = None
    number_columns: int | None = None
    file_bytes: int = 0
    tokens: int | None = None
    longest: int | None = None
    words: int | None = None
    classes: int | None = None
    base: Mapping[str, Any] | None = None
    base_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """Bytes of a network in float32, and of each example that it computes at once."""

    parameters: int
    trainable: int
    buffers: int
    largest: int  # of one trainable tensor
    kept: float  # of an example: what autograd saves for the backward pass
    working: float  # of an example: more than that, for a moment
    forward: float  # of an example in a pass without gradients
    kept_once: int = 0  # saved however many examples: weights in 16 bits
    working_once: int = 0  # more than that, for a moment
    forward_once: int = 0  # likewise in a pass without gradients
    stored: int | None = None  # what the best epoch and a checkpoint hold of it; None: all parameters and buffers
    layer: int = 0  # of its largest layer's weights: where they are shared out, one is whole at a time

    @property
    def weights(self) -> int:
        """Bytes that the best epoch and a checkpoint hold."""
        return self.parameters + self.buffers if self.stored is None else self.stored


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """A network, and what there is to compute: examples of each part, bytes of the data."""

    cost: NetworkCost
    training_rows: int | None
    validation_rows: int | None
    validation_chunk: int
    data: int  # of a process
    data_on_device: int = 0
    after: int = 0  # once the network is trained, beside its weights
    loading: int = 0  # while the weights are read, beside them
    serialized: int | None = None  # copies of the model while it is written; None: as a checkpoint has
    libraries: int = LIBRARIES


@dataclass(frozen=True, kw_only=True)
class MemoryParts:
    """Bytes at the peak, by what they are for. `copies`: the best weights, and what is written of them at once."""

    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    copies: int = 0
    data: int = 0
    libraries: int = 0

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    def as_dict(self) -> dict[str, int]:
        return {**asdict(self), "total": self.total}

    def times(self, count: int) -> MemoryParts:
        return MemoryParts(**{name: value * count for name, value in asdict(self).items()})


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """What each node gives for a job. `examples`: of a step, computed at once in a process; `gpu`: of each GPU."""

    host: MemoryParts
    gpu: MemoryParts | None
    examples: int


def is_half(spec: LoopSpec, *, on_gpu: bool) -> bool:
    """Whether the passes compute in 16 bits: `auto` does so on a GPU."""
    return spec.precision in ("fp16", "bf16") or (spec.precision == "auto" and on_gpu)


def count_examples_at_once(spec: LoopSpec, rows: int | None, nodes: int) -> int:
    """Examples of a step that one process computes at once, in the largest batch."""
    batch = spec.schedule.last_batch if rows is None else min(spec.schedule.last_batch, max(1, rows))
    share = -(-batch // (spec.processes * nodes))
    return min(share, spec.micro_batch) if spec.micro_batch else share


def estimate_training(spec: LoopSpec, facts: TrainingFacts, *, nodes: int = 1, gpus: int = 0) -> MemoryEstimate:
    """The peak of a training on each of `nodes`, with so many GPUs on each."""
    examples = count_examples_at_once(spec, facts.training_rows, nodes)
    ranks, world = spec.processes, count_parts(spec, nodes)
    first = _count_gathered(spec, facts) if world > 1 else 0
    if not gpus:
        rank = _estimate_rank(spec, facts, examples, nodes, on_gpu=False)
        launcher = LAUNCHER if spec.strategy != "none" else 0
        host = rank.times(ranks)
        host = replace(host, libraries=host.libraries + launcher, copies=host.copies + first)
        return MemoryEstimate(host=host, gpu=None, examples=examples)
    rank = _estimate_rank(spec, facts, examples, nodes, on_gpu=True)
    host_rank = MemoryParts(
        parameters=facts.cost.parameters + facts.cost.buffers,  # made on the processor, then moved
        copies=max(facts.loading, 0 if world > 1 else _count_written(spec, facts)),  # brought back to be written
        data=facts.data,
        libraries=facts.libraries + CUDA_HOST,
    )
    host = host_rank.times(ranks)
    return MemoryEstimate(
        host=replace(host, copies=host.copies + first), gpu=rank.times(-(-ranks // gpus)), examples=examples
    )


def count_parts(spec: LoopSpec, nodes: int) -> int:
    """Ranks that share out the weights, the gradients and the optimizer's numbers; 1: each has them all."""
    return spec.processes * nodes if spec.strategy == "fsdp" else 1


def _estimate_rank(spec: LoopSpec, facts: TrainingFacts, examples: int, nodes: int, *, on_gpu: bool) -> MemoryParts:
    """The peak of one process, on its device: of a step, of validation, of the optimizer, or of writing.

    Where the weights are shared out it holds its part of them, and one layer whole.
    """
    cost, world = facts.cost, count_parts(spec, nodes)
    whole = cost.parameters + cost.buffers
    own, trainable = -(-whole // world), -(-cost.trainable // world)
    step = examples * (cost.kept + cost.working) + cost.kept_once + cost.working_once
    validated = facts.validation_chunk
    if facts.validation_rows is not None:
        validated = min(validated, -(-facts.validation_rows // (spec.processes * nodes)))
    # AdamW's square roots: of all weights at once on a GPU, of one tensor after the other on a processor
    moving = trainable if on_gpu else 2 * -(-cost.largest // world)
    passing = math.ceil(max(step, validated * cost.forward + cost.forward_once))
    gathered = 0
    if world > 1:
        gathered = 2 * cost.layer  # the weights of a layer, and their gradients before they are shared out
    written = 0 if on_gpu or world > 1 else _count_written(spec, facts)
    best = -(-cost.weights // world)
    copies = best + gathered + max(0, written - max(moving, passing))
    if not on_gpu:  # the weights are read before anything else is there, whole on each rank
        before = own + 3 * trainable + passing + copies
        copies += max(0, whole + facts.loading - before)
    return MemoryParts(
        parameters=own,
        gradients=trainable,  # with several ranks they lie in DistributedDataParallel's buckets
        optimizer=MOMENTS * trainable + max(0, moving - passing),
        activations=passing,
        copies=copies,
        data=facts.data_on_device if on_gpu else facts.data,
        libraries=CUDA_CONTEXT if on_gpu else facts.libraries,
    )


def _count_written(spec: LoopSpec, facts: TrainingFacts) -> int:
    """Bytes of a checkpoint while it is written, or of the model alone where no checkpoint comes due; or of what comes
    after the training, where that is more.
    """
    cost = facts.cost
    copies = SERIALIZED if facts.serialized is None else facts.serialized
    written = copies * cost.weights
    if is_checkpoint_due(spec, facts):  # it has the weights twice: those of now, and the best
        written = SERIALIZED * (2 * cost.weights + MOMENTS * cost.trainable)
    return max(written, facts.after)


def _count_gathered(spec: LoopSpec, facts: TrainingFacts) -> int:
    """What the first rank has of weights that are shared out when it writes a checkpoint, or the model: them whole."""
    cost = facts.cost
    at_the_end = cost.parameters + cost.buffers + cost.weights
    if not is_checkpoint_due(spec, facts):
        return at_the_end
    return max(at_the_end, (1 + SERIALIZED) * (2 * cost.weights + MOMENTS * cost.trainable))


def is_checkpoint_due(spec: LoopSpec, facts: TrainingFacts) -> bool:
    """Whether the training has so many steps; taken for granted while its rows are not known."""
    if facts.training_rows is None:
        return True
    return count_total_steps(spec.schedule, spec.epochs, facts.training_rows) >= spec.checkpoint_every
