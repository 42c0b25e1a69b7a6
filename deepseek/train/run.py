"""Train a model on a table: the entry point of the capability."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from deepseek.job import EngineError, Output, Report, Result
from deepseek.messages import N_, Message
from deepseek.models.evaluate import Outputs, measure, measure_difference
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Baseline, Figures, Metric, Reference
from deepseek.models.heldout import HELDOUT_NAME, HELDOUT_TYPE, Heldout, write_heldout
from deepseek.models.manifest import (
    MANIFEST_NAME,
    MANIFEST_TYPE,
    MEDIA_TYPES,
    EmbeddingShape,
    MlpArchitecture,
    ModelManifest,
)
from deepseek.models.mlp import MlpNetwork
from deepseek.models.network import save_network
from deepseek.tables.parts import compute_table_sha256
from deepseek.train.examples import Examples, read_examples
from deepseek.train.reference import NAME as REFERENCE_NAME
from deepseek.train.reference import fit_reference, is_available, plan_reference
from deepseek.train.session import Outcome, Prepared, run_training
from deepseek.train.spec import TrainSpec
from deepseek.train.table_diagnostics import write_table_diagnostics
from deepseek.train.table_learner import TableLearner

MOST_EMBEDDED = 50
_CHUNK = 8192


@dataclass(frozen=True)
class TrainResult(Result):
    """Outputs ``model``, ``manifest``, ``figures``, ``heldout``, ``diagnostics``, ``samples`` and drawings below
    ``plots/``; the summary says how it went and how good it is."""

    @property
    def metrics(self) -> dict[str, float]:
        """The figures over the held-out rows, without their intervals."""
        return cast("dict[str, float]", self.summary["metrics"])


def run(spec: TrainSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> TrainResult:
    """Train on the table in the slot ``table`` (CSV or Parquet) and write the model into the folder `out`.

    Ranks, checkpoints and what is left behind by a failure: as `run_training` says. Raises EngineError for whatever is
    wrong with the table or the spec, and for a loss that is not finite.
    """
    result = run_training(
        spec,
        entry="deepseek.train.run:run",
        prepare=_prepare,
        write=_write,
        inputs=inputs,
        out=out,
        report=report,
    )
    return TrainResult(result.outputs, result.summary)


@dataclass(frozen=True)
class PreparedTable(Prepared[TableLearner]):
    """What a table holds, as well as what learns from it."""

    examples: Examples


def _prepare(spec: TrainSpec, inputs: Mapping[str, Path], report: Report) -> PreparedTable:
    table = _get_table(inputs)
    report.progress(0, None, "rows", stage="read")
    examples = read_examples(table, spec)
    warnings = _log_examples(examples, report)
    learner = TableLearner(spec, examples, build_architecture(spec, examples))
    return PreparedTable(learner, {"table": compute_table_sha256(table)}, warnings, examples)


def build_architecture(spec: TrainSpec, examples: Examples) -> MlpArchitecture:
    """The network that `spec` asks for, with as many inputs and outputs as the examples need."""
    return MlpArchitecture(
        inputs=len(examples.names),
        hidden=list(spec.hidden),
        outputs=len(examples.classes) or 1,
        activation=spec.activation,
        dropout=spec.dropout,
        output="probabilities" if examples.classes else "value",
        residual=spec.task == "forecast",
        embeddings=[
            EmbeddingShape(count=len(words) + 1, width=compute_embedding_width(len(words)))
            for words in examples.categories.values()
        ],
    )


def compute_embedding_width(categories: int) -> int:
    """Numbers in the vector of each of so many categories: 1.6 times their number to the power of 0.56, 50 at most."""
    return max(1, min(MOST_EMBEDDED, round(1.6 * math.pow(categories, 0.56))))


def predict(network: MlpNetwork, features: Any) -> Outputs:
    """Outputs (n, C) for raw features (n, F), in chunks."""
    with torch.no_grad():
        chunks = [network(torch.from_numpy(features[i : i + _CHUNK])) for i in range(0, len(features), _CHUNK)]
    return cast(Outputs, torch.cat(chunks).numpy())


def _get_table(inputs: Mapping[str, Path]) -> Path:
    if "table" not in inputs or set(inputs) - {"table", "checkpoint"}:
        raise EngineError(
            "wrong_inputs",
            "Training takes one table, and perhaps the checkpoint of an earlier attempt.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit="table, checkpoint",
            hint=N_("Give one CSV or Parquet file as 'table'."),
        )
    return inputs["table"]


def _log_examples(examples: Examples, report: Report) -> list[str]:
    parts = examples.parts
    rows = len(parts.training), len(parts.validation), len(parts.test)
    report.progress(sum(rows), sum(rows), "rows", stage="read")
    report.log(
        f"{rows[0]:,} rows to train on, {rows[1]:,} to validate, {rows[2]:,} held out; {len(examples.names)} inputs"
    )
    warnings = list(examples.warnings)
    if examples.left_out:
        warnings.append(f"{examples.left_out:,} rows were left out for a missing or infinite value.")
    for warning in warnings:
        report.log(warning, level="warning")
    return warnings


def _write(spec: TrainSpec, prepared: PreparedTable, outcome: Outcome, stage: Path, report: Report) -> TrainResult:
    report.progress(0, None, "rows", stage="measure")
    examples, network = prepared.examples, prepared.learner.network
    rows = examples.parts.test
    heldout = Heldout(np.ascontiguousarray(examples.features[rows]), examples.target[rows])
    write_heldout(heldout, stage / HELDOUT_NAME)
    manifest = save_network(
        network,
        stage,
        architecture=build_architecture(spec, examples),
        task=spec.task,
        target=spec.target,
        features=examples.names,
        classes=examples.classes,
        categories=examples.categories,
        inputs=prepared.digests,
        spec=spec.model_dump(mode="json"),
    )
    outputs = predict(network, heldout.features)
    references = _build_references(spec, prepared, heldout, outputs, report)
    figures = _build_figures(spec, examples, heldout, outputs, manifest.file.size, references)
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    diagnosed = write_table_diagnostics(
        spec, examples, heldout, outputs, stage, predict=partial(predict, network), parameters=parameters
    )
    report.progress(len(rows), len(rows), "rows", stage="measure")
    for note in figures.notes:
        report.log(note)
    return _build_result(spec, examples, outcome, manifest, figures, diagnosed)


def _build_figures(
    spec: TrainSpec,
    examples: Examples,
    heldout: Heldout,
    outputs: Outputs,
    size: int,
    references: list[Reference],
) -> Figures:
    name, simple = _build_baseline(spec, examples, heldout)
    paired = _measure_paired(spec, heldout, outputs, simple)
    return Figures(
        schema="plane/figures/v1",
        variant="fp32",
        rows=len(heldout.target),
        metrics=_measure(spec, heldout, outputs),
        baseline=Baseline(name=name, metrics=_measure(spec, heldout, simple), difference=paired),
        references=references,
        size_bytes=size,
        notes=[
            describe_comparison(paired[0], name),
            *(describe_comparison(reference.difference[0], reference.name) for reference in references),
        ],
    )


def _measure(spec: TrainSpec, heldout: Heldout, outputs: Outputs) -> list[Metric]:
    return measure(spec.task, outputs, heldout.target, seed=spec.seed, horizon=spec.horizon)


def _measure_paired(spec: TrainSpec, heldout: Heldout, outputs: Outputs, other: Outputs) -> list[Metric]:
    return measure_difference(spec.task, outputs, other, heldout.target, seed=spec.seed, horizon=spec.horizon)


def _build_references(
    spec: TrainSpec, prepared: PreparedTable, heldout: Heldout, outputs: Outputs, report: Report
) -> list[Reference]:
    """What scikit-learn's HistGradientBoosting reaches; none where it is not asked for, and the log says why else."""
    examples = prepared.examples
    rows = len(examples.parts.training)
    if not spec.reference:
        return []
    if not is_available():
        report.log("There is no reference model: scikit-learn is not installed.", level="warning")
        return []
    plan = plan_reference(rows, len(examples.names), len(examples.classes))
    if plan is None:
        report.log("There is no reference model: it would take too long with so many classes and inputs.")
        return []
    fitted = fit_reference(spec, examples, prepared.learner.class_weights, plan)
    return [
        Reference(
            name=REFERENCE_NAME,
            metrics=_measure(spec, heldout, fitted.outputs),
            difference=_measure_paired(spec, heldout, outputs, fitted.outputs),
            library=f"scikit-learn {fitted.version}",
            rows=fitted.rows,
            training_rows=rows,
            iterations=plan.iterations,
        )
    ]


def _build_baseline(spec: TrainSpec, examples: Examples, heldout: Heldout) -> tuple[str, Outputs]:
    """What can be said from the training rows without a model: its name, and its outputs on the held-out rows."""
    target, rows = examples.target[examples.parts.training], len(heldout.target)
    if spec.task == "forecast":
        return "last value", heldout.features[:, -1:]
    if spec.task == "regression":
        return "mean", np.full((rows, 1), target.astype(np.float64).mean(), np.float32)
    shares = np.bincount(target, minlength=len(examples.classes)) / len(target)
    return "most frequent class", np.tile(shares.astype(np.float32), (rows, 1))


def describe_comparison(paired: Metric, name: str) -> str:
    """The first paired difference as a sentence: better, worse, or perhaps chance."""
    interval = Message(
        # xgettext:no-python-format
        "{value:+.4g}, 95 % interval {low:+.4g} to {high:+.4g}",
        value=paired.value,
        low=paired.low,
        high=paired.high,
    )
    text = Message(
        "{paired_name} against {name!r} on the same rows: {interval}",
        paired_name=paired.name,
        name=name,
        interval=interval,
    )
    if paired.low is None or paired.high is None or paired.low <= 0 <= paired.high:
        return Message("{text}; that may be chance.", text=text)
    return (
        Message("{text}; the model is better.", text=text)
        if (paired.value > 0) == (paired.better == "higher")
        else Message("{text}; the model is worse.", text=text)
    )


def _build_result(
    spec: TrainSpec,
    examples: Examples,
    outcome: Outcome,
    manifest: ModelManifest,
    figures: Figures,
    diagnosed: tuple[Output, ...],
) -> TrainResult:
    metrics = {metric.name: metric.value for metric in figures.metrics}
    baseline = figures.baseline.metrics if figures.baseline else []
    return TrainResult(
        outputs=(
            Output("model", manifest.file.name, MEDIA_TYPES["safetensors"], {"variant": "fp32"}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output("heldout", HELDOUT_NAME, HELDOUT_TYPE, {"rows": len(examples.parts.test)}),
            *diagnosed,
        ),
        summary={
            "task": spec.task,
            **outcome.summarize(),
            "left_out": examples.left_out,
            "metrics": metrics,
            "baseline": {metric.name: metric.value for metric in baseline},
            "reference": {m.name: m.value for reference in figures.references for m in reference.metrics},
        },
    )
