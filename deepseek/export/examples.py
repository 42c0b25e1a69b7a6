"""Inputs to trace a network with, and fresh ones to compare its forms on, drawn by family."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepseek.entities.tokens import PADDING, RESERVED, SHAPES
from deepseek.models.manifest import Architecture, EntitiesArchitecture, ImageArchitecture, MlpArchitecture

TRACED = (2, 9)  # rows and tokens: with one of either, tracing may take their number for a constant
COMPARED = ((2, 9), (1, 5), (7, 8))  # of the fresh inputs: one of the traced size, and two of others
Draw = Callable[[int, int], Tensor]
"""Rows, and tokens of a text, to one input of a network. A family without tokens takes no notice of them."""


def build_draw(architecture: Architecture, network: nn.Module, seed: int) -> Draw:
    """A function that draws inputs such as the network was trained on; equal seeds draw equal ones."""
    random = torch.Generator().manual_seed(seed)
    if isinstance(architecture, ImageArchitecture):
        return lambda rows, tokens: 255 * torch.rand(rows, *architecture.input_shape, generator=random)
    if isinstance(architecture, EntitiesArchitecture):
        return lambda rows, tokens: _draw_tokens(architecture, rows, min(tokens, architecture.max_length), random)
    assert isinstance(architecture, MlpArchitecture)  # noqa: S101  the one family that is left
    return lambda rows, tokens: _draw_features(architecture, network, rows, random)


def _draw_features(architecture: MlpArchitecture, network: nn.Module, rows: int, random: torch.Generator) -> Tensor:
    """Numbers spread as those of the training, then codes of categories."""
    mean, scale = network.get_buffer("input_mean"), network.get_buffer("input_scale")
    numbers = mean + scale * torch.randn(rows, architecture.numbers, generator=random)
    codes = [torch.randint(shape.count, (rows, 1), generator=random).float() for shape in architecture.embeddings]
    return torch.cat([numbers, *codes], dim=1)


def _draw_tokens(architecture: EntitiesArchitecture, rows: int, tokens: int, random: torch.Generator) -> Tensor:
    """Ids (rows, tokens, columns), of which the last text is padded where there are several."""
    shape, columns = (rows, tokens, 1), architecture.input_shape[1]
    words = torch.randint(1, architecture.words + RESERVED, shape, generator=random)
    shapes = torch.randint(1, len(SHAPES), shape, generator=random)
    hashes = torch.randint(architecture.buckets, (rows, tokens, columns - 2), generator=random)
    ids = torch.cat([words, shapes, hashes], dim=2)
    if rows > 1:
        ids[-1, tokens // 2 :] = PADDING
    return ids
