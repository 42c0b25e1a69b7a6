"""Texts, and the language model that learns to continue them."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.language.network import LanguageNetwork
from deepseek.language.texts import Text
from deepseek.train.learner import Forward, Learner
from deepseek.train.split import Parts, Rows

PADDING = 0
"""The token behind shorter texts of a batch: attention looks back alone, so no other token sees it."""


class LanguageLearner(Learner):
    """The texts lie in memory as tokens; `build` makes the network with the base's weights, the same each time."""

    network: LanguageNetwork
    validation_chunk = 8

    def __init__(
        self,
        texts: list[Text],
        parts: Parts,
        build: Callable[[], LanguageNetwork],
        *,
        adapters_only: bool,
        stays: bool,
        prepare: Callable[[LanguageNetwork], None],
    ) -> None:
        """`stays`: the network is not moved, as its parts will be. `prepare` is called once it is where it computes."""
        self.texts, self.parts = texts, parts
        self.adapters_only, self._stays = adapters_only, stays
        self._build, self._prepare = build, prepare
        self.network = build()
        self.counts = np.array([text.count for text in texts], dtype=np.int64)
        self.device = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        self.device = device
        if not self._stays:
            self.network = self.network.to(device)
        if device.type == "cuda":  # not every step of these networks has a deterministic form there
            torch.use_deterministic_algorithms(True, warn_only=True)
        self._prepare(self.network)

    def compute_loss(self, forward: Forward, rows: Rows, reduction: str) -> Tensor:
        tokens, places, labels = self.build_batch(rows)
        logits = forward(tokens, places).float()
        return nn.functional.cross_entropy(logits, labels, reduction=reduction)

    def count_terms(self, rows: Rows) -> float:
        return float(self.counts[rows].sum())

    def build_batch(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (texts, length), the places of the tokens before targets, and these targets.

        Without rows one text goes through, of which nothing is a target: each rank takes part in every step.
        """
        batch = [self.texts[row] for row in rows]
        return build_batch(batch or self.texts[:1], self.device, has_targets=bool(batch))

    def get_weights(self) -> Mapping[str, Tensor]:
        if not self.adapters_only:
            return super().get_weights()
        return {name: value for name, value in self.network.named_parameters() if value.requires_grad}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        own = self.get_weights()
        with torch.no_grad():
            for name, tensor in weights.items():
                own[name].copy_(tensor)

    def make_whole(self) -> None:
        self.network = self._build()


def build_batch(texts: list[Text], device: torch.device, *, has_targets: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """As `LanguageLearner.build_batch`, of these texts."""
    length = max(len(text.tokens) for text in texts)
    tokens = np.full((len(texts), length), PADDING, dtype=np.int64)
    targets = np.zeros((len(texts), length), dtype=np.bool_)
    for row, text in enumerate(texts):
        tokens[row, : len(text.tokens)] = text.tokens
        targets[row, : len(text.tokens)] = text.targets & has_targets
    flat = np.flatnonzero(targets)
    labels = tokens.reshape(-1)[flat]
    return tuple(torch.from_numpy(values).to(device) for values in (tokens, flat - 1, labels))  # type: ignore[return-value]
