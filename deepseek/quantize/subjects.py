"""What is quantized, by family: the trained network, the rows it is measured on, and how its outputs are measured."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from deepseek.entities.predictor import EntitiesPredictor
from deepseek.entities.scores import measure_span_difference, measure_spans
from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.texts import MarkedText, read_texts
from deepseek.entities.tokens import encode_tokens, index_vocabulary, pad_tokens
from deepseek.entities.vocabulary import Assets, read_model_assets
from deepseek.entities.windows import split_tokens
from deepseek.export.document import build_axes
from deepseek.export.examples import TRACED, build_draw
from deepseek.export.forms import Axes
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.evaluate import measure, measure_difference
from deepseek.models.figures import Metric
from deepseek.models.heldout import Heldout, read_heldout
from deepseek.models.manifest import EntitiesArchitecture, ModelManifest, compute_file_sha256
from deepseek.models.network import load_network
from deepseek.models.source import FRESH_ROWS, SLOTS, generate_rows
from deepseek.models.trainable import Trainable
from deepseek.quantize.spec import CALIBRATION

Array = npt.NDArray[Any]
Forward = Callable[[Array], Array]
"""Inputs of the network (rows, ...) to its outputs, whatever runs it."""
FAMILIES = ("mlp", "image", "entities")
IMAGES_AT_ONCE = 32
MOST_TEXTS = 2000  # that ranges or inputs are taken from


@dataclass(frozen=True)
class Subject(ABC):
    """A trained model; `digests` are the SHA-256 of each file that was read, by slot."""

    manifest: ModelManifest
    network: Trainable
    digests: dict[str, str]
    confidence: float
    seed: int

    @property
    def family(self) -> Any:
        return self.manifest.architecture.type

    @property
    def axes(self) -> Axes:
        """The names of input and output, and which axes have any length."""
        return build_axes(self.manifest)

    def forward(self, values: Array) -> Array:
        """The network itself, run by PyTorch as it stands."""
        with torch.inference_mode():
            return self.network(torch.from_numpy(np.ascontiguousarray(values))).numpy()  # type: ignore[no-any-return]

    def draw_example(self) -> torch.Tensor:
        """Inputs to trace the network with."""
        return build_draw(self.manifest.architecture, self.network, self.seed)(*TRACED)

    @property
    @abstractmethod
    def rows(self) -> int:
        """Rows, images or texts that it is measured on."""

    @abstractmethod
    def take_batch(self, rows: int) -> Array:
        """Inputs of the first rows, from the start again where there are fewer."""

    @abstractmethod
    def generate_fresh(self) -> Array:
        """Inputs that no file holds."""

    @abstractmethod
    def predict(self, forward: Forward, batch: int) -> Any:
        """The answers for all rows, `batch` of them in a call where a row is one of a batch."""

    @abstractmethod
    def measure(self, answers: Any) -> list[Metric]:
        """The metrics of the answers; the first one is what a loss is counted in."""

    @abstractmethod
    def measure_difference(self, answers: Any, reference: Any) -> list[Metric]:
        """The metrics of the answers less those of the reference, with paired intervals."""

    @abstractmethod
    def limit(self, rows: int) -> Self:
        """The same model, measured on at most so many of the rows."""


@dataclass(frozen=True)
class RowsSubject(Subject):
    """A model of tables, series or images."""

    heldout: Heldout

    @property
    def rows(self) -> int:
        return len(self.heldout.target)

    @property
    def horizon(self) -> int:
        horizon = self.manifest.spec.get("horizon")
        return horizon if isinstance(horizon, int) and horizon > 0 else 1

    def take_batch(self, rows: int) -> Array:
        shape = self.manifest.architecture.input_shape
        places = np.arange(rows) % self.rows
        return np.ascontiguousarray(self.heldout.features[places].reshape(rows, *shape), np.float32)

    def generate_fresh(self) -> Array:
        return generate_rows(self.manifest, self.heldout, self.seed)

    def predict(self, forward: Forward, batch: int) -> Array:
        size = IMAGES_AT_ONCE if self.family == "image" else batch
        features = self.heldout.features
        parts = [forward(features[at : at + size].astype(np.float32)) for at in range(0, len(features), size)]
        return np.concatenate(parts)

    def measure(self, answers: Any) -> list[Metric]:
        return measure(
            self.manifest.task,
            answers,
            self.heldout.target,
            confidence=self.confidence,
            seed=self.seed,
            horizon=self.horizon,
        )

    def measure_difference(self, answers: Any, reference: Any) -> list[Metric]:
        return measure_difference(
            self.manifest.task,
            answers,
            reference,
            self.heldout.target,
            confidence=self.confidence,
            seed=self.seed,
            horizon=self.horizon,
        )

    def limit(self, rows: int) -> Self:
        if self.manifest.task == "forecast":  # the last ones, which follow each other
            part = Heldout(self.heldout.features[-rows:], self.heldout.target[-rows:])
        else:
            places = order_by_class(self.heldout, self.manifest, self.seed)[:rows]
            part = Heldout(self.heldout.features[places], self.heldout.target[places])
        return replace(self, heldout=part)


@dataclass(frozen=True)
class TextsSubject(Subject):
    """A model that finds entities."""

    texts: list[MarkedText]
    assets: Assets

    @property
    def labels(self) -> list[str]:
        return self.assets.labels

    @property
    def rows(self) -> int:
        return len(self.texts)

    def take_batch(self, rows: int) -> Array:
        architecture = self.manifest.architecture
        assert isinstance(architecture, EntitiesArchitecture)  # noqa: S101  as the subject was made
        ids, windows = index_vocabulary(self.assets.vocabulary), []
        for text in self.texts[:rows]:
            encoded = encode_tokens(text.tokens, ids, architecture.buckets)
            start, end = split_tokens(text.tokens, architecture.max_length)[0]
            windows.append(encoded[start:end])
        return pad_tokens([windows[place % len(windows)] for place in range(rows)])

    def generate_fresh(self) -> Array:
        return build_draw(self.manifest.architecture, self.network, self.seed)(8, 12).numpy()

    def predict(self, forward: Forward, batch: int) -> Any:
        predictor = EntitiesPredictor(self.manifest, forward, self.assets)
        return predictor.predict([text.text for text in self.texts])

    def measure(self, answers: Any) -> list[Metric]:
        marked = [text.spans for text in self.texts]
        return measure_spans(marked, answers, self.labels, seed=self.seed, confidence=self.confidence)

    def measure_difference(self, answers: Any, reference: Any) -> list[Metric]:
        marked = [text.spans for text in self.texts]
        return measure_span_difference(
            marked, answers, reference, self.labels, seed=self.seed, confidence=self.confidence
        )

    def limit(self, rows: int) -> Self:
        return replace(self, texts=self.texts[:rows])


def read_subject(inputs: Mapping[str, Path], *, confidence: float, seed: int) -> Subject:
    """The trained model in the slots ``model``, ``manifest`` and ``heldout``.

    Raises EngineError: ``wrong_inputs``, ``family_unsupported``, ``heldout_mismatch``, and whatever is wrong with a
    file, as `load_network`, `read_heldout` and `read_texts` say.
    """
    if set(inputs) - {CALIBRATION} != set(SLOTS):
        raise EngineError(
            "wrong_inputs",
            "Quantizing takes a trained model, its manifest, and held-out rows.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit=f"{', '.join(SLOTS)}, and {CALIBRATION} where there is one",
            hint=N_("Give the three files that the training wrote."),
        )
    manifest = ModelManifest.read(inputs["manifest"])
    if manifest.architecture.type not in FAMILIES:
        raise EngineError(
            "family_unsupported",
            "Quantizing takes models of tables, series, images and entities; this one is of the family {family}.",
            family=manifest.architecture.type,
            field="inputs/manifest",
            value=manifest.architecture.type,
            limit=", ".join(FAMILIES),
            hint=N_("Use the trained model as it is; its page says what can be done with it."),
        )
    network = load_network(manifest, inputs["model"])
    digests = {slot: compute_file_sha256(path) for slot, path in inputs.items()}
    heldout = read_rows(inputs["heldout"], manifest, inputs["model"])
    if isinstance(heldout, Heldout):
        return RowsSubject(manifest, network, digests, confidence, seed, heldout)
    assert isinstance(manifest.architecture, EntitiesArchitecture)  # noqa: S101  of the others the rows are no texts
    assets = read_model_assets(inputs["model"], manifest.architecture)
    return TextsSubject(manifest, network, digests, confidence, seed, heldout, assets)


def read_rows(path: Path, manifest: ModelManifest, model: Path, slot: str = "heldout") -> Heldout | list[MarkedText]:
    """The rows or texts in the file at `path`, checked to fit the model."""
    if manifest.architecture.type != "entities":
        return read_heldout(path, manifest, slot)
    existing = EntitiesSpec(labels=list(manifest.architecture.labels), other_labels="ignore")
    texts = [text for text in read_texts(path, existing, slot).texts if text.tokens]
    if not texts:
        raise EngineError(
            "heldout_mismatch",
            "The held-out rows do not fit the model.",
            field=f"inputs/{slot}",
            value="no text with a word in it",
            limit="one or more texts",
            hint=N_("Give the heldout.jsonl that `deepseek train-entities` wrote."),
        )
    return texts


def order_by_class(rows: Heldout, manifest: ModelManifest, seed: int) -> npt.NDArray[np.int64]:
    """The places of the rows in random order; of a classification the classes take turns."""
    order = np.random.default_rng((seed, 4)).permutation(len(rows.target))
    if manifest.task != "classification":
        return order
    target = rows.target[order]
    turns = np.zeros(len(order), np.int64)
    for place in np.unique(target):
        turns[target == place] = np.arange((target == place).sum())
    return np.asarray(order[np.argsort(turns, kind="stable")])


def draw_calibration(subject: Subject, inputs: Mapping[str, Path], count: int) -> list[Array]:
    """Inputs that the ranges of a static form are taken from: at most `count` rows of the slot ``calibration``, or else
    of the held-out ones. Raises EngineError ``calibration_one_class``, and what `read_heldout` does."""
    assert isinstance(subject, RowsSubject)  # noqa: S101  no static form is made of a model of texts
    slot = CALIBRATION if CALIBRATION in inputs else "heldout"
    rows = subject.heldout
    if slot == CALIBRATION:
        rows = read_heldout(inputs[CALIBRATION], subject.manifest, CALIBRATION)
    if subject.manifest.task == "classification" and len(np.unique(rows.target)) < 2 <= len(subject.manifest.classes):
        raise EngineError(
            "calibration_one_class",
            "All {count} rows of the calibration set are of the class {name}: the ranges of the others are unknown.",
            count=len(rows.target),
            name=subject.manifest.classes[int(rows.target[0])],
            field=f"inputs/{slot}",
            value=subject.manifest.classes[int(rows.target[0])],
            limit=", ".join(subject.manifest.classes[:20]),
            hint=N_("Give rows of every class, or leave int8-static out with --candidates."),
        )
    places = order_by_class(rows, subject.manifest, subject.seed)[:count]
    size = 8 if subject.family == "image" else FRESH_ROWS
    features = rows.features[places].astype(np.float32)
    return [features[at : at + size] for at in range(0, len(features), size)]
