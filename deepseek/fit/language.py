"""What the fine-tuning of a language model costs, wholly or by adapters."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.fit.architectures import Architecture, LayerCost, read_architecture
from deepseek.fit.memory import HALF, NUMBER, DataFacts, NetworkCost, TrainingFacts, is_half
from deepseek.fit.texts import guess_longest, guess_tokens
from deepseek.language.spec import LanguageSpec
from deepseek.train.plan import count_rows_left, count_share

CHUNK = 8  # texts that are validated at once: LanguageLearner.validation_chunk
INDEX = 8  # bytes of a number in int64
BYTES_PER_TOKEN = 4  # of a file of conversations, about
UNKNOWN_LENGTH = 1024  # tokens of the longest text, where nothing tells
TEXT_COPIES = 3  # of the bytes of a file: as tokens, which of them are targets, and the texts themselves
LOGITS = 3  # times a token's logits: as they come, in float32 as their logarithms, and their gradients
LIBRARIES = 650 * 10**6


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bytes of a number: `weight` of a frozen one, `passing` of an activation; `cast`: weights are cast to 16 bits."""

    weight: int
    passing: int
    cast: bool


def build_language_facts(spec: LanguageSpec, facts: DataFacts, *, on_gpu: bool) -> TrainingFacts | None:
    """Of a base whose config.json is not known: its weights alone, by the bytes of their files; None without those."""
    architecture = read_architecture(facts.base)
    if architecture is None and not facts.base_bytes:
        return None
    half = is_half(spec, on_gpu=on_gpu)
    frozen_in_half = half and spec.precision != "fp16" and spec.method == "lora" and spec.strategy != "fsdp"
    precision = Precision(
        weight=HALF if frozen_in_half else NUMBER, passing=HALF if half else NUMBER, cast=half and not frozen_in_half
    )
    if architecture is None:
        cost = compute_unknown_cost(spec, facts.base_bytes, precision)
    else:
        limit = min(spec.max_length or architecture.context, architecture.context)
        length = guess_longest(facts, BYTES_PER_TOKEN, limit, UNKNOWN_LENGTH)
        cost = compute_language_cost(architecture, spec, length, precision)
    training = validation = None
    if facts.rows is not None:
        training = count_rows_left(facts.rows, (spec.validation_share, spec.test_share))
        validation = count_share(facts.rows, spec.validation_share)
    return TrainingFacts(
        cost=cost,
        training_rows=training,
        validation_rows=validation,
        validation_chunk=CHUNK,
        data=TEXT_COPIES * max(facts.file_bytes, guess_tokens(facts, BYTES_PER_TOKEN)),
        serialized=0,  # tensor by tensor
        libraries=LIBRARIES,
    )


def compute_unknown_cost(spec: LanguageSpec, base_bytes: int, precision: Precision) -> NetworkCost:
    """At least that much: the tensors, taken to lie in 16 bits, and of a full training what moves them."""
    weights = base_bytes // HALF
    is_full = spec.method == "full"
    return NetworkCost(
        parameters=weights * (NUMBER if is_full else precision.weight),
        trainable=weights * NUMBER if is_full else 0,
        buffers=0,
        largest=0,
        kept=0,
        working=0,
        forward=0,
        stored=None if is_full else 0,
    )


def compute_language_cost(
    architecture: Architecture, spec: LanguageSpec, length: int, precision: Precision
) -> NetworkCost:
    """Of texts of `length` tokens, all of which the loss is taken on, as it may be; the network is LanguageNetwork.

    An adapter of experts makes their weights anew in each pass, and keeps them for the backward pass.
    """
    is_full = spec.method == "full"
    layers = architecture.layers
    adapters = 0
    if not is_full:
        adapters = sum(
            layer.count_adapter(spec.lora.rank, experts=spec.lora.experts) * n for layer, n in layers.items()
        )
    weights = sum(layer.weights * n for layer, n in layers.items()) + architecture.tables + architecture.extra
    fixed = sum(layer.fixed * n for layer, n in layers.items())
    buffers = sum(layer.buffers * n for layer, n in layers.items())
    rank = 0 if is_full else spec.lora.rank
    kept = {layer: count_layer_bytes(layer, length, precision, rank) for layer in layers}
    between = architecture.stream * length * NUMBER
    head = length * (NUMBER * (architecture.width + 1) + INDEX)
    if is_full:  # what the last norm and the outputs' matrix take, for the gradients of their weights
        head += length * (NUMBER + precision.passing) * architecture.width
    logits = length * architecture.vocabulary * NUMBER
    widest = max(kept.values())
    if spec.activation_checkpointing:
        all_kept, again = between * layers.total(), widest
    else:
        all_kept, again = sum(kept[layer] * n for layer, n in layers.items()), 0
    if not is_full:  # the first layer's inputs need no gradient
        all_kept -= length * NUMBER * (architecture.width + 1)
    experts_in = {layer: layer.experts * precision.weight for layer in layers}
    most_experts = max(experts_in.values())
    merged = gradients = 0
    if not is_full and spec.lora.experts:  # the weights with their adapters, and their gradients
        gradients = merged = most_experts
        if not spec.activation_checkpointing:
            merged = sum(experts_in[layer] * n for layer, n in layers.items())
    cast = 0
    if precision.cast:
        cast = HALF * (sum((layer.weights - layer.experts) * n for layer, n in layers.items()) + architecture.tables)
    largest_layer = max((layer.weights * NUMBER for layer in layers), default=0)
    return NetworkCost(
        parameters=weights * (NUMBER if is_full else precision.weight) + NUMBER * adapters,
        trainable=NUMBER * (weights - fixed if is_full else adapters),
        buffers=buffers + architecture.buffers,
        largest=NUMBER * max(architecture.vocabulary * architecture.width, *(layer.largest for layer in layers)),
        kept=all_kept + head + logits,
        working=max((LOGITS - 1) * logits, again + widest // 2 - head - logits),
        forward=(LOGITS - 1) * logits + widest // 4 + between,
        kept_once=merged + cast + length * architecture.rotary * precision.passing,
        working_once=gradients,
        forward_once=gradients,
        stored=NUMBER * weights + buffers if is_full else NUMBER * adapters,
        layer=max(largest_layer, NUMBER * (architecture.tables + architecture.extra)),
    )


def count_layer_bytes(layer: LayerCost, length: int, precision: Precision, rank: int) -> int:
    """What a layer keeps of one text for its backward pass; `rank`: of its adapters, 0 where it is trained itself."""
    wide, narrow, routed = layer.wide, layer.narrow, NUMBER
    if rank:
        wide, routed = wide - layer.spared_wide, precision.weight
        narrow += rank * len(layer.adapted) - layer.spared_narrow
    per_token = NUMBER * wide + precision.passing * narrow + routed * layer.routed + INDEX * layer.indices
    return length * per_token + length * length * layer.pairs * NUMBER
