"""Windows of texts, and the transformer that learns their tags."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from deepseek.entities.network import EntitiesNetwork
from deepseek.entities.tags import build_tags
from deepseek.entities.texts import MarkedText
from deepseek.entities.tokens import Ids, encode_tokens, pad_tokens
from deepseek.entities.windows import Window
from deepseek.train.learner import Forward, Learner
from deepseek.train.split import Parts, Rows

IGNORED = -100  # the tag of padding: it has no loss


@dataclass(frozen=True)
class Corpus:
    """Every window of the texts: what the network sees of its tokens, their tags, and the text that it is of."""

    tokens: list[Ids]
    tags: list[npt.NDArray[np.int64]]
    texts: npt.NDArray[np.int64]  # (windows,)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each window."""
        return np.array([len(tags) for tags in self.tags], np.int64)


def build_corpus(
    texts: Sequence[MarkedText],
    windows: Sequence[Sequence[Window]],
    labels: Sequence[str],
    ids: dict[str, int],
    buckets: int,
) -> Corpus:
    """The windows of the texts, in their order."""
    tokens, tags, places = list[Ids](), list[npt.NDArray[np.int64]](), list[int]()
    for place, (text, parts) in enumerate(zip(texts, windows, strict=True)):
        encoded = encode_tokens(text.tokens, ids, buckets)
        tagged = np.array(build_tags(text.tokens, text.spans, labels), np.int64)
        for start, end in parts:
            tokens.append(encoded[start:end])
            tags.append(tagged[start:end])
            places.append(place)
    return Corpus(tokens, tags, np.array(places, np.int64))


class EntitiesLearner(Learner):
    """The texts stay in the machine's memory; each batch is padded to its longest and brought to the device."""

    network: EntitiesNetwork
    validation_chunk = 256

    def __init__(self, network: EntitiesNetwork, corpus: Corpus, parts: Parts) -> None:
        self.network, self.corpus, self.parts = network, corpus, parts
        self._lengths = corpus.lengths
        self._device = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        self.network, self._device = self.network.to(device), device

    def count_terms(self, rows: Rows) -> float:
        return float(self._lengths[rows].sum())

    def compute_loss(self, forward: Forward, rows: Rows, reduction: str) -> Tensor:
        tokens = torch.from_numpy(pad_tokens([self.corpus.tokens[row] for row in rows])).to(self._device)
        tags = torch.full(tokens.shape[:2], IGNORED)
        for place, row in enumerate(rows):
            tags[place, : self._lengths[row]] = torch.from_numpy(self.corpus.tags[row])
        logits = forward(tokens).float().flatten(0, 1)
        if not self.network.training:
            return compute_expected_errors(logits, tags.to(self._device).flatten(), reduction)
        return functional.cross_entropy(
            logits, tags.to(self._device).flatten(), ignore_index=IGNORED, reduction=reduction
        )


def compute_expected_errors(logits: Tensor, tags: Tensor, reduction: str) -> Tensor:
    """How many tokens would be tagged wrongly, were tags drawn by their shares.

    It decides when to stop, and not the cross entropy that the steps follow: of rare spans that rises early, when the
    model grows surer of its few mistakes while it still finds more of the spans.
    """
    counted = tags != IGNORED
    right = logits.softmax(-1).gather(-1, tags.clamp(min=0)[:, None])[:, 0]
    errors = (1 - right)[counted]
    return errors.mean() if reduction == "mean" else errors.sum()
