"""A trained model that finds the entities of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from deepseek.entities.learner import pad_tokens
from deepseek.entities.network import EntitiesNetwork
from deepseek.entities.tags import Span, decode_tags, list_spans
from deepseek.entities.tokens import Ids, Token, encode_tokens, index_vocabulary, tokenize
from deepseek.entities.vocabulary import Assets, read_model_assets
from deepseek.entities.windows import Window, split_tokens
from deepseek.models.manifest import EntitiesArchitecture, ModelManifest
from deepseek.models.network import load_network

TOKENS_AT_ONCE = 16_384  # padded, of one call: memory does not grow with the texts


class EntitiesPredictor:
    """Texts to spans. A text longer than the model takes is cut between sentences."""

    def __init__(self, manifest: ModelManifest, network: EntitiesNetwork, assets: Assets) -> None:
        assert isinstance(manifest.architecture, EntitiesArchitecture)  # noqa: S101  whoever opens it has looked
        self.manifest, self.network, self.architecture = manifest, network, manifest.architecture
        self.ids, self.continuation = index_vocabulary(assets.vocabulary), assets.continuation

    def predict(self, texts: Sequence[str]) -> list[list[Span]]:
        """The spans of each text."""
        tokens = [tokenize(text) for text in texts]
        spans: list[list[Span]] = [[] for _ in texts]
        for batch in self._build_batches(tokens):
            tags = self._tag([part.encoded for part in batch])
            for part, of in zip(batch, tags, strict=True):
                start, end = part.window
                spans[part.text] += list_spans(tokens[part.text][start:end], of, self.architecture.labels)
        return [sorted(row) for row in spans]

    def _build_batches(self, tokens: Sequence[Sequence[Token]]) -> list[list["_Part"]]:
        """Windows of like length together, as many as fit."""
        parts: list[_Part] = []
        for place, of in enumerate(tokens):
            if of:
                encoded = encode_tokens(of, self.ids, self.architecture.buckets)
                windows = split_tokens(of, self.architecture.max_length)
                parts += [_Part(place, window, encoded[window[0] : window[1]]) for window in windows]
        batches: list[list[_Part]] = []
        for part in sorted(parts, key=lambda part: len(part.encoded), reverse=True):
            if batches and (len(batches[-1]) + 1) * len(batches[-1][0].encoded) <= TOKENS_AT_ONCE:
                batches[-1].append(part)
            else:
                batches.append([part])
        return batches

    def _tag(self, windows: list[Ids]) -> list[list[int]]:
        with torch.inference_mode():
            shares = self.network(pad_tokens(windows)).numpy()
        return decode_tags(shares, [len(window) for window in windows], self.continuation)


@dataclass(frozen=True)
class _Part:
    """One window of the text at this place, as the network sees it."""

    text: int
    window: Window
    encoded: Ids


def open_entities(manifest: ModelManifest, path: Path) -> EntitiesPredictor:
    """The model in the file at `path`. Raises what `load_network` and `read_model_assets` do."""
    network = load_network(manifest, path)
    assert isinstance(network, EntitiesNetwork)  # noqa: S101  as its manifest says
    assert isinstance(manifest.architecture, EntitiesArchitecture)  # noqa: S101  as above
    return EntitiesPredictor(manifest, network, read_model_assets(path, manifest.architecture))
