"""Compile one model: the entry point of the capability."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from deepseek.compile.compiler import Compiler, find_compiler
from deepseek.compile.spec import CompileSpec
from deepseek.job import JSON, Output, Report, Result, stage_outputs
from deepseek.messages import Message
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Figures, Latency
from deepseek.models.manifest import FILE_NAMES, MANIFEST_NAME, MANIFEST_TYPE, MEDIA_TYPES, ModelManifest, require_mlp
from deepseek.models.predictor import open_model, require_tvm, use_tvm_threads
from deepseek.models.source import (
    EAGER,
    Source,
    predict_in_batches,
    read_source,
    require_equal,
    write_figures,
    write_form,
)
from deepseek.models.timing import build_latency, describe_latency, limit_torch_threads, take_turns

if TYPE_CHECKING:
    from deepseek.compile.host import Host

CONFIDENCE = 0.95


@dataclass(frozen=True)
class CompileResult(Result):
    """Outputs ``model``, ``manifest`` and ``figures``; the summary says for what, and how far from PyTorch."""

    @property
    def target(self) -> str:
        """The processor that the library is for, as LLVM calls it."""
        return cast(str, self.summary["mcpu"])


def run(spec: CompileSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> CompileResult:
    """Compile the trained model in the slots ``model``, ``manifest`` and ``heldout`` for this machine's processor.

    Writes ``model.so``, ``model.json`` and ``figures.json`` into the folder `out`. Equal tiles give equal bytes of the
    library; which tiles are fastest is measured, so that two tunings may choose differently. The manifest names them,
    and with no trials they follow a rule, and all but the figures is the same each time. The outputs are the same sums
    in any case.

    Raises EngineError: ``package_missing`` or ``compiler_missing``, both before any work, ``model_format``,
    ``compiled_differs``, and whatever `read_source` finds wrong with a file; then, as after a crash, there is no `out`.
    """
    report.progress(0, None, "files", stage="read")
    require_tvm()
    compiler = find_compiler()
    with stage_outputs(out) as stage, limit_torch_threads(spec.threads):
        source = read_source(inputs, "Compiling")
        use_tvm_threads(spec.threads)
        machine = _build(spec, source, compiler, stage / FILE_NAMES["tvm"], report)
        manifest = write_form(
            stage,
            source,
            variant=f"tvm-{machine['arch']}".lower(),
            format_="tvm",
            spec=spec.model_dump(mode="json"),
            machine=machine,
        )
        figures = _measure(spec, source, manifest, stage, report)
    return _build_result(manifest, figures, report)


def _build(spec: CompileSpec, source: Source, compiler: Compiler, path: Path, report: Report) -> dict[str, Any]:
    """Make the library at `path`; returns what the manifest says of its machine."""
    import tvm

    from deepseek.compile.host import detect_host
    from deepseek.compile.lowering import lower, replace_kernels, widen_network
    from deepseek.compile.tiles import schedule_kernel
    from deepseek.compile.tuning import list_kernels, tune

    host = detect_host()
    target, inputs = host.build_target(spec.threads), require_mlp(source.manifest, "compile").inputs
    report.progress(0, None, "kernels", stage="lower")
    with tvm.transform.PassContext(opt_level=spec.opt_level):
        module = lower(widen_network(source.network, host.lanes), spec.batch, inputs, target)
        kernels = list_kernels(module, host.lanes, threads=spec.threads, seed=spec.seed)
        possible = sum(len(kernel.tiles) for kernel in kernels)
        trials = min(spec.trials, possible)
        report.log(f"{len(kernels)} kernels for {host.mcpu}, {possible} ways to cut them, {trials} to try")

        def advance(done: int) -> None:
            report.progress(done, trials, "trials", stage="tune")

        tried = tune(kernels, target, host.lanes, trials=trials, advance=advance)
        report.progress(0, None, "kernels", stage="build")
        chosen = {kernel.name: schedule_kernel(kernel.function, kernel.best, host.lanes) for kernel in kernels}
        executable = tvm.compile(replace_kernels(module, chosen), target=target)
        with TemporaryDirectory(dir=path.parent) as objects:  # in the staging folder, which goes if this is killed
            executable.export_library(str(path), fcompile=compiler.link, workspace_dir=objects)
    tiles = {kernel.name: str(kernel.best) for kernel in kernels}
    report.log("tiles: " + (", ".join(f"{name} {tile}" for name, tile in tiles.items()) or "none"))
    return _describe_machine(spec, host, target, tried, tiles)


def _describe_machine(
    spec: CompileSpec, host: "Host", target: Any, tried: int, tiles: Mapping[str, str]
) -> dict[str, Any]:
    import tvm

    return {
        "arch": host.arch,
        "mcpu": host.mcpu,
        "needs": list(host.needs),
        "target": json.loads(str(target)),
        "batch": spec.batch,
        "threads": spec.threads,
        "trials": tried,
        "tiles": dict(tiles),  # outputs, rows x columns, that each kernel sums together
        "tvm": tvm.__version__,
    }


def _measure(spec: CompileSpec, source: Source, manifest: ModelManifest, stage: Path, report: Report) -> Figures:
    """Open the library as a user would, compare it with PyTorch, and time it."""
    compiled = open_model(manifest, stage / manifest.file.name)
    worst = require_equal(
        compiled.predict,
        source,
        code="compiled_differs",
        what=f"The {manifest.variant} model",
        tolerance=spec.tolerance,
        seed=spec.seed,
    )
    report.log(f"agrees with PyTorch, the largest relative difference is {worst:.2g}")
    outputs = predict_in_batches(compiled, source.heldout.features, spec.batch, report)
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
    notes, size = [describe_latency(timed)], manifest.file.size
    if not manifest.machine["trials"]:
        notes.append(Message("It is not tuned: no trial was asked for, and the tiles go by a rule of thumb."))
    if timed.batch > 1:
        notes.append(
            Message("A call always computes {batch} rows: fewer take as long, more are split.", batch=timed.batch)
        )
    if size > 1.1 * trained:
        notes.append(
            Message(
                "It is larger than the trained file ({size:,} against {trained:,} bytes): code comes with it.",
                size=size,
                trained=trained,
            )
        )
    return notes


def _build_result(manifest: ModelManifest, figures: Figures, report: Report) -> CompileResult:
    for note in figures.notes:
        report.log(note, level="warning" if figures.latency[0].ratio < 1 and note is figures.notes[0] else "info")
    timed = figures.latency[0]
    report.metric(f"latency_ratio_batch_{timed.batch}", timed.ratio)
    report.metric(f"latency_us_batch_{timed.batch}", timed.median_us)
    machine, agreement = manifest.machine, figures.agreement
    return CompileResult(
        outputs=(
            Output("model", FILE_NAMES["tvm"], MEDIA_TYPES["tvm"], {"variant": manifest.variant}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
        ),
        summary={
            "variant": manifest.variant,
            "mcpu": machine["mcpu"],
            "batch": machine["batch"],
            "size_bytes": figures.size_bytes,
            "max_abs_error": agreement.max_abs_error if agreement else None,
            "metrics": cast(JSON, {metric.name: metric.value for metric in figures.metrics}),
        },
    )
