"""A trained model of entities as quantizing and compiling take it: windows of tokens in, shares of tags out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from deepseek.entities.network import EntitiesNetwork
from deepseek.entities.predictor import open_compiled_library
from deepseek.entities.scores import measure_span_difference, measure_spans
from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.tags import Span, decode_tags, list_spans
from deepseek.entities.texts import MarkedText, read_texts
from deepseek.entities.tokens import PADDING, RESERVED, encode_tokens, index_vocabulary
from deepseek.entities.vocabulary import Assets, read_model_assets
from deepseek.entities.windows import split_tokens
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.figures import Agreement, Metric
from deepseek.models.heldout import Heldout
from deepseek.models.manifest import EntitiesArchitecture, ModelManifest
from deepseek.models.predictor_base import Call
from deepseek.models.source import Floats, Form, Source, measure_gap
from deepseek.models.trainable import Trainable
from deepseek.models.tvm_library import TvmLibrary

_FRESH_WINDOWS = 16
_AT_ONCE = 16  # windows in one call of the network


@dataclass(frozen=True)
class EntitiesSource(Source):
    """`windows`: of each window its text and its tokens' places. `length`: of all windows; shorter ones are padded."""

    texts: Sequence[MarkedText]
    windows: Sequence[tuple[int, int, int]]
    assets: Assets
    length: int

    @property
    def predictor(self) -> Form:
        return TokensForm(cast(EntitiesNetwork, self.network))

    @property
    def count(self) -> int:
        return len(self.texts)

    def open_form(self, manifest: ModelManifest, path: Path) -> Form:
        return LibraryForm(open_compiled_library(manifest, path))

    def generate_rows(self, seed: int) -> npt.NDArray[Any]:
        """Windows of held-out texts in which every second word is another one."""
        random, architecture = np.random.default_rng((seed, 3)), self._architecture
        rows = self.rows[random.integers(len(self.rows), size=_FRESH_WINDOWS)].copy()
        changed = (random.random(rows.shape[:2]) < 0.5) & (rows[..., 0] != PADDING)
        rows[..., 0] = np.where(
            changed, random.integers(1, architecture.words + RESERVED, size=rows.shape[:2]), rows[..., 0]
        )
        return rows

    def take_batch(self, rows: int) -> npt.NDArray[Any]:
        return np.ascontiguousarray(np.resize(self.rows, (rows, *self.rows.shape[1:])))

    def measure(self, outputs: Floats, *, confidence: float, seed: int) -> list[Metric]:
        target, labels = [text.spans for text in self.texts], self._architecture.labels
        return measure_spans(target, self._find_spans(outputs), labels, seed=seed, confidence=confidence)

    def compare(self, outputs: Floats, *, confidence: float, seed: int) -> Agreement:
        target, labels = [text.spans for text in self.texts], self._architecture.labels
        largest, relative = measure_gap(outputs, self.expected)
        spans = (self._find_spans(outputs), self._find_spans(self.expected))
        return Agreement(
            max_abs_error=largest,
            max_rel_error=relative,
            difference=measure_span_difference(target, *spans, labels, seed=seed, confidence=confidence),
        )

    @property
    def _architecture(self) -> EntitiesArchitecture:
        return cast(EntitiesArchitecture, self.manifest.architecture)

    def _find_spans(self, outputs: Floats) -> list[list[Span]]:
        matches: list[list[Span]] = [[] for _ in self.texts]
        tags = decode_tags(outputs, [end - start for _, start, end in self.windows], self.assets.continuation)
        for (text, start, end), of in zip(self.windows, tags, strict=True):
            matches[text] += list_spans(self.texts[text].tokens[start:end], of, self._architecture.labels)
        return [sorted(spans) for spans in matches]


class TokensForm:
    """The network itself."""

    def __init__(self, network: EntitiesNetwork) -> None:
        self.network = network

    def predict(self, features: Any) -> Floats:
        """The logarithms of the tags' shares."""
        with torch.inference_mode():
            parts = torch.split(torch.from_numpy(features), _AT_ONCE)
            return torch.cat([self.network(part) for part in parts]).numpy()

    def bind(self, features: Any) -> Call:
        """A call on just these windows."""
        rows = torch.from_numpy(features)
        return lambda: self.network(rows)


class LibraryForm:
    """The network compiled."""

    def __init__(self, library: TvmLibrary) -> None:
        self.predict, self.bind = library.run, library.bind


def read_entities_source(
    manifest: ModelManifest, network: Trainable, inputs: Mapping[str, Path], digests: dict[str, str], length: int = 0
) -> EntitiesSource:
    """The source of a model of entities. `length`: tokens of a window; 0: as many as the model sees at once.

    Raises what `read_texts` and `read_model_assets` do, and EngineError ``heldout_mismatch`` or ``out_of_range``.
    """
    architecture = cast(EntitiesArchitecture, manifest.architecture)
    length = length or architecture.max_length
    if length > architecture.max_length:
        raise EngineError(
            "out_of_range",
            "The model sees {most} tokens at once.",
            most=architecture.max_length,
            field="/length",
            value=str(length),
            limit=architecture.max_length,
            hint=N_("Ask for fewer tokens, or leave the length out."),
        )
    assets = read_model_assets(inputs["model"], architecture)
    spec = EntitiesSpec(labels=list(architecture.labels), other_labels="ignore")
    texts = [text for text in read_texts(inputs["heldout"], spec, "heldout").texts if text.tokens]
    if not texts:
        raise EngineError(
            "heldout_mismatch",
            "The held-out rows do not fit the model.",
            field="inputs/heldout",
            value="no text",
            limit="texts with at least one token",
            hint=N_("Give the heldout.jsonl that was written beside the trained model."),
        )
    ids, windows, rows = index_vocabulary(assets.vocabulary), list[tuple[int, int, int]](), list[npt.NDArray[Any]]()
    for place, text in enumerate(texts):
        encoded = encode_tokens(text.tokens, ids, architecture.buckets)
        for start, end in split_tokens(text.tokens, length):
            windows.append((place, start, end))
            row = np.full((length, encoded.shape[1]), PADDING, np.int64)
            row[: end - start] = encoded[start:end]
            rows.append(row)
    heldout = Heldout(np.stack(rows), np.zeros(len(rows), np.int64))
    return EntitiesSource(manifest, network, heldout, digests, texts, windows, assets, length)
