"""What each layer of a language model has and keeps, from the config.json of its folder: pure arithmetic.

The networks are those of transformers: deepseek_v3 by its every tensor, deepseek_v4 with less detail.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONFIG, TENSORS = "config.json", ".safetensors"
"""Of a base model's folder: the file with its sizes, and how the names of the files with its weights end."""
MAX_VALUE = 2**31  # of a number in config.json: more is no size of a network
MAX_LISTED_LAYERS = 10_000
SINKHORN = 2  # matrices of hyper-connections that are kept for each round that makes them doubly stochastic


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """Numbers of one layer. Per token: `wide` are kept in float32, `narrow` in the numbers of the pass, `indices` in
    int64, `routed` in those of the experts' weights; `pairs`: per pair of tokens. A layer whose weights are frozen
    keeps `spared_wide` and `spared_narrow` less, and the inner numbers of its adapters besides.
    """

    weights: int
    fixed: int = 0  # of the weights: those that no training moves
    experts: int = 0  # of the weights: those in experts' matrices
    largest: int = 0  # of its tensors
    adapted: tuple[tuple[int, int], ...] = ()  # (inputs, outputs) of each projection that an adapter may change
    expert_sides: int = 0  # inputs and outputs of all experts' matrices
    buffers: int = 0  # bytes
    wide: int = 0
    narrow: int = 0
    routed: int = 0
    indices: int = 0
    pairs: int = 0
    spared_wide: int = 0
    spared_narrow: int = 0

    def count_adapter(self, rank: int, *, experts: bool) -> int:
        """Numbers of its adapters."""
        return rank * (sum(map(sum, self.adapted)) + (self.expert_sides if experts else 0))


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network: its layers, each kind with how many there are; what lies before and behind them."""

    vocabulary: int
    width: int
    context: int
    layers: Counter[LayerCost] = field(default_factory=Counter)
    stream: int  # numbers between two layers, of a token
    tied: bool  # the outputs' matrix is that of the inputs
    extra: int  # weights beside the layers and these matrices
    rotary: int  # numbers per token that all layers share
    buffers: int  # bytes

    @property
    def tables(self) -> int:
        """Weights of the matrices at both ends."""
        return self.vocabulary * self.width * (1 if self.tied else 2)


def parse_config(text: str | bytes | None) -> dict[str, Any] | None:
    """The JSON object of a config.json; None where it is none."""
    try:
        document = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def read_architecture(document: Mapping[str, Any] | None) -> Architecture | None:
    """The network that a config.json describes; None for one of another architecture, or whose sizes are none."""
    readers = {"deepseek_v3": read_v3, "deepseek_v4": read_v4}
    reader = readers.get(str(document.get("model_type"))) if document is not None else None
    if reader is None or document is None:
        return None
    try:
        return reader(document)
    except (TypeError, ValueError, LookupError):
        return None


def read_size(document: Mapping[str, Any], name: str, default: int, least: int = 1) -> int:
    """A whole number of the configuration. Raises ValueError for anything else."""
    value = document.get(name, default)
    if type(value) is not int or not least <= value <= MAX_VALUE:
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def read_v3(document: Mapping[str, Any]) -> Architecture:
    """Multi-head latent attention, and experts behind the first layers."""

    def size(name: str, default: int, least: int = 1) -> int:
        return read_size(document, name, default, least)

    width, heads, layers = size("hidden_size", 7168), size("num_attention_heads", 128), size("num_hidden_layers", 61)
    rope, value = size("qk_rope_head_dim", 64), size("v_head_dim", 128)
    dense_layers = min(layers, size("first_k_dense_replace", 3, 0))
    query_rank = None if document.get("q_lora_rank", 1536) is None else size("q_lora_rank", 1536)
    nope, latent = size("qk_nope_head_dim", 128), size("kv_lora_rank", 512)
    attention = _count_latent_attention(width, heads, rope, nope, value, latent, query_rank)
    if document.get("attention_bias"):
        bias = (query_rank or 0) + latent + rope + width
        attention = replace_weights(attention, attention.weights + bias)
    dense = add_layers(attention, _count_perceptron(width, size("intermediate_size", 18432)))
    inner = size("moe_intermediate_size", 2048)
    experts, chosen = size("n_routed_experts", 256), size("num_experts_per_tok", 8)
    mixed = add_layers(
        attention,
        _count_experts(width, inner, experts, chosen, groups=2 * size("n_group", 8) + size("topk_group", 4)),
        _count_perceptron(width, inner * size("n_shared_experts", 1, 0)),
    )
    return Architecture(
        vocabulary=size("vocab_size", 129_280),
        width=width,
        context=size("max_position_embeddings", 4096),
        layers=Counter({dense: dense_layers}) + Counter({mixed: layers - dense_layers}),
        stream=width,
        tied=document.get("tie_word_embeddings", False) is True,
        extra=width,
        rotary=rope,
        buffers=2 * 4 * (rope // 2),
    )


def _count_latent_attention(
    width: int, heads: int, rope: int, nope: int, value: int, latent: int, query_rank: int | None
) -> LayerCost:
    """The attention of DeepSeek V3 with both norms of its layer.

    A norm keeps what it takes, that in units of its size, and what it gives. Where keys and values differ in width, no
    fused kernel of a processor computes the attention: then it keeps a number for each pair of tokens.
    """
    keys, sides = heads * (nope + rope), heads * (nope + value)
    queries: tuple[tuple[int, int], ...] = ((width, keys),)
    kept_queries = 0
    if query_rank is not None:
        queries, kept_queries = ((width, query_rank), (query_rank, keys)), 3 * query_rank + 1
    projections = (*queries, (width, latent + rope), (latent, sides), (heads * value, width))
    matrices = [inputs * outputs for inputs, outputs in projections]
    is_fused = nope + rope == value
    attended = sides + 2 * heads * value + heads if is_fused else 2 * heads * value
    return LayerCost(
        weights=sum(matrices) + (query_rank or 0) + latent + 2 * width,
        largest=max(matrices),
        adapted=projections,
        wide=2 * (2 * width + 1),
        narrow=2 * width + kept_queries + (latent + rope) + 2 * latent + 1 + 2 * keys + attended,
        pairs=0 if is_fused else heads,
        spared_wide=2 * width,
        spared_narrow=width + (query_rank or 0) + latent,
    )


def _count_perceptron(width: int, inner: int) -> LayerCost:
    """A gated layer: its gate before and after the activation, what it lets through, and the product."""
    return LayerCost(weights=3 * width * inner, largest=width * inner, narrow=4 * inner, spared_narrow=inner)


def _count_experts(width: int, inner: int, experts: int, chosen: int, *, groups: int = 0, hashed: int = 0) -> LayerCost:
    """The routed experts and their router, which looks for them in groups; of V4 a table by token may choose."""
    return LayerCost(
        weights=experts * (3 * width * inner + width),
        experts=experts * 3 * width * inner,
        largest=experts * 2 * width * inner,
        expert_sides=experts * ((width + 2 * inner) + (inner + width)),
        buffers=8 * hashed * chosen if hashed else 4 * experts,
        wide=experts + experts // 4 + 2 * chosen + 1,  # scores, which are left out (a byte each), and the weights
        routed=chosen * (2 * width + 4 * inner),
        indices=3 * chosen + groups,
    )


def read_v4(document: Mapping[str, Any]) -> Architecture:
    """Attention to few compressed tokens, hyper-connections between several streams, and experts in every layer."""

    def size(name: str, default: int, least: int = 1) -> int:
        return read_size(document, name, default, least)

    width, layers, streams = size("hidden_size", 4096), size("num_hidden_layers", 43), size("hc_mult", 4)
    heads, head, query_rank = size("num_attention_heads", 64), size("head_dim", 512), size("q_lora_rank", 1024)
    groups, group_rank = size("o_groups", 8), size("o_lora_rank", 1024)
    index_heads, index_head = size("index_n_heads", 64), size("index_head_dim", 128)
    inner, vocabulary = size("moe_intermediate_size", 2048), size("vocab_size", 129_280)
    experts, chosen = size("n_routed_experts", 256), size("num_experts_per_tok", 6)
    rounds = size("hc_sinkhorn_iters", 20)
    projections = (
        (width, query_rank),
        (query_rank, heads * head),
        (width, head),
        (groups * group_rank, width),
    )
    grouped = heads * head * group_rank
    connection = (2 + streams) * streams
    connections = 2 * (connection * streams * width + connection + 3)
    attention = LayerCost(
        weights=sum(a * b for a, b in projections) + grouped + query_rank + head + heads + 2 * width + connections,
        largest=max(grouped, *(a * b for a, b in projections)),
        adapted=projections,
        wide=4 * width + 2 + 2 * (2 * streams * width + width + SINKHORN * rounds * streams**2),
        narrow=2 * width + 3 * query_rank + 4 * heads * head + 3 * head + groups * group_rank,
        pairs=2 * heads,
    )
    compressed = {name: _count_compressor(width, head, *sides) for name, sides in list_compressors(document).items()}
    indexer = _count_compressor(width, index_head, 2, list_compressors(document)[SPARSE][1]).weights
    indexer += query_rank * index_heads * index_head + width * index_heads
    sparse = compressed[SPARSE]
    compressed[SPARSE] = replace_weights(sparse, sparse.weights + indexer, fixed=indexer)
    shared = _count_perceptron(width, inner * size("n_shared_experts", 1, 0))
    counted: Counter[LayerCost] = Counter()
    for (attends, feeds), count in count_layer_types(document, layers).items():
        hashed = vocabulary if feeds == "hash_moe" else 0
        routed = _count_experts(width, inner, experts, chosen, hashed=hashed)
        parts = [attention, routed, shared, *([compressed[attends]] if attends in compressed else [])]
        counted[add_layers(*parts)] += count
    return Architecture(
        vocabulary=vocabulary,
        width=width,
        context=size("max_position_embeddings", 1_048_576),
        layers=counted,
        stream=streams * width,
        tied=document.get("tie_word_embeddings", False) is True,
        rotary=2 * head,
        extra=width + streams * streams * width + streams + 1,
        buffers=0,
    )


SPARSE, HEAVY = "compressed_sparse_attention", "heavily_compressed_attention"
RATIOS = {0: "sliding_attention", 4: SPARSE, 128: HEAVY}


def list_compressors(document: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Kind of attention -> (series that are compressed, tokens that become one)."""
    rates = document.get("compress_rates") or {}
    if not isinstance(rates, Mapping):
        raise ValueError("compress_rates")
    return {SPARSE: (2, read_size(rates, SPARSE, 4)), HEAVY: (1, read_size(rates, HEAVY, 128))}


def _count_compressor(width: int, head: int, series: int, rate: int) -> LayerCost:
    """What makes one key of several tokens: its keys and gates, and their weighted sum."""
    side = series * head
    return LayerCost(
        weights=2 * width * side + rate * side + head, largest=width * side, narrow=6 * side, wide=2 * side
    )


def count_layer_types(document: Mapping[str, Any], layers: int) -> Counter[tuple[str, str]]:
    """(attention, experts) of each layer -> how many there are; as transformers has them where none are listed."""
    ratios = document.get("compress_ratios")
    attends = document.get("layer_types") or ([RATIOS[ratio] for ratio in ratios] if isinstance(ratios, list) else None)
    feeds = document.get("mlp_layer_types")
    if layers > MAX_LISTED_LAYERS:
        raise ValueError("num_hidden_layers")
    if attends is None:
        attends = [HEAVY] * min(2, layers) + [SPARSE if place % 2 else HEAVY for place in range(max(0, layers - 2))]
    if feeds is None:
        hashed = min(layers, read_size(document, "num_hash_layers", 3, 0))
        feeds = ["hash_moe"] * hashed + ["moe"] * (layers - hashed)
    if not isinstance(attends, list) or not isinstance(feeds, list):
        raise TypeError("layer_types")
    return Counter(zip(map(str, attends[:layers]), map(str, feeds[:layers]), strict=True))


def add_layers(*parts: LayerCost) -> LayerCost:
    """One layer of these parts."""
    sums = {
        name: sum(getattr(part, name) for part in parts)
        for name in (
            "weights",
            "fixed",
            "experts",
            "expert_sides",
            "buffers",
            "wide",
            "narrow",
            "routed",
            "indices",
            "pairs",
            "spared_wide",
            "spared_narrow",
        )
    }
    return LayerCost(
        **sums,
        largest=max(part.largest for part in parts),
        adapted=tuple(projection for part in parts for projection in part.adapted),
    )


def replace_weights(cost: LayerCost, weights: int, *, fixed: int = 0) -> LayerCost:
    """The same layer with so many weights."""
    return LayerCost(**{**cost.__dict__, "weights": weights, "fixed": fixed})
