"""The peak memory of a training, from what its network costs: pure arithmetic, light to import.

The parts follow the training loop (deepseek/train/loop.py) and are held against traces (deepseek/fit/trace.py) and
measured peaks (benchmarks/fit.py).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

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
    """What is known of the data before the job runs; None where it is not."""

    rows: int | None = None
    columns: int | None = None
    number_columns: int | None = None
    file_bytes: int = 0


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
    ranks = spec.processes
    if not gpus:
        rank = _estimate_rank(spec, facts, examples, nodes, on_gpu=False)
        launcher = LAUNCHER if spec.strategy != "none" else 0
        host = rank.times(ranks)
        return MemoryEstimate(
            host=MemoryParts(**{**asdict(host), "libraries": host.libraries + launcher}), gpu=None, examples=examples
        )
    rank = _estimate_rank(spec, facts, examples, nodes, on_gpu=True)
    weights = facts.cost.parameters + facts.cost.buffers
    host_rank = MemoryParts(
        parameters=weights,  # made on the processor, then moved
        copies=_count_written(spec, facts),  # brought back to be written
        data=facts.data,
        libraries=facts.libraries + CUDA_HOST,
    )
    return MemoryEstimate(host=host_rank.times(ranks), gpu=rank.times(-(-ranks // gpus)), examples=examples)


def _estimate_rank(spec: LoopSpec, facts: TrainingFacts, examples: int, nodes: int, *, on_gpu: bool) -> MemoryParts:
    """The peak of one process, on its device: of a step, of validation, of the optimizer, or of writing."""
    cost = facts.cost
    step = examples * (cost.kept + cost.working) + cost.kept_once
    validated = facts.validation_chunk
    if facts.validation_rows is not None:
        validated = min(validated, -(-facts.validation_rows // (spec.processes * nodes)))
    # AdamW's square roots: of all weights at once on a GPU, of one tensor after the other on a processor
    moving = cost.trainable if on_gpu else 2 * cost.largest
    passing = math.ceil(max(step, validated * cost.forward))
    written = 0 if on_gpu else _count_written(spec, facts)
    return MemoryParts(
        parameters=cost.parameters + cost.buffers,
        gradients=cost.trainable,  # with several ranks they lie in DistributedDataParallel's buckets
        optimizer=MOMENTS * cost.trainable + max(0, moving - passing),
        activations=passing,
        copies=cost.parameters + cost.buffers + max(0, written - max(moving, passing)),
        data=facts.data_on_device if on_gpu else facts.data,
        libraries=CUDA_CONTEXT if on_gpu else facts.libraries,
    )


def _count_written(spec: LoopSpec, facts: TrainingFacts) -> int:
    """Bytes of a checkpoint while it is written, or of the model alone where no checkpoint comes due; or of what comes
    after the training, where that is more.
    """
    cost = facts.cost
    is_due = True
    if facts.training_rows is not None:
        is_due = count_total_steps(spec.schedule, spec.epochs, facts.training_rows) >= spec.checkpoint_every
    weights = cost.parameters + cost.buffers  # a checkpoint has them twice: those of now, and the best
    written = SERIALIZED * (2 * weights + MOMENTS * cost.trainable if is_due else weights)
    return max(written, facts.after)
