"""Quantize one model: the entry point of the capability."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from deepseek.job import JSON, Output, Report, Result, stage_outputs
from deepseek.messages import Message
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Figures, Latency
from deepseek.models.manifest import FILE_NAMES, MANIFEST_NAME, MANIFEST_TYPE, MEDIA_TYPES, require_mlp
from deepseek.models.predictor import Predictor, TorchPredictor, open_model
from deepseek.models.source import (
    EAGER,
    Source,
    predict_in_batches,
    read_source,
    require_equal,
    write_figures,
    write_form,
)
from deepseek.models.timing import build_latency, describe_latency, describe_speed, limit_torch_threads, take_turns
from deepseek.models.torchscript import read_archive, write_archive
from deepseek.quantize.int8 import choose_quantized_engine, export, quantize
from deepseek.quantize.spec import QuantizeSpec

VARIANT = "int8"
EXPORTED_NAME = "fp32.pt"
TOLERANCE = 1e-5
"""Largest relative difference between the exported network and PyTorch's own: the sums may have another order."""


@dataclass(frozen=True)
class QuantizeResult(Result):
    """Outputs ``model``, ``manifest``, ``figures`` and ``exported``; the summary says what changed."""

    @property
    def size_ratio(self) -> float:
        """How many times smaller the file is than the trained one."""
        return cast(float, self.summary["size_ratio"])


def run(spec: QuantizeSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> QuantizeResult:
    """Export and quantize the trained model in the slots ``model``, ``manifest`` and ``heldout``.

    Writes ``model.pt`` (8-bit), ``model.json``, ``figures.json`` and ``fp32.pt`` (the export) into the folder `out`.
    Equal inputs and spec give equal bytes of all but the figures, which hold times.

    Raises EngineError: ``model_format`` (not a trained model: an 8-bit one, say), ``export_differs``, ``no_int8``, and
    whatever `read_source` finds wrong with a file; then, as after a crash, there is no `out`.
    """
    with stage_outputs(out) as stage, limit_torch_threads(spec.threads), choose_quantized_engine() as engine:
        report.progress(0, None, "files", stage="read")
        source = read_source(inputs, "Quantizing")
        report.progress(0, 2, "forms", stage="quantize")
        write_archive(export(source.network), stage / EXPORTED_NAME)
        exported = TorchPredictor(source.manifest, read_archive(stage / EXPORTED_NAME))
        worst = require_equal(
            exported.predict,
            source,
            code="export_differs",
            what="The exported network",
            tolerance=TOLERANCE,
            seed=spec.seed,
        )
        report.log(f"exported TorchScript agrees with PyTorch, the largest relative difference is {worst:.2g}")
        report.progress(1, 2, "forms", stage="quantize")
        write_archive(quantize(source.network), stage / FILE_NAMES["torchscript"])
        manifest = write_form(
            stage,
            source,
            variant=VARIANT,
            format_="torchscript",
            spec=spec.model_dump(mode="json"),
            machine={"engine": engine},
        )
        report.progress(2, 2, "forms", stage="quantize")
        smaller = open_model(manifest, stage / manifest.file.name)
        timed, of_export = _measure_latencies(spec, source, smaller, exported, report)
        figures = write_figures(
            stage,
            source,
            manifest,
            predict_in_batches(smaller, source.heldout.features, spec.batches[0], report),
            latency=timed,
            notes=_list_notes(source, manifest.file.size, timed, of_export),
            confidence=spec.confidence,
            seed=spec.seed,
        )
    return _build_result(figures, engine, report)


def _measure_latencies(
    spec: QuantizeSpec, source: Source, smaller: Predictor, exported: Predictor, report: Report
) -> tuple[list[Latency], list[Latency]]:
    """At each batch size, the 8-bit and the exported form against the network, all three in turns."""
    latencies: tuple[list[Latency], list[Latency]] = [], []
    batches = list(dict.fromkeys(spec.batches))
    total = spec.runs * len(batches)
    for position, batch in enumerate(batches):
        rows = source.take_batch(batch)
        calls = {
            EAGER: source.predictor.bind(rows),
            VARIANT: smaller.bind(rows),
            "exported": exported.bind(rows),
        }

        def advance(done: int, before: int = spec.runs * position) -> None:
            report.progress(before + done, total, "calls", stage="measure")

        timing = take_turns(calls, runs=spec.runs, advance=advance)
        for timings, name in zip(latencies, (VARIANT, "exported"), strict=True):
            timings.append(build_latency(timing, name, EAGER, batch=batch, threads=spec.threads))
    return latencies


def _list_notes(source: Source, size: int, timed: list[Latency], of_export: list[Latency]) -> list[str]:
    notes: list[str] = [
        Message(
            "{in_words} TorchScript without 8-bit weights is {speed} it.",
            in_words=describe_latency(quantized),
            speed=describe_speed(exported.ratio),
        )
        for quantized, exported in zip(timed, of_export, strict=True)
    ]
    notes.append(
        Message(
            "Accuracy was measured in batches of {batch}: the range of a batch decides how inputs are rounded.",
            batch=timed[0].batch,
        )
    )
    trained = source.manifest.file.size
    if size >= trained:
        notes.append(
            Message(
                "It is larger than the trained file ({size:,} against {trained:,} bytes): the model is "
                "so small that its code outweighs what smaller weights save.",
                size=size,
                trained=trained,
            )
        )
    if not require_mlp(source.manifest, "quantize").hidden:
        notes.append(
            Message("The model has no hidden layer: one small product is all that 8-bit weights can speed up.")
        )
    return notes


def _build_result(figures: Figures, engine: str, report: Report) -> QuantizeResult:
    for note in figures.notes:
        report.log(note)
    for measurement in figures.latency:
        report.metric(f"latency_ratio_batch_{measurement.batch}", measurement.ratio)
        report.metric(f"latency_us_batch_{measurement.batch}", measurement.median_us)
    report.metric("size_ratio", figures.size_ratio or 0.0)
    agreement = figures.agreement
    return QuantizeResult(
        outputs=(
            Output("model", FILE_NAMES["torchscript"], MEDIA_TYPES["torchscript"], {"variant": VARIANT}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output("exported", EXPORTED_NAME, MEDIA_TYPES["torchscript"], {"variant": "fp32"}),
        ),
        summary={
            "engine": engine,
            "size_bytes": figures.size_bytes,
            "size_ratio": figures.size_ratio,
            "max_abs_error": agreement.max_abs_error if agreement else None,
            "metrics": {metric.name: metric.value for metric in figures.metrics},
            "difference": cast(JSON, {m.name: m.value for m in agreement.difference} if agreement else {}),
        },
    )
