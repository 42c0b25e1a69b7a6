"""Fine-tune a language model: the entry point of the capability."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepseek.job import EngineError, Output, Report, Result
from deepseek.language.base import TEMPLATE, Base, read_base
from deepseek.language.errors import require_packages
from deepseek.language.learner import LanguageLearner
from deepseek.language.measures import (
    TextLosses,
    answer_prompts,
    encode_prompt,
    list_differences,
    list_metrics,
    measure_texts,
)
from deepseek.language.network import LanguageNetwork, build_network, load_tokenizer, require_vocabulary
from deepseek.language.outputs import (
    HELDOUT_NAME,
    HELDOUT_TYPE,
    SAMPLES_NAME,
    SAMPLES_TYPE,
    describe_difference,
    save_language_model,
    write_heldout_texts,
    write_samples,
)
from deepseek.language.spec import BASE, TEXTS, LanguageSpec
from deepseek.language.texts import Text, Texts, read_texts
from deepseek.language.unpack import compute_folder_digest, open_base
from deepseek.messages import N_
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Baseline, Figures
from deepseek.models.manifest import MANIFEST_NAME, MANIFEST_TYPE, MEDIA_TYPES, ModelManifest, compute_file_sha256
from deepseek.train.device import choose_place, derive_seed
from deepseek.train.session import Outcome, Prepared, run_training
from deepseek.train.sharding import SHARDED
from deepseek.train.split import FEWEST_ROWS, Parts, split_randomly


def run(spec: LanguageSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Fine-tune the model in the slot ``base`` (a folder) on the conversations in the slot ``texts`` (JSON lines).

    Ranks, checkpoints and what is left behind by a failure: as `run_training` says. Raises EngineError for whatever is
    wrong with the base, the texts or the spec, and for a loss that is not finite.
    """
    require_packages()
    if set(inputs) - {"checkpoint"} != {BASE, TEXTS}:
        raise EngineError(
            "wrong_inputs",
            "Fine-tuning takes a base model and texts, and perhaps the checkpoint of an earlier attempt.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit="base, texts, checkpoint",
            hint=N_("Give the folder of the base model as 'base', and a file of JSON lines as 'texts'."),
        )
    with open_base(inputs[BASE]) as folder:
        return run_training(
            spec,
            entry="deepseek.language.run:run",
            prepare=prepare,
            write=write,
            inputs={**inputs, BASE: folder},
            out=out,
            report=report,
            mixed="bf16",
        )


class BaseMeasurement:
    """What the base does on the held-out texts, measured before the first step, where the network computes."""

    def __init__(self, texts: list[Text], prompts: list[list[int]], tokenizer: Any, limit: int) -> None:
        self.texts, self.prompts, self.tokenizer, self.limit = texts, prompts, tokenizer, limit
        self.losses: TextLosses | None = None
        self.answers: list[str] = []

    def take(self, network: LanguageNetwork) -> None:
        self.losses, self.answers = self.measure(network)

    def measure(self, network: LanguageNetwork) -> tuple[TextLosses, list[str]]:
        device = next(network.parameters()).device
        losses = measure_texts(network, self.texts, device)
        return losses, answer_prompts(network, self.tokenizer, self.prompts, self.limit)


@dataclass(frozen=True)
class PreparedTexts(Prepared[LanguageLearner]):
    """The base and the texts, as well as what learns from them."""

    base: Base
    texts: Texts
    measurement: BaseMeasurement


def prepare(spec: LanguageSpec, inputs: Mapping[str, Path], report: Report) -> PreparedTexts:
    """Read and check the base and the texts, and load the network."""
    report.progress(0, None, "texts", stage="read")
    base = read_base(inputs[BASE])
    tokenizer = load_tokenizer(base.folder, base.files)
    require_vocabulary(base, tokenizer)
    if spec.chat_template:
        base.files[TEMPLATE] = spec.chat_template
        tokenizer.chat_template = spec.chat_template
    texts = read_texts(inputs[TEXTS], spec, tokenizer, base.context)
    parts = split_texts(texts, spec)
    warnings = log_texts(texts, parts, report)
    held_out = [texts.rows[row] for row in parts.test]
    prompts = [encode_prompt(text.prompt, tokenizer, None) for text in held_out[: spec.samples]]
    measurement = BaseMeasurement(held_out, prompts, tokenizer, spec.answer_tokens)

    def build() -> LanguageNetwork:
        torch.manual_seed(derive_seed(spec.seed, "weights"))
        return build_network(base, spec, dtype=choose_base_type(spec))

    learner = LanguageLearner(
        texts.rows,
        parts,
        build,
        adapters_only=spec.method == "lora",
        stays=spec.strategy == SHARDED,
        prepare=partial(measure_base, measurement, report),
    )
    digests = {TEXTS: compute_file_sha256(inputs[TEXTS]), BASE: compute_folder_digest(base.digests)}
    return PreparedTexts(learner, digests, warnings, base, texts, measurement)


def measure_base(measurement: BaseMeasurement, report: Report, network: LanguageNetwork) -> None:
    report.progress(0, len(measurement.texts), "texts", stage="measure")
    measurement.take(network)


def choose_base_type(spec: LanguageSpec) -> torch.dtype:
    """Frozen weights are kept in bf16 where the training computes in it; weights that are trained, in float32.

    Those of the strategy fsdp are of one type throughout, which it asks for.
    """
    if spec.method == "full" or spec.strategy == SHARDED:
        return torch.float32
    return torch.bfloat16 if choose_place(spec, "bf16").dtype == torch.bfloat16 else torch.float32


def split_texts(texts: Texts, spec: LanguageSpec) -> Parts:
    """Training, validation and test by chance. Raises EngineError ``too_few_rows``."""
    count = len(texts.rows)
    if count >= FEWEST_ROWS:
        return split_randomly(np.zeros(count, dtype=np.int64), spec.validation_share, spec.test_share, spec.seed)
    raise EngineError(
        "too_few_rows",
        "{count} usable texts are too few; {skipped} more were skipped as too long.",
        count=count,
        skipped=texts.skipped,
        field="inputs/texts",
        value=str(count),
        limit=FEWEST_ROWS,
        hint=N_("Give more texts, or a longest text of more tokens."),
    )


def log_texts(texts: Texts, parts: Parts, report: Report) -> list[str]:
    rows = len(parts.training), len(parts.validation), len(parts.test)
    report.progress(sum(rows), sum(rows), "texts", stage="read")
    tokens = sum(text.count for text in texts.rows)
    report.log(
        f"{rows[0]:,} texts to train on, {rows[1]:,} to validate, {rows[2]:,} held out; {tokens:,} tokens of answers"
    )
    warnings = []
    if texts.cut:
        warnings.append(f"{texts.cut:,} texts were cut: they are longer than the longest text.")
    if texts.skipped:
        warnings.append(
            f"{texts.skipped:,} texts were skipped: what is left of them has no answer, or they are too long."
        )
    for warning in warnings:
        report.log(warning, level="warning")
    return warnings


def write(spec: LanguageSpec, prepared: PreparedTexts, outcome: Outcome, stage: Path, report: Report) -> Result:
    """Measure the trained model where it computed, and write all outputs into `stage`."""
    measurement, network = prepared.measurement, prepared.learner.network
    report.progress(0, len(measurement.texts), "texts", stage="measure")
    if spec.strategy != SHARDED:
        network.to(outcome.training.place.device)
    losses, answers = measurement.measure(network)
    network.cpu()
    before = measurement.losses
    assert before is not None  # noqa: S101  measured when the network was moved
    write_heldout_texts(stage / HELDOUT_NAME, measurement.texts)
    write_samples(stage / SAMPLES_NAME, measurement.texts[: spec.samples], measurement.answers, answers)
    manifest = save_language_model(network, prepared.base, spec, stage, prepared.digests)
    figures = build_figures(losses, before, manifest, spec.seed)
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    report.progress(len(measurement.texts), len(measurement.texts), "texts", stage="measure")
    report.log(figures.notes[0])
    return build_result(spec, prepared, outcome, manifest, figures)


def build_figures(losses: TextLosses, before: TextLosses, manifest: ModelManifest, seed: int) -> Figures:
    """Perplexity and token accuracy over the held-out texts, against those of the base on the same texts."""
    differences = list_differences(losses, before, seed)
    return Figures(
        schema="plane/figures/v1",
        variant=manifest.variant,
        rows=len(losses.tokens),
        metrics=list_metrics(losses, seed),
        baseline=Baseline(name="base model", metrics=list_metrics(before, seed), difference=differences),
        size_bytes=manifest.file.size,
        notes=[describe_difference(differences[0])],
    )


def build_result(
    spec: LanguageSpec, prepared: PreparedTexts, outcome: Outcome, manifest: ModelManifest, figures: Figures
) -> Result:
    baseline = figures.baseline.metrics if figures.baseline else []
    return Result(
        outputs=(
            Output("model", manifest.file.name, MEDIA_TYPES["safetensors"], {"variant": manifest.variant}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output("samples", SAMPLES_NAME, SAMPLES_TYPE),
            Output("heldout", HELDOUT_NAME, HELDOUT_TYPE, {"rows": figures.rows}),
        ),
        summary={
            "task": "language",
            "method": spec.method,
            "cut": prepared.texts.cut,
            "skipped": prepared.texts.skipped,
            "metrics": {metric.name: metric.value for metric in figures.metrics},
            "baseline": {metric.name: metric.value for metric in baseline},
            "trained_parameters": sum(p.numel() for p in prepared.learner.list_parameters()),
            **outcome.summarize(),
        },
    )
