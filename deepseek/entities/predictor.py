"""A trained model that finds the entities of texts. Only the form that PyTorch runs loads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.entities.tags import Span, decode_tags, list_spans
from deepseek.entities.tokens import PADDING, Ids, Token, encode_tokens, index_vocabulary, pad_tokens, tokenize
from deepseek.entities.vocabulary import Assets, parse_assets, read_model_assets
from deepseek.entities.windows import Window, split_tokens
from deepseek.models.assets import ASSETS, decode_assets
from deepseek.models.manifest import EntitiesArchitecture, ModelManifest, check_file
from deepseek.models.onnx_file import build_onnx_error, open_session
from deepseek.models.packages import require_runtime
from deepseek.models.tvm_library import TvmLibrary, build_model_error, check_machine, count_in_machine

Network = Callable[[Ids], npt.NDArray[np.float32]]
"""Tokens (texts, tokens, columns) to the logarithms of the tags' shares: the network itself, or a form of it."""

TOKENS_AT_ONCE = 16_384  # padded, of one call: memory does not grow with the texts


class EntitiesPredictor:
    """Texts to spans. A text longer than the model takes is cut between sentences."""

    def __init__(self, manifest: ModelManifest, network: Network, assets: Assets, max_length: int = 0) -> None:
        assert isinstance(manifest.architecture, EntitiesArchitecture)  # noqa: S101  whoever opens it has looked
        self.manifest, self.network, self.architecture = manifest, network, manifest.architecture
        self.max_length = max_length or manifest.architecture.max_length  # tokens that the network takes at once
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
                windows = split_tokens(of, self.max_length)
                parts += [_Part(place, window, encoded[window[0] : window[1]]) for window in windows]
        batches: list[list[_Part]] = []
        for part in sorted(parts, key=lambda part: len(part.encoded), reverse=True):
            if batches and (len(batches[-1]) + 1) * len(batches[-1][0].encoded) <= TOKENS_AT_ONCE:
                batches[-1].append(part)
            else:
                batches.append([part])
        return batches

    def _tag(self, windows: list[Ids]) -> list[list[int]]:
        shares = self.network(pad_tokens(windows))
        return decode_tags(shares, [len(window) for window in windows], self.continuation)


@dataclass(frozen=True)
class _Part:
    """One window of the text at this place, as the network sees it."""

    text: int
    window: Window
    encoded: Ids


def open_entities(manifest: ModelManifest, path: Path, threads: int | None = None) -> EntitiesPredictor:
    """The model in the file at `path`, as it was trained, in ONNX, or compiled. `threads`: as `open_model` takes it.

    Raises what `load_network`, `read_model_assets` and `open_session` do, and EngineError ``model_mismatch`` or
    ``runtime_missing``.
    """
    assert isinstance(manifest.architecture, EntitiesArchitecture)  # noqa: S101  as above
    if manifest.format == "onnx":
        check_file(manifest, path)
        session = open_session(path, threads)
        return EntitiesPredictor(manifest, build_onnx_network(session), _read_onnx_assets(session, manifest, path))
    if manifest.format == "tvm":
        library, length = open_compiled_library(manifest, path), count_in_machine(manifest, "length")
        assets = _read_compiled_assets(library, manifest, path)
        return EntitiesPredictor(manifest, build_compiled_network(library, length), assets, length)
    require_runtime(manifest)
    from deepseek.entities.torch_network import load_torch_network

    network = load_torch_network(manifest, path)
    return EntitiesPredictor(manifest, network, read_model_assets(path, manifest.architecture))


def build_onnx_network(session: Any) -> Network:
    """The network of ONNX Runtime's session."""
    name = session.get_inputs()[0].name
    return lambda tokens: np.asarray(session.run(None, {name: tokens})[0])


def build_compiled_network(library: TvmLibrary, length: int) -> Network:
    """The network of a compiled library, which takes texts of `length` tokens: shorter ones are padded."""

    def run(tokens: Ids) -> npt.NDArray[np.float32]:
        count = tokens.shape[1]
        filled = np.pad(tokens, ((0, 0), (0, length - count), (0, 0)), constant_values=PADDING)
        return library.run(filled)[:, :count]

    return run


def open_compiled_library(manifest: ModelManifest, path: Path) -> TvmLibrary:
    """The library in the file at `path`, once a text has gone through it.

    Raises EngineError ``model_tampered``, ``machine_mismatch``, ``manifest_unreadable`` or ``model_unreadable``.
    """
    check_file(manifest, path)
    check_machine(manifest, path)
    library, length = TvmLibrary(manifest, path), count_in_machine(manifest, "length")
    try:
        shape = library.run(np.zeros((1, length, manifest.architecture.input_shape[1]), np.int64)).shape
        observed = f"it gives outputs of shape {shape}"
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        shape, observed = (), str(error).strip().splitlines()[-1][:200]
    if shape != (1, length, manifest.architecture.outputs):
        raise build_model_error(path, observed)
    return library


def _read_compiled_assets(library: TvmLibrary, manifest: ModelManifest, path: Path) -> Assets:
    assert isinstance(manifest.architecture, EntitiesArchitecture)  # noqa: S101  as above
    try:
        record = decode_assets(library.read_assets())
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise build_model_error(path, str(error).strip().splitlines()[-1][:200]) from error
    return parse_assets(record, manifest.architecture)


def _read_onnx_assets(session: Any, manifest: ModelManifest, path: Path) -> Assets:
    """The assets in the metadata of the ONNX file."""
    assert isinstance(manifest.architecture, EntitiesArchitecture)  # noqa: S101  as above
    text = session.get_modelmeta().custom_metadata_map.get(ASSETS, "{}")
    try:
        record = decode_assets(text)
    except ValueError as error:
        raise build_onnx_error(path, str(error)) from error
    return parse_assets(record, manifest.architecture)
