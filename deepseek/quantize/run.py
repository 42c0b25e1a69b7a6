"""Quantize one model: the entry point of the capability."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_, Message
from deepseek.models.manifest import MEDIA_TYPES, MlpArchitecture
from deepseek.models.timing import describe_latency, describe_speed, limit_torch_threads
from deepseek.quantize.candidates import ONNX, PARENT, TORCHSCRIPT
from deepseek.quantize.document import TRADEOFF_NAME, TRADEOFF_TYPE, Sensitivity, Tradeoff, VariantFigures
from deepseek.quantize.forms import Form, FormBuilder
from deepseek.quantize.int8 import choose_quantized_engine
from deepseek.quantize.measurement import Measured, list_thread_counts, measure_forms, measure_timings
from deepseek.quantize.outputs import (
    EXPORTED_NAME,
    build_latencies,
    describe_machine,
    describe_variant,
    keep_exported,
    list_outputs,
    move_recommended,
    write_variant,
)
from deepseek.quantize.rule import TIE, get_allowed_loss, recommend_variant
from deepseek.quantize.sensitivity import measure_sensitivity
from deepseek.quantize.spec import CALIBRATION, QuantizeSpec
from deepseek.quantize.subjects import Subject, read_subject

TOLERANCE = {TORCHSCRIPT: 1e-5, ONNX: 1e-4}
"""Largest relative difference of an fp32 form from PyTorch's own outputs: the sums may have another order."""


@dataclass(frozen=True)
class QuantizeResult(Result):
    """Outputs ``model``, ``manifest`` and ``figures`` of the recommended form, ``exported``, ``tradeoff``, and three of
    each other form that has a file; the summary says what changed."""

    @property
    def size_ratio(self) -> float:
        """How many times smaller the file is than the trained one."""
        return cast(float, self.summary["size_ratio"])


def run(spec: QuantizeSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> QuantizeResult:
    """Make the 8-bit forms that fit the trained model in the slots ``model``, ``manifest`` and ``heldout``, measure
    them beside fp32, and recommend one. The slot ``calibration`` may hold rows for the ranges of a static form.

    Writes the recommended form, ``model.json`` and ``figures.json``; ``fp32.pt``, the export as TorchScript;
    ``tradeoff.json``; and a folder for each other form. Equal inputs and spec give equal bytes of each form; times, and
    with them what is recommended, are measured.

    Raises EngineError: ``family_unsupported``, ``model_format`` (not a trained model: an 8-bit one, say),
    ``export_differs``, ``no_int8``, what `FormBuilder.build_all` raises, and whatever `read_subject` finds wrong with a
    file; then, as after a crash, there is no `out`.
    """
    with stage_outputs(out) as stage, limit_torch_threads(spec.threads), choose_quantized_engine() as engine:
        report.progress(0, None, "files", stage="read")
        subject = read_subject(inputs, confidence=spec.confidence, seed=spec.seed)
        sensitivity = measure_sensitivity(subject, spec, _advance(report, "layers", "sensitivity"))
        kept_layers = [layer.layer for layer in sensitivity.layers if layer.kept_fp32] if sensitivity else []
        forms, left_out = FormBuilder(subject, spec, inputs, stage, kept_layers).build_all(
            _advance(report, "forms", "quantize")
        )
        keep_exported(stage)
        measured = measure_forms(subject, spec, forms, _advance(report, "forms", "compare"))
        _require_equal(measured, report)
        measure_timings(subject, spec, measured, _advance(report, "calls", "measure"))
        allowed, parent = get_allowed_loss(subject.manifest.task, spec.max_accuracy_loss), measured[0]
        variants = recommend_variant(
            [describe_variant(candidate, parent, subject, allowed) for candidate in measured], allowed
        )
        recommended = next(variant for variant in variants if variant.verdict == "recommended")
        by_name = {candidate.form.name: candidate for candidate in measured}
        for variant in variants:
            if variant.slot is not None:
                notes = _list_notes(subject, spec, by_name[variant.name], variant, by_name)
                machine = {"engine": engine} if variant.runtime == "torch" else {}
                folder = stage / variant.name
                write_variant(folder, by_name[variant.name], variant, parent, subject, spec, allowed, machine, notes)
        _remove_unfit(stage, forms)
        move_recommended(stage, recommended.name)
        variants = [_place(variant, recommended.name) for variant in variants]
        document = Tradeoff(
            schema="plane/tradeoff/v1",
            family=subject.family,
            task=subject.manifest.task,
            target=subject.manifest.target,
            parent=subject.digests["manifest"],
            heldout=subject.digests["heldout"],
            rows=subject.rows,
            confidence=spec.confidence,
            allowed=allowed,
            tie=TIE,
            recommended=recommended.name,
            batches=list(dict.fromkeys(spec.batches)),
            threads=list_thread_counts(spec),
            variants=variants,
            sensitivity=sensitivity,
            left_out=left_out,
            machine=describe_machine(),
            notes=_list_document_notes(subject, spec, inputs, variants, sensitivity),
        )
        (stage / TRADEOFF_NAME).write_text(document.to_json(), encoding="utf-8")
    return _build_result(document, by_name[recommended.name], spec, engine, report)


def _advance(report: Report, unit: str, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: report.progress(done, total, unit, stage=stage)


def _require_equal(measured: Sequence[Measured], report: Report) -> None:
    """Raise EngineError ``export_differs`` where a form in fp32 gives other outputs than PyTorch."""
    for candidate in measured:
        tolerance = TOLERANCE.get(candidate.form.name)
        if tolerance is None:
            continue
        if not candidate.gap[1] <= tolerance:
            raise EngineError(
                "export_differs",
                "The form {name} gives other outputs than PyTorch on held-out or fresh inputs.",
                name=candidate.form.name,
                field="inputs/model",
                value=f"a relative difference of {candidate.gap[1]:.3g}",
                limit=f"{tolerance:g}",
                hint=N_("Look for extreme weights or features; this may also be a defect of torch or its version."),
            )
        report.log(
            f"{candidate.form.name} agrees with PyTorch, the largest relative difference is {candidate.gap[1]:.2g}"
        )


def _remove_unfit(stage: Path, forms: Sequence[Form]) -> None:
    """The files of forms that the loaders do not take were only measured."""
    for form in forms:
        if form.format is None and form.path is not None:
            shutil.rmtree(form.path.parent)


def _place(variant: VariantFigures, recommended: str) -> VariantFigures:
    """The recommended form lies at the top, in the slot ``model``."""
    if variant.name != recommended or variant.path is None:
        return variant
    return variant.model_copy(update={"slot": "model", "path": Path(variant.path).name})


def _list_notes(
    subject: Subject, spec: QuantizeSpec, one: Measured, variant: VariantFigures, by_name: Mapping[str, Measured]
) -> list[str]:
    """What a reader of one form's figures should know."""
    notes, reference = list[str](), {timing.batch: timing for timing in reversed(by_name[TORCHSCRIPT].timings)}
    for latency in build_latencies(one, by_name[PARENT], spec):
        if variant.name == TORCHSCRIPT:
            notes.append(describe_latency(latency))
            continue
        notes.append(
            Message(
                "{in_words} TorchScript without 8-bit weights is {speed} it.",
                in_words=describe_latency(latency),
                speed=describe_speed(reference[latency.batch].ratio),
            )
        )
    if variant.batch_dependence.depends:
        notes.append(
            Message(
                "Accuracy was measured in batches of {batch}: the range of a batch decides how inputs are rounded.",
                batch=spec.batches[0],
            )
        )
    trained = subject.manifest.file.size
    if variant.size_bytes >= trained:
        notes.append(
            Message(
                "It is larger than the trained file ({size:,} against {trained:,} bytes): the model is "
                "so small that its code outweighs what smaller weights save.",
                size=variant.size_bytes,
                trained=trained,
            )
        )
    architecture = subject.manifest.architecture
    if variant.precision == "int8" and isinstance(architecture, MlpArchitecture) and not architecture.hidden:
        notes.append(
            Message("The model has no hidden layer: one small product is all that 8-bit weights can speed up.")
        )
    return notes


def _list_document_notes(
    subject: Subject,
    spec: QuantizeSpec,
    inputs: Mapping[str, Path],
    variants: Sequence[VariantFigures],
    sensitivity: Sensitivity | None,
) -> list[str]:
    """What a reader of the trade-off should know."""
    best = next(variant for variant in variants if variant.verdict == "recommended")
    batch, threads = spec.batches[0], spec.threads
    ratio = best.timings[0].ratio
    notes: list[str] = []
    if best.precision == "int8":
        notes.append(
            Message(
                "{name} is recommended: at batch {batch} and {threads} threads {ratio:.2g} times as fast as fp32.",
                name=best.name,
                batch=batch,
                threads=threads,
                ratio=ratio,
            )
        )
    else:
        notes.append(
            Message(
                "No 8-bit form is both within the allowed loss and faster than every form in fp32: {name} is "
                "recommended, {ratio:.2g} times as fast as PyTorch at batch {batch} and {threads} threads.",
                name=best.name,
                batch=batch,
                threads=threads,
                ratio=ratio,
            )
        )
    static = next((variant for variant in variants if variant.calibration_rows), None)
    if static is not None and CALIBRATION not in inputs:
        notes.append(
            Message(
                "The ranges of {name} were taken from {rows} of the held-out rows, without their targets.",
                name=static.name,
                rows=static.calibration_rows,
            )
        )
    if kept_layers := [layer.layer for layer in sensitivity.layers if layer.kept_fp32] if sensitivity else []:
        notes.append(
            Message("These layers stay in fp32, as each alone costs too much: {layers}.", layers=", ".join(kept_layers))
        )
    if dependent := [variant.name for variant in variants if variant.batch_dependence.depends]:
        notes.append(
            Message("The outputs of a row depend on the rest of its batch: {names}.", names=", ".join(dependent))
        )
    notes.append(
        Message(
            "Memory is what opening a form and its first call added to one process: memory that was there already "
            "is used again, so it may be too little."
        )
    )
    return notes


def _build_result(
    document: Tradeoff, best: Measured, spec: QuantizeSpec, engine: str, report: Report
) -> QuantizeResult:
    for note in document.notes:
        report.log(note)
    variant = next(variant for variant in document.variants if variant.verdict == "recommended")
    for timing in variant.timings:
        if timing.threads == spec.threads:
            report.metric(f"latency_ratio_batch_{timing.batch}", timing.ratio)
            report.metric(f"latency_us_batch_{timing.batch}", timing.p50_us)
    report.metric("size_ratio", variant.size_ratio)
    outputs = (
        *list_outputs(document.variants, document.recommended),
        Output("exported", EXPORTED_NAME, MEDIA_TYPES["torchscript"], {"variant": "fp32"}),
        Output("tradeoff", TRADEOFF_NAME, TRADEOFF_TYPE),
    )
    return QuantizeResult(
        outputs=outputs,
        summary={
            "engine": engine,
            "recommended": document.recommended,
            "verdicts": {form.name: form.verdict for form in document.variants},
            "size_bytes": variant.size_bytes,
            "size_ratio": variant.size_ratio,
            "max_abs_error": min(best.gap[0], 1e9),
            "metrics": {metric.name: metric.value for metric in variant.metrics},
            "difference": cast(JSON, {metric.name: metric.value for metric in variant.difference}),
        },
    )
