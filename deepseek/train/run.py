"""Train a model on a table: the entry point of the capability."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from deepseek.job import JSON, EngineError, Output, Report, Result, build_checkpoint_path, stage_outputs
from deepseek.messages import N_, Message
from deepseek.models.evaluate import Outputs, measure, measure_difference
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Baseline, Figures, Metric
from deepseek.models.heldout import HELDOUT_NAME, HELDOUT_TYPE, Heldout, write_heldout
from deepseek.models.manifest import (
    MANIFEST_NAME,
    MANIFEST_TYPE,
    MEDIA_TYPES,
    Architecture,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.network import Network, save_network
from deepseek.torchrun.launch import run_ranks
from deepseek.torchrun.rank import is_rank
from deepseek.train.checkpoint import Unusable, compute_identity, read_checkpoint
from deepseek.train.device import apply_settings, choose_place
from deepseek.train.examples import Examples, read_examples
from deepseek.train.loop import Training
from deepseek.train.replicas import Replicas, join_replicas
from deepseek.train.spec import TrainSpec

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

    With the strategy ddp the work is done by ranks, each of which runs this function; rank 0 writes and reports.

    Goes on from the checkpoint in the slot ``checkpoint`` if there is one, else from that beside `out`, if it is of the
    same spec, table and code; removes the latter when done. Raises EngineError for whatever is wrong with the table or
    the spec, and for a loss that is not finite; then, as after a crash, there is no `out`, and the checkpoint stays.
    """
    if spec.strategy != "none" and not is_rank():
        entry = "deepseek.train.run:run"
        result = run_ranks(entry, spec, processes=spec.processes, inputs=inputs, out=out, report=report)
        return TrainResult(result.outputs, result.summary)
    with join_replicas(spec) as replicas:
        return _run_replica(spec, replicas, inputs, out, report)


def _run_replica(
    spec: TrainSpec, replicas: Replicas, inputs: Mapping[str, Path], out: Path, report: Report
) -> TrainResult:
    table = _get_table(inputs)
    place = choose_place(spec)
    staged: AbstractContextManager[Path | None] = stage_outputs(out) if replicas.is_first else nullcontext()
    with staged as stage, apply_settings(spec, place):
        report.progress(0, None, "rows", stage="read")
        examples = read_examples(table, spec)
        digests = {"table": compute_file_sha256(table)}
        warnings = _log_examples(examples, report)
        shared = "" if replicas.is_single else f", in {replicas.world} processes"
        report.log(f"trains on {place.words}, {spec.threads} thread{'s' * (spec.threads > 1)}{shared}")
        training = Training(spec, examples, build_architecture(spec, examples), place, report, replicas)
        identity = compute_identity(spec, digests)
        _resume(training, [inputs.get("checkpoint"), build_checkpoint_path(out)], identity, report)
        _agree_on_step(training, replicas)
        training.run(build_checkpoint_path(out), identity)
        if stage is None:
            return TrainResult(())
        training.network.load_state_dict(training.best)
        warnings += _log_outcome(training, report)
        manifest, figures = _write(spec, examples, training.network.cpu().eval(), digests, stage, report)
    build_checkpoint_path(out).unlink(missing_ok=True)
    return _build_result(spec, examples, training, manifest, figures, warnings, report)


def build_architecture(spec: TrainSpec, examples: Examples) -> Architecture:
    """The network that `spec` asks for, with as many inputs and outputs as the examples need."""
    return Architecture(
        inputs=len(examples.names),
        hidden=list(spec.hidden),
        outputs=len(examples.classes) or 1,
        activation=spec.activation,
        dropout=spec.dropout,
        output="probabilities" if examples.classes else "value",
        residual=spec.task == "forecast",
    )


def predict(network: Network, features: Any) -> Outputs:
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


def _resume(training: Training, candidates: list[Path | None], identity: str, report: Report) -> None:
    for path in candidates:
        if path is None or not path.exists():
            continue
        try:
            training.restore(read_checkpoint(path, identity))
        except Unusable as why:
            report.log(f"The checkpoint {path.name} is not used: {why}.", level="warning")
        else:
            report.log(f"goes on from the checkpoint of step {training.at.step}")
            return


def _agree_on_step(training: Training, replicas: Replicas) -> None:
    """All ranks go on from the same step, or none does: a checkpoint that only some could read is no beginning."""
    if replicas.is_single:
        return
    steps = {int(step) for step in replicas.gather(torch.tensor(training.at.step))}
    if len(steps) > 1:
        raise RuntimeError(f"the ranks begin at different steps: {sorted(steps)}")


def _log_outcome(training: Training, report: Report) -> list[str]:
    at = training.at
    early = "" if at.epoch == training.spec.epochs else ", where patience was over"
    report.log(f"{at.step:,} steps in {at.epoch} epochs{early}; the best were the weights after epoch {at.best_epoch}")
    if at.best_loss is None or at.best_loss < at.first_loss:
        return []
    warning = (
        f"No epoch had a lower validation loss ({at.best_loss:.5g}) than the untrained network ({at.first_loss:.5g}): "
        "there may be nothing to learn here, or max_lr is too high."
    )
    report.log(warning, level="warning")
    return [warning]


def _write(
    spec: TrainSpec, examples: Examples, network: Network, digests: Mapping[str, str], stage: Path, report: Report
) -> tuple[ModelManifest, Figures]:
    report.progress(0, None, "rows", stage="measure")
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
        inputs=digests,
        spec=spec.model_dump(mode="json"),
    )
    figures = _build_figures(spec, examples, heldout, predict(network, heldout.features), manifest.file.size)
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    report.progress(len(rows), len(rows), "rows", stage="measure")
    return manifest, figures


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
    spec: TrainSpec,
    examples: Examples,
    training: Training,
    manifest: ModelManifest,
    figures: Figures,
    warnings: list[str],
    report: Report,
) -> TrainResult:
    at, parts = training.at, examples.parts
    report.log(figures.notes[0])
    rows = {"training": len(parts.training), "validation": len(parts.validation), "test": len(parts.test)}
    metrics = {metric.name: metric.value for metric in figures.metrics}
    baseline = figures.baseline.metrics if figures.baseline else []
    return TrainResult(
        outputs=(
            Output("model", manifest.file.name, MEDIA_TYPES["safetensors"], {"variant": "fp32"}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output("heldout", HELDOUT_NAME, HELDOUT_TYPE, {"rows": rows["test"]}),
        ),
        summary={
            "task": spec.task,
            "rows": rows,
            "left_out": examples.left_out,
            "parameters": sum(p.numel() for p in training.network.parameters()),
            "steps": at.step,
            "epochs": at.epoch,
            "best_epoch": at.best_epoch,
            "best_validation_loss": at.best_loss,
            "metrics": metrics,
            "baseline": {metric.name: metric.value for metric in baseline},
            "warnings": cast("list[JSON]", warnings),
        },
    )
