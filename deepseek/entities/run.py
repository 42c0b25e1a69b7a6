"""Train a model that finds entities: the entry point of the capability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from deepseek.entities.baseline import NAME as DICTIONARY
from deepseek.entities.baseline import build_dictionary, find_known_spans
from deepseek.entities.learner import EntitiesLearner, build_corpus
from deepseek.entities.network import EntitiesNetwork, initialize
from deepseek.entities.outputs import (
    HELDOUT_NAME,
    HELDOUT_TYPE,
    SAMPLES_NAME,
    SAMPLES_TYPE,
    write_samples,
    write_texts,
)
from deepseek.entities.predictor import EntitiesPredictor
from deepseek.entities.scores import measure_span_difference, measure_spans
from deepseek.entities.spec import TEXTS, WEIGHTS, EntitiesSpec
from deepseek.entities.split import split_marked_texts
from deepseek.entities.tags import Span, compute_continuation
from deepseek.entities.texts import Counts, MarkedText, read_texts
from deepseek.entities.tokens import build_vocabulary, index_vocabulary
from deepseek.entities.torch_network import build_torch_network
from deepseek.entities.vocabulary import Assets, merge_vocabulary, read_model_assets
from deepseek.entities.weights import FIELD, load_weights
from deepseek.entities.windows import split_texts
from deepseek.job import JSON, EngineError, Output, Report, Result
from deepseek.messages import N_, Message
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Baseline, Figures
from deepseek.models.manifest import (
    MANIFEST_NAME,
    MANIFEST_TYPE,
    MEDIA_TYPES,
    EntitiesArchitecture,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.network import save_network
from deepseek.train.device import derive_seed
from deepseek.train.run import describe_comparison
from deepseek.train.session import Outcome, Prepared, run_training


@dataclass(frozen=True)
class EntitiesResult(Result):
    """Outputs ``model``, ``manifest``, ``figures``, ``heldout`` and ``samples``; the summary says how it went."""

    @property
    def metrics(self) -> dict[str, float]:
        """The figures over the held-out texts, without their intervals."""
        return cast("dict[str, float]", self.summary["metrics"])


def run(spec: EntitiesSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> EntitiesResult:
    """Train on the texts in the slot ``texts`` and write the model into the folder `out`.

    The slot ``weights`` may hold the model file of an earlier training with the same labels and sizes: it begins from
    those, and words that only the new texts have are added to its vocabulary. Ranks, checkpoints and what is left
    behind by a failure: as `run_training` says. Raises EngineError for whatever is wrong with the inputs.
    """
    result = run_training(
        spec,
        entry="deepseek.entities.run:run",
        prepare=_prepare,
        write=_write,
        inputs=inputs,
        out=out,
        report=report,
    )
    return EntitiesResult(result.outputs, result.summary)


@dataclass(frozen=True)
class PreparedTexts(Prepared[EntitiesLearner]):
    """What a file of texts holds, as well as what learns from it; `training` and `test` are texts, not windows."""

    architecture: EntitiesArchitecture
    assets: Assets
    training: list[MarkedText]
    test: list[MarkedText]
    counts: Counts


def _prepare(spec: EntitiesSpec, inputs: Mapping[str, Path], report: Report) -> PreparedTexts:
    _check_inputs(inputs)
    report.progress(0, None, "texts", stage="read")
    marked = read_texts(inputs[TEXTS], spec)
    texts, windows = split_texts(marked.texts, spec, marked.counts, TEXTS)
    places = split_marked_texts(texts, spec)
    training = [texts[place] for place in places.training]
    earlier = read_model_assets(inputs[WEIGHTS], None, FIELD) if WEIGHTS in inputs else None
    from_texts = build_vocabulary((text.tokens for text in training), spec.vocabulary)
    vocabulary = merge_vocabulary(earlier.vocabulary if earlier else [], from_texts)
    architecture = build_architecture(spec, len(vocabulary))
    corpus = build_corpus(texts, windows, spec.labels, index_vocabulary(vocabulary), spec.buckets)
    network = _create_network(spec, architecture, inputs, earlier)
    learner = EntitiesLearner(network, corpus, parts := places.of_windows(corpus))
    continuation = compute_continuation((corpus.tags[row].tolist() for row in parts.training), spec.labels)
    assets = Assets(vocabulary=vocabulary, labels=list(spec.labels), continuation=continuation)
    report.progress(len(texts), len(texts), "texts", stage="read")
    report.log(
        f"{len(training):,} texts to train on, {len(places.validation):,} to validate, {len(places.test):,} held out; "
        f"{len(vocabulary):,} words"
    )
    warnings = _log_counts(marked.counts, report)
    digests = {slot: compute_file_sha256(inputs[slot]) for slot in (TEXTS, WEIGHTS) if slot in inputs}
    test = [texts[place] for place in places.test]
    return PreparedTexts(learner, digests, warnings, architecture, assets, training, test, marked.counts)


def _check_inputs(inputs: Mapping[str, Path]) -> None:
    if TEXTS not in inputs or set(inputs) - {TEXTS, WEIGHTS, "checkpoint"}:
        raise EngineError(
            "wrong_inputs",
            "Training takes texts, perhaps the weights of an earlier model, and the checkpoint of an earlier attempt.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit=f"{TEXTS}, {WEIGHTS}, checkpoint",
            hint=N_('Give a file with one {"text": ..., "spans": [...]} on each line as \'texts\'.'),
        )


def build_architecture(spec: EntitiesSpec, words: int) -> EntitiesArchitecture:
    """The network that `spec` asks for, with a vocabulary of so many words."""
    return EntitiesArchitecture(
        labels=list(spec.labels),
        words=words,
        buckets=spec.buckets,
        max_length=spec.max_length,
        width=spec.width,
        layers=spec.layers,
        heads=spec.heads,
        dropout=spec.dropout,
        token_dropout=spec.token_dropout,
    )


def _create_network(
    spec: EntitiesSpec, architecture: EntitiesArchitecture, inputs: Mapping[str, Path], earlier: Assets | None
) -> EntitiesNetwork:
    torch.manual_seed(derive_seed(spec.seed, "weights"))
    network = EntitiesNetwork(architecture)
    initialize(network)
    network.saves_activations = spec.activation_checkpointing
    if earlier is not None:
        load_weights(network, architecture, inputs[WEIGHTS], earlier)
    return network


def _log_counts(counts: Counts, report: Report) -> list[str]:
    sentences = {
        "invalid": "{count:,} texts were left out as invalid.",
        "other_label": "{count:,} spans of other labels were not learned.",
        "border": "{count:,} spans began or ended inside a word.",
        "too_long": "{count:,} texts were longer than the model takes at once.",
        "empty": "{count:,} texts held no token and were left out.",
    }
    warnings = [sentences[name].format(count=count) for name, count in counts.as_dict().items() if count]
    for warning in warnings:
        report.log(warning, level="warning")
    return warnings


def _write(
    spec: EntitiesSpec, prepared: PreparedTexts, outcome: Outcome, stage: Path, report: Report
) -> EntitiesResult:
    report.progress(0, None, "texts", stage="measure")
    test, network = prepared.test, prepared.learner.network
    write_texts(test, stage / HELDOUT_NAME)
    manifest = save_network(
        network,
        stage,
        architecture=prepared.architecture,
        task="entities",
        target="spans",
        features=["text"],
        classes=list(spec.labels),
        inputs=prepared.digests,
        spec=spec.model_dump(mode="json"),
        assets=prepared.assets.model_dump(),
    )
    predictor = EntitiesPredictor(manifest, build_torch_network(network), prepared.assets)
    predictions = predictor.predict([text.text for text in test])
    figures = _build_figures(spec, prepared, predictions, manifest.file.size)
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    write_samples(test, predictions, stage / SAMPLES_NAME)
    report.progress(len(test), len(test), "texts", stage="measure")
    report.log(figures.notes[0])
    return _build_result(prepared, outcome, manifest, figures)


def _build_figures(spec: EntitiesSpec, prepared: PreparedTexts, found: Sequence[Sequence[Span]], size: int) -> Figures:
    target = [text.spans for text in prepared.test]
    dictionary = build_dictionary(prepared.training)
    longest = max((len(words) for words in dictionary), default=0)
    simple = [find_known_spans(text.tokens, dictionary, longest) for text in prepared.test]
    paired = measure_span_difference(target, found, simple, spec.labels, seed=spec.seed)
    notes: list[str] = [describe_comparison(paired[0], DICTIONARY)] if paired else []
    if not paired:
        notes.append(Message("No span was found in the held-out texts: there is no F1 to compare."))
    return Figures(
        schema="plane/figures/v1",
        variant="fp32",
        rows=len(target),
        metrics=measure_spans(target, found, spec.labels, seed=spec.seed),
        baseline=Baseline(
            name=DICTIONARY, metrics=measure_spans(target, simple, spec.labels, seed=spec.seed), difference=paired
        ),
        size_bytes=size,
        notes=notes,
    )


def _build_result(
    prepared: PreparedTexts, outcome: Outcome, manifest: ModelManifest, figures: Figures
) -> EntitiesResult:
    baseline = figures.baseline.metrics if figures.baseline else []
    counts: dict[str, JSON] = dict(prepared.counts.as_dict())
    return EntitiesResult(
        outputs=(
            Output("model", manifest.file.name, MEDIA_TYPES["safetensors"], {"variant": "fp32"}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output("heldout", HELDOUT_NAME, HELDOUT_TYPE, {"rows": len(prepared.test)}),
            Output("samples", SAMPLES_NAME, SAMPLES_TYPE),
        ),
        summary={
            "task": "entities",
            "left_out": prepared.counts.invalid + prepared.counts.empty,
            "rules": counts,
            "words": len(prepared.assets.vocabulary),
            "metrics": {metric.name: metric.value for metric in figures.metrics},
            "baseline": {metric.name: metric.value for metric in baseline},
            **outcome.summarize(),
        },
    )
