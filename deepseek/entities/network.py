"""The transformer that tags tokens.

Attention is that of Vaswani et al. (2017) with the norms before each part (Xiong et al., 2020). What a token sees of
another depends on their distance, learned per layer and head up to `REACH` tokens each way (Shaw et al., 2018, as the
bias of T5): so a network that learned from short texts reads long ones, and little data is enough.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from deepseek.entities.tokens import HASHES, PADDING, RESERVED, SHAPES, UNKNOWN
from deepseek.models.manifest import EntitiesArchitecture
from deepseek.models.trainable import Trainable

REACH = 16  # farther tokens count as this far
HASH_WIDTH = 32  # of the vector of a bucket


class EntitiesNetwork(Trainable):
    """Tokens (texts, tokens, COLUMNS) to the logits of BIO tags (texts, tokens, tags)."""

    def __init__(self, architecture: EntitiesArchitecture) -> None:
        super().__init__()
        width = architecture.width
        self.token_dropout = architecture.token_dropout
        self.saves_activations = False  # activation checkpointing: layers are computed again for their gradients
        self.words = nn.Embedding(architecture.words + RESERVED, width, padding_idx=PADDING)
        self.shapes = nn.Embedding(len(SHAPES), width, padding_idx=PADDING)
        self.hashes = nn.Embedding(architecture.buckets, HASH_WIDTH, padding_idx=PADDING)
        self.mix = nn.Linear(HASHES * HASH_WIDTH, width)
        self.input_norm = nn.LayerNorm(width)  # or what the layers add would drown what the token is
        self.dropout = nn.Dropout(architecture.dropout)
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, architecture.outputs)

    def compute_logits(self, *inputs: Tensor) -> Tensor:
        (tokens,) = inputs
        padding = tokens[..., 0] == PADDING
        words, hashes = tokens[..., 0], tokens[..., 2:]
        if self.training and self.token_dropout:
            dropped = torch.rand((*words.shape, 1 + HASHES), device=words.device) < self.token_dropout
            words = words.masked_fill(dropped[..., 0] & ~padding, UNKNOWN)
            hashes = hashes.masked_fill(dropped[..., 1:], PADDING)
        hashed = self.mix(self.hashes(hashes).flatten(-2))
        hidden = self.dropout(self.input_norm(self.words(words) + self.shapes(tokens[..., 1]) + hashed))
        distances = compute_distances(tokens.shape[1], tokens.device)
        for layer in self.layers:
            if self.saves_activations and self.training:
                hidden = checkpoint(layer, hidden, padding, distances, use_reentrant=False)
            else:
                hidden = layer(hidden, padding, distances)
        logits: Tensor = self.head(self.norm(hidden))
        return logits

    def forward(self, tokens: Tensor) -> Tensor:
        """The logarithms of the tags' shares."""
        return functional.log_softmax(self.compute_logits(tokens).float(), dim=-1)


class Layer(nn.Module):
    """One transformer layer."""

    def __init__(self, architecture: EntitiesArchitecture) -> None:
        super().__init__()
        width, self.heads, self.share = architecture.width, architecture.heads, architecture.dropout
        self.attention_norm, self.attention_in = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.attention_out, self.dropout = nn.Linear(width, width), nn.Dropout(architecture.dropout)
        self.distances = nn.Embedding(2 * REACH + 1, self.heads)
        self.feed_norm, self.feed_in = nn.LayerNorm(width), nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)

    def forward(self, hidden: Tensor, padding: Tensor, distances: Tensor) -> Tensor:
        hidden = hidden + self.dropout(self._attend(self.attention_norm(hidden), padding, distances))
        widened = self.dropout(functional.gelu(self.feed_in(self.feed_norm(hidden))))
        outputs: Tensor = hidden + self.dropout(self.feed_out(widened))
        return outputs

    def _attend(self, hidden: Tensor, padding: Tensor, distances: Tensor) -> Tensor:
        texts, length, width = hidden.shape
        parts = self.attention_in(hidden).view(texts, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        bias = self.distances(distances).permute(2, 0, 1)[None].to(query.dtype)
        mask = bias.masked_fill(padding[:, None, None, :], torch.finfo(query.dtype).min)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + mask
        # Written out: the fused kernels have no deterministic gradient of a mask.
        shares = functional.dropout(scores.float().softmax(-1).to(value.dtype), self.share, self.training)
        attended = (shares @ value).transpose(1, 2).reshape(texts, length, width)
        return self.attention_out(attended)  # type: ignore[no-any-return]


def compute_distances(length: int, device: torch.device) -> Tensor:
    """The place of each pair's distance in the layer's table, (length, length)."""
    places = torch.arange(length, device=device)
    return (places[None] - places[:, None]).clamp(-REACH, REACH) + REACH


def initialize(network: EntitiesNetwork) -> None:
    """Small normal weights, as transformers are begun; the head starts at zero: every tag is as likely."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.05 if isinstance(module, nn.Embedding) else module.in_features**-0.5)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        for table in (network.words, network.shapes, network.hashes):
            table.weight[PADDING] = 0
        for layer in network.layers:
            assert isinstance(layer, Layer)  # noqa: S101  as the network was built
            nn.init.zeros_(layer.distances.weight)
            layer.attention_out.weight *= (2 * len(network.layers)) ** -0.5
            layer.feed_out.weight *= (2 * len(network.layers)) ** -0.5
    nn.init.zeros_(network.head.weight)
