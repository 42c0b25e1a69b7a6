"""Write what was made: a folder for each form, the recommended one at the top, and the document of all of them."""

import os
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deepseek.job import Output
from deepseek.models.evaluate import compare_classes
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Agreement, Allowance, AllowedLoss, Figures, Latency
from deepseek.models.manifest import (
    FILE_NAMES,
    MANIFEST_NAME,
    MANIFEST_TYPE,
    MEDIA_TYPES,
    ModelFile,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.source import EAGER
from deepseek.quantize.candidates import DYNAMIC, METHODS, TORCHSCRIPT
from deepseek.quantize.document import VariantFigures
from deepseek.quantize.measurement import Measured
from deepseek.quantize.rule import compute_loss, is_loss_exceeded
from deepseek.quantize.spec import QuantizeSpec
from deepseek.quantize.subjects import Subject

EXPORTED_NAME = "fp32.pt"
PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "torchao")


def get_slot(name: str) -> str:
    """The output slot of a form's file: its name without hyphens. A register job calls the best one ``int8``."""
    return "int8_dynamic" if name == DYNAMIC else name.replace("-", "_")


def describe_variant(one: Measured, parent: Measured, subject: Subject, allowed: AllowedLoss) -> VariantFigures:
    """The form as the document has it, before the rule has judged it."""
    form, has_file = one.form, one.form.format is not None and one.form.path is not None
    loss = compute_loss(parent.metrics, one.difference, subject.manifest.task)
    return VariantFigures(
        name=form.name,
        precision=form.precision,
        method=METHODS[form.name],
        runtime=form.runtime,
        format="safetensors" if one is parent else form.format,
        slot=get_slot(form.name) if has_file else None,
        path=f"{form.name}/{form.path.name}" if has_file and form.path else None,
        sha256=compute_file_sha256(form.path) if has_file and form.path else None,
        size_bytes=form.size,
        size_ratio=parent.form.size / form.size,
        memory_bytes=one.memory,
        timings=one.timings,
        metrics=one.metrics,
        difference=one.difference,
        loss=loss,
        max_relative_error=min(one.gap[1], 1e9),
        batch_dependence=one.dependence,
        layers_in_fp32=form.layers_in_fp32,
        calibration_rows=form.calibration_rows,
        verdict="parent",
        promotable=not is_loss_exceeded(loss, allowed),
    )


def write_variant(
    folder: Path,
    one: Measured,
    variant: VariantFigures,
    parent: Measured,
    subject: Subject,
    spec: QuantizeSpec,
    allowed: AllowedLoss,
    machine: dict[str, Any],
    notes: Sequence[str],
) -> ModelManifest:
    """Write ``model.json`` and ``figures.json`` beside the file of a form."""
    assert one.form.format is not None  # noqa: S101  only forms with a file are written
    path = folder / FILE_NAMES[one.form.format]
    manifest = subject.manifest.model_copy(
        update={
            "variant": one.form.name,
            "format": one.form.format,
            "file": ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size),
            "parent": subject.digests["manifest"],
            "inputs": subject.digests,
            "spec": spec.model_dump(mode="json"),
            "machine": machine,
        }
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8", newline="")
    is_class = subject.manifest.task == "classification"
    figures = Figures(
        schema="plane/figures/v1",
        variant=one.form.name,
        rows=subject.rows,
        metrics=one.metrics,
        size_bytes=manifest.file.size,
        size_ratio=variant.size_ratio,
        latency=build_latencies(one, parent, spec),
        agreement=Agreement(
            max_abs_error=min(one.gap[0], 1e9),
            max_rel_error=min(one.gap[1], 1e9),
            same_class=compare_classes(one.answers, parent.answers, confidence=spec.confidence) if is_class else None,
            difference=one.difference,
        ),
        allowance=Allowance(loss=variant.loss, allowed=allowed, exceeded=not variant.promotable),
        notes=list(notes),
    )
    (folder / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    return manifest


def build_latencies(one: Measured, parent: Measured, spec: QuantizeSpec) -> list[Latency]:
    """The times at the number of threads that the spec names, against the parent in the same turns."""
    return [
        Latency(
            batch=own.batch,
            threads=own.threads,
            runs=own.runs,
            median_us=own.p50_us,
            against=EAGER,
            against_median_us=theirs.p50_us,
            ratio=own.ratio,
        )
        for own, theirs in zip(one.timings, parent.timings, strict=True)
        if own.threads == spec.threads
    ]


def move_recommended(stage: Path, name: str) -> None:
    """Move the files of the recommended form to the top, where a model folder is looked for."""
    for path in (stage / name).iterdir():
        path.rename(stage / path.name)
    (stage / name).rmdir()


def keep_exported(stage: Path) -> None:
    """``fp32.pt`` at the top is the TorchScript form in fp32, whatever is recommended."""
    source, target = stage / TORCHSCRIPT / FILE_NAMES["torchscript"], stage / EXPORTED_NAME
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def list_outputs(variants: Sequence[VariantFigures], recommended: str) -> list[Output]:
    """The outputs of the recommended form, the export, and of each other form with a file."""
    outputs = list[Output]()
    for variant in variants:
        if variant.slot is None or variant.format is None:
            continue
        at = "" if variant.name == recommended else f"{variant.name}/"
        slots = ("model", "manifest", "figures")
        if at:
            slots = (variant.slot, f"{variant.slot}_manifest", f"{variant.slot}_figures")
        files = [
            Output(slots[0], at + FILE_NAMES[variant.format], MEDIA_TYPES[variant.format], {"variant": variant.name}),
            Output(slots[1], at + MANIFEST_NAME, MANIFEST_TYPE),
            Output(slots[2], at + FIGURES_NAME, FIGURES_TYPE),
        ]
        outputs = outputs + files if at else files + outputs
    return outputs


def describe_machine() -> dict[str, Any]:
    """Where the times were measured."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "arch": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _read_processor(),
        **versions,
    }


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
