"""Compile one model: the entry point of the capability."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from deepseek.compile.bundle import BUNDLE_NAME, BUNDLE_TYPE, build_bundle, pack_bundle
from deepseek.compile.compiler import Compiler, find_compiler
from deepseek.compile.proof import (
    describe_no_run,
    list_shape_notes,
    measure_emulated,
    verify_here,
    verify_under_emulation,
    write_empty_figures,
)
from deepseek.compile.spec import CompileSpec
from deepseek.compile.target import Target, parse_target
from deepseek.compile.verification import VERIFICATION_NAME, VERIFICATION_TYPE, Verification
from deepseek.job import JSON, Output, Report, Result, build_checkpoint_path, stage_outputs
from deepseek.messages import Message
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Figures, Latency
from deepseek.models.machine import read_elf_machine
from deepseek.models.manifest import FILE_NAMES, MANIFEST_NAME, MANIFEST_TYPE, MEDIA_TYPES, ModelManifest
from deepseek.models.source import EAGER, Form, Source, predict_in_batches, read_source, write_figures, write_form
from deepseek.models.timing import build_latency, describe_latency, limit_torch_threads, take_turns
from deepseek.models.tvm_library import require_tvm, use_tvm_threads

CONFIDENCE = 0.95
SLOT, SCHEDULES_NAME = "schedules", "schedules.jsonl"
SCHEDULES_TYPE = "application/vnd.plane.schedules+jsonl"
OPTIONAL_SLOTS = (SLOT, "checkpoint")


@dataclass(frozen=True)
class CompileResult(Result):
    """Outputs ``model``, ``manifest``, ``figures``, ``schedules``, ``verification`` and ``bundle``.

    The summary says for what, and how far from PyTorch.
    """

    @property
    def target(self) -> str:
        """The processor that the library is for, as LLVM calls it."""
        return cast(str, self.summary["mcpu"])


def run(spec: CompileSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> CompileResult:
    """Compile the trained model in the slots ``model``, ``manifest`` and ``heldout`` for the target of the spec.

    The slot ``schedules`` may hold what an earlier job measured, and ``checkpoint`` what an earlier attempt of this one
    did: neither is measured again. Writes ``model.so``, ``model.json``, ``figures.json``, ``schedules.jsonl``,
    ``verify.json`` and ``bundle.tar.gz`` into the folder `out`. Equal tiles give equal bytes of the library; which
    tiles are fastest is measured, so that two tunings may choose differently. The manifest names them, and with no
    trials they follow a rule, and all but the figures is the same each time. The outputs are the same sums in any case.
    Code for another machine is not tuned, runs under an emulator where there is one, and is never timed.

    Raises EngineError: ``package_missing`` or ``compiler_missing``, both before any work, ``schedules_unreadable``,
    ``target_unknown``, ``compile_operator``, ``model_format``, ``compiled_differs``, and whatever `read_source` finds
    wrong with a file; then, as after a crash, there is no `out`, and what was measured lies beside it for the next
    attempt.
    """
    report.progress(0, None, "files", stage="read")
    target = parse_target(spec.target)
    require_tvm()
    compiler = find_compiler(target)
    with stage_outputs(out) as stage, limit_torch_threads(spec.threads):
        source = read_source(
            {slot: path for slot, path in inputs.items() if slot not in OPTIONAL_SLOTS},
            "Compiling",
            only_mlp=False,
            length=spec.length,
        )
        use_tvm_threads(spec.threads)
        machine = _build(spec, target, source, inputs, compiler, stage, out, report)
        manifest = write_form(
            stage,
            source,
            variant=f"tvm-{machine['arch']}".lower(),
            format_="tvm",
            spec=spec.model_dump(mode="json"),
            machine=machine,
        )
        verification, figures = _prove(spec, target, source, compiler, manifest, stage, report)
    build_checkpoint_path(out).unlink(missing_ok=True)
    return _build_result(manifest, figures, verification, report)


def _build(
    spec: CompileSpec,
    target: Target,
    source: Source,
    inputs: Mapping[str, Path],
    compiler: Compiler,
    stage: Path,
    out: Path,
    report: Report,
) -> dict[str, Any]:
    """Make the library and the schedules in `stage`; returns what the manifest says of its machine."""
    import tvm

    from deepseek.compile.host import resolve_target
    from deepseek.compile.kernels import describe_input, lower_model, open_book, tune_kernels

    host, path, book = resolve_target(target), stage / FILE_NAMES["tvm"], open_book(inputs, out, report)
    tvm_target, can_measure = host.build_target(spec.threads), target.is_native and not host.find_missing_flags()
    report.progress(0, None, "kernels", stage="lower")
    with tvm.transform.PassContext(opt_level=spec.opt_level):
        module = lower_model(source, inputs["model"], spec.batch, host, tvm_target)
        kernels = tune_kernels(module, host, tvm_target, spec, book, can_measure=can_measure, out=out, report=report)
        report.progress(0, None, "kernels", stage="build")
        executable = tvm.compile(kernels.schedule(module), target=tvm_target)
        with TemporaryDirectory(dir=path.parent) as objects:  # in the staging folder, which goes if this is killed
            executable.export_library(str(path), fcompile=compiler.link, workspace_dir=objects)
    if read_elf_machine(path) != host.arch:
        raise RuntimeError(f"the library is code for {read_elf_machine(path)}, not {host.arch}")
    book.write(stage / SCHEDULES_NAME)
    return {
        "arch": host.arch,
        "mcpu": host.mcpu,
        "triple": host.triple,
        "needs": list(host.needs),
        "target": json.loads(str(tvm_target)),
        "batch": spec.batch,
        "threads": spec.threads,
        **describe_input(source),
        **kernels.describe(),
        "tvm": tvm.__version__,
    }


def _prove(
    spec: CompileSpec,
    target: Target,
    source: Source,
    compiler: Compiler,
    manifest: ModelManifest,
    stage: Path,
    report: Report,
) -> tuple[Verification, Figures]:
    """Make the bundle, run the model where it can run here, compare it with PyTorch, and write what came of it."""
    report.progress(0, None, "files", stage="bundle")
    with TemporaryDirectory(dir=stage) as folder:
        bundle = build_bundle(Path(folder), stage, source, target, compiler, tolerance=spec.tolerance)
        if target.is_native:
            verification, compiled = verify_here(spec, source, manifest, stage)
            figures = _measure(spec, source, manifest, compiled, stage, report) if compiled else None
        else:
            report.progress(0, None, "rows", stage="verify")
            verification, emulation = verify_under_emulation(spec, target, source, manifest, bundle)
            if emulation:
                figures = measure_emulated(spec, source, manifest, emulation, stage, confidence=CONFIDENCE)
            else:
                figures = None
        if figures is None:
            figures = write_empty_figures(source, manifest, stage, why=describe_no_run(verification))
        (stage / VERIFICATION_NAME).write_text(verification.to_json(), encoding="utf-8", newline="")
        pack_bundle(bundle, verification, stage / BUNDLE_NAME)
    return verification, figures


def _measure(
    spec: CompileSpec, source: Source, manifest: ModelManifest, compiled: Form, stage: Path, report: Report
) -> Figures:
    """Measure the library on the held-out rows, and time it against PyTorch."""
    outputs = predict_in_batches(compiled, source.rows, spec.batch, report)
    rows = source.take_batch(spec.batch)
    timing = take_turns(
        {EAGER: source.predictor.bind(rows), manifest.variant: compiled.bind(rows)},
        runs=spec.runs,
        advance=lambda done: report.progress(done, spec.runs, "calls", stage="measure"),
    )
    timed = build_latency(timing, manifest.variant, EAGER, batch=spec.batch, threads=spec.threads)
    return write_figures(
        stage,
        source,
        manifest,
        outputs,
        latency=[timed],
        notes=_list_notes(timed, manifest, source.manifest.file.size),
        confidence=CONFIDENCE,
        seed=spec.seed,
    )


def _list_notes(timed: Latency, manifest: ModelManifest, trained: int) -> list[str]:
    notes = [describe_latency(timed)]
    if not manifest.machine["tuned"]:
        notes.append(
            Message("It is not tuned: not every kernel was measured, and others' tiles go by a rule of thumb.")
        )
    return notes + list_shape_notes(manifest, trained)


def _build_result(
    manifest: ModelManifest, figures: Figures, verification: Verification, report: Report
) -> CompileResult:
    for note in figures.notes:
        slower = bool(figures.latency) and figures.latency[0].ratio < 1 and note is figures.notes[0]
        report.log(note, level="warning" if slower or not verification.ran else "info")
    for timed in figures.latency:
        report.metric(f"latency_ratio_batch_{timed.batch}", timed.ratio)
        report.metric(f"latency_us_batch_{timed.batch}", timed.median_us)
    machine, agreement = manifest.machine, figures.agreement
    return CompileResult(
        outputs=(
            Output("model", FILE_NAMES["tvm"], MEDIA_TYPES["tvm"], {"variant": manifest.variant}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output(SLOT, SCHEDULES_NAME, SCHEDULES_TYPE),
            Output("verification", VERIFICATION_NAME, VERIFICATION_TYPE, verification.as_dict()),
            Output("bundle", BUNDLE_NAME, BUNDLE_TYPE, {"variant": manifest.variant}),
        ),
        summary={
            "variant": manifest.variant,
            "mcpu": machine["mcpu"],
            "batch": machine["batch"],
            "tuned": machine["tuned"],
            "size_bytes": figures.size_bytes,
            "ran": verification.where or "no",
            "largest_difference": verification.largest_difference,
            "max_abs_error": agreement.max_abs_error if agreement else None,
            "metrics": cast(JSON, {metric.name: metric.value for metric in figures.metrics}),
        },
    )
