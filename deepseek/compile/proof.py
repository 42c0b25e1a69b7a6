"""Whether a compiled model computes what PyTorch does, on the machine that it is for or under its emulation."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.compile.bundle import Bundle
from deepseek.compile.emulation import BundleProgram, RunFailed, find_emulator
from deepseek.compile.spec import CompileSpec
from deepseek.compile.target import Target
from deepseek.compile.verification import HERE, SEEDS, SeedComparison, Verification, compare_seeds
from deepseek.messages import N_, Message
from deepseek.models.figures import FIGURES_NAME, Figures
from deepseek.models.machine import read_cpu_flags
from deepseek.models.manifest import ModelManifest
from deepseek.models.source import Form, Source, require_equal, write_figures

EMULATED_ROWS, EMULATED_VALUES = 16, 1 << 14
"""Rows of a seed that run under emulation, and the numbers in them: an image runs alone."""
EMULATED_SECONDS = 120.0
"""Held-out rows are run under emulation only where they take no longer."""


@dataclass(frozen=True)
class Emulation:
    """A model that ran under emulation, and the milliseconds that one of its rows took there."""

    program: BundleProgram
    row_ms: float


def verify_here(
    spec: CompileSpec, source: Source, manifest: ModelManifest, stage: Path
) -> tuple[Verification, Form | None]:
    """Open the library as a server would, and compare it with PyTorch on the held-out rows and on those of each seed.

    Raises EngineError ``compiled_differs``.
    """
    missing = sorted(set(manifest.machine["needs"]) - read_cpu_flags())
    if missing:
        reason = Message(N_("The processor of this machine lacks {missing}."), missing=", ".join(missing))
        return _build_verification(spec, manifest, reason=reason), None
    compiled = source.open_form(manifest, stage / manifest.file.name)
    what = f"The {manifest.variant} model"
    require_equal(
        compiled.predict, source, code="compiled_differs", what=what, tolerance=spec.tolerance, seed=spec.seed
    )
    batches = [(seed, source.generate_rows(seed)) for seed in _list_seeds(spec)]
    seeds = compare_seeds(compiled.predict, source.predictor.predict, batches, what=what, tolerance=spec.tolerance)
    return _build_verification(spec, manifest, where=HERE, seeds=seeds), compiled


def verify_under_emulation(
    spec: CompileSpec, target: Target, source: Source, manifest: ModelManifest, bundle: Bundle
) -> tuple[Verification, Emulation | None]:
    """Run the program of the bundle under qemu, and compare it with PyTorch on the rows of each seed.

    Raises EngineError ``compiled_differs``.
    """
    emulator = find_emulator(target)
    fault = bundle.fault or (emulator if isinstance(emulator, Message) else None)
    if fault or isinstance(emulator, Message):
        return _build_verification(spec, manifest, reason=fault), None
    program = BundleProgram(bundle, emulator)
    batches = [(seed, _take_few(source.generate_rows(seed))) for seed in _list_seeds(spec)]
    try:
        seeds = compare_seeds(
            program.predict,
            source.predictor.predict,
            batches,
            what=f"The {manifest.variant} model",
            tolerance=spec.tolerance,
        )
    except RunFailed as error:
        return _build_verification(spec, manifest, reason=error.reason), None
    row_ms = program.milliseconds / sum(len(rows) for _, rows in batches)
    return _build_verification(spec, manifest, where=emulator.where, seeds=seeds), Emulation(program, row_ms)


def measure_emulated(
    spec: CompileSpec, source: Source, manifest: ModelManifest, emulation: Emulation, stage: Path, *, confidence: float
) -> Figures:
    """Write the figures on the held-out rows, without a latency; without metrics where emulation gives no outputs."""
    rows, where = source.rows, emulation.program.emulator.where
    if len(rows) * emulation.row_ms > 1e3 * EMULATED_SECONDS:
        why = Message(N_("The held-out rows were not measured: under {where} they take too long."), where=where)
        return write_empty_figures(source, manifest, stage, why=why)
    try:
        outputs = emulation.program.predict(rows)
    except RunFailed as error:
        why = Message(
            N_("The held-out rows were not measured: under {where} they failed. {why}"), where=where, why=error.reason
        )
        return write_empty_figures(source, manifest, stage, why=why)
    return write_figures(
        stage,
        source,
        manifest,
        outputs,
        latency=[],
        notes=[
            Message(
                N_("It ran under {where} only, {row_ms:.2g} ms a row: that says nothing of the device's latency."),
                where=where,
                row_ms=emulation.row_ms,
            ),
            *list_target_notes(manifest),
            *list_shape_notes(manifest, source.manifest.file.size),
        ],
        confidence=confidence,
        seed=spec.seed,
    )


def describe_no_run(verification: Verification) -> Message:
    """Why there is nothing to measure."""
    return Message(N_("It could not run here, so that nothing was measured: {why}"), why=verification.reason)


def write_empty_figures(source: Source, manifest: ModelManifest, stage: Path, *, why: Message) -> Figures:
    """Write figures without metrics: the size, and why nothing was measured."""
    figures = Figures(
        schema="plane/figures/v1",
        variant=manifest.variant,
        rows=source.count,
        metrics=[],
        size_bytes=manifest.file.size,
        size_ratio=source.manifest.file.size / manifest.file.size,
        notes=[why, *list_target_notes(manifest), *list_shape_notes(manifest, source.manifest.file.size)],
    )
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    return figures


def list_target_notes(manifest: ModelManifest) -> list[str]:
    """What to know of code for another machine."""
    return [
        Message(
            N_("It is not tuned for {triple}, which only such a machine can do: measure it there before choosing it."),
            triple=manifest.machine["triple"],
        )
    ]


def list_shape_notes(manifest: ModelManifest, trained: int) -> list[str]:
    """What the fixed shape and the size of the library mean to a user."""
    notes: list[str] = []
    if "length" in manifest.machine:
        notes.append(
            Message(
                N_("It takes texts of {length} tokens at once: shorter ones take as long, longer ones are cut."),
                length=manifest.machine["length"],
            )
        )
    batch, size = manifest.machine["batch"], manifest.file.size
    if batch > 1:
        notes.append(
            Message(N_("A call always computes {batch} rows: fewer take as long, more are split."), batch=batch)
        )
    if size > 1.1 * trained:
        notes.append(
            Message(
                N_("It is larger than the trained file ({size:,} against {trained:,} bytes): code comes with it."),
                size=size,
                trained=trained,
            )
        )
    return notes


def _take_few(rows: Any) -> Any:
    """The first of `rows`, as many as emulation takes in seconds."""
    return rows[: max(1, min(EMULATED_ROWS, EMULATED_VALUES // math.prod(rows.shape[1:])))]


def _list_seeds(spec: CompileSpec) -> list[int]:
    return [spec.seed + number for number in SEEDS]


def _build_verification(
    spec: CompileSpec,
    manifest: ModelManifest,
    *,
    where: str = "",
    seeds: list[SeedComparison] | None = None,
    reason: str | None = None,
) -> Verification:
    seeds = seeds or []
    return Verification(
        schema="plane/verification/v1",
        target=spec.target,
        triple=manifest.machine["triple"],
        arch=manifest.machine["arch"],
        ran=bool(where),
        where=where,
        emulated=bool(where) and where != HERE,
        tolerance=spec.tolerance,
        largest_difference=max((item.max_abs_difference for item in seeds), default=None),
        largest_relative_difference=max((item.max_rel_difference for item in seeds), default=None),
        seeds=seeds,
        reason=reason or "",
    )
