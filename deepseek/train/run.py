"""Train a model on a table: the entry point of the capability."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from deepseek.job import EngineError, Output, Report, Result
from deepseek.messages import N_, Message
from deepseek.models.evaluate import Outputs, measure, measure_difference
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Baseline, Figures, Metric
from deepseek.models.heldout import HELDOUT_NAME, HELDOUT_TYPE, Heldout, write_heldout
from deepseek.models.manifest import (
    MANIFEST_NAME,
    MANIFEST_TYPE,
    MEDIA_TYPES,
    MlpArchitecture,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.mlp import MlpNetwork
from deepseek.models.network import save_network
from deepseek.train.examples import Examples, read_examples
from deepseek.train.session import Outcome, Prepared, run_training
from deepseek.train.spec import TrainSpec
from deepseek.train.table_learner import TableLearner

_CHUNK = 8192


@dataclass(frozen=True)
class TrainResult(Result):
    """Outputs ``model``, ``manifest``, ``figures`` and ``heldout``; the summary says how it went and how good it is."""

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
    return PreparedTable(learner, {"table": compute_file_sha256(table)}, warnings, examples)


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
    )


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
        inputs=prepared.digests,
        spec=spec.model_dump(mode="json"),
    )
    figures = _build_figures(spec, examples, heldout, predict(network, heldout.features), manifest.file.size)
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    report.progress(len(rows), len(rows), "rows", stage="measure")
    report.log(figures.notes[0])
    return _build_result(spec, examples, outcome, manifest, figures)


def _build_figures(spec: TrainSpec, examples: Examples, heldout: Heldout, outputs: Outputs, size: int) -> Figures:
    name, simple = _build_baseline(spec, examples, heldout)

    def measure_outputs(of: Outputs) -> list[Metric]:
        return measure(spec.task, of, heldout.target, seed=spec.seed, horizon=spec.horizon)

    paired = measure_difference(spec.task, outputs, simple, heldout.target, seed=spec.seed, horizon=spec.horizon)
    return Figures(
        schema="plane/figures/v1",
        variant="fp32",
        rows=len(heldout.target),
        metrics=measure_outputs(outputs),
        baseline=Baseline(name=name, metrics=measure_outputs(simple), difference=paired),
        size_bytes=size,
        notes=[_describe_comparison(paired[0], name)],
    )


def _build_baseline(spec: TrainSpec, examples: Examples, heldout: Heldout) -> tuple[str, Outputs]:
    """What can be said from the training rows without a model: its name, and its outputs on the held-out rows."""
    target, rows = examples.target[examples.parts.training], len(heldout.target)
    if spec.task == "forecast":
        return "last value", heldout.features[:, -1:]
    if spec.task == "regression":
        return "mean", np.full((rows, 1), target.astype(np.float64).mean(), np.float32)
    shares = np.bincount(target, minlength=len(examples.classes)) / len(target)
    return "most frequent class", np.tile(shares.astype(np.float32), (rows, 1))


def _describe_comparison(paired: Metric, name: str) -> str:
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
    spec: TrainSpec, examples: Examples, outcome: Outcome, manifest: ModelManifest, figures: Figures
) -> TrainResult:
    metrics = {metric.name: metric.value for metric in figures.metrics}
    baseline = figures.baseline.metrics if figures.baseline else []
    return TrainResult(
        outputs=(
            Output("model", manifest.file.name, MEDIA_TYPES["safetensors"], {"variant": "fp32"}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output("heldout", HELDOUT_NAME, HELDOUT_TYPE, {"rows": len(examples.parts.test)}),
        ),
        summary={
            "task": spec.task,
            "left_out": examples.left_out,
            "metrics": metrics,
            "baseline": {metric.name: metric.value for metric in baseline},
            **outcome.summarize(),
        },
    )
