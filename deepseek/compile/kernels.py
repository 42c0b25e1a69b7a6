"""From a trained model to scheduled kernels: lowered, given what is known of their tiles, and tuned."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import tvm

from deepseek.compile.lowering import add_assets, lower, replace_kernels
from deepseek.compile.schedules import SLOT, ScheduleBook, name_target
from deepseek.compile.spec import CompileSpec
from deepseek.compile.tiles import Tile, count_registers, schedule_kernel
from deepseek.compile.tuning import Budget, Kernel, Tuned, apply_schedules, is_tuned, list_kernels, list_trials, tune
from deepseek.job import EngineError, Report, build_checkpoint_path
from deepseek.messages import Message
from deepseek.models.assets import encode_assets, read_assets
from deepseek.models.source import Source

if TYPE_CHECKING:
    from deepseek.compile.host import Host

CHECKPOINT = "checkpoint"
_GIGA = 1e9


@dataclass(frozen=True)
class Scheduled:
    """The kernels of a module, each with its tiles. `tuned`: something was measured of each, on the very target."""

    kernels: list[Kernel]
    lanes: int
    trials: Tuned
    tuned: bool

    def schedule(self, module: Any) -> Any:
        """`module` with its products cut into the best tiles."""
        chosen = {kernel.name: schedule_kernel(kernel.function, kernel.best, self.lanes) for kernel in self.kernels}
        return replace_kernels(module, chosen)

    def describe(self) -> dict[str, Any]:
        """What a manifest says of them."""
        return {
            "trials": self.trials.done,
            "tuned": self.tuned,
            "tiles": {kernel.name: str(kernel.best) for kernel in self.kernels},  # outputs summed together
        }


def lower_model(source: Source, model: Path, batch: int, host: "Host", target: Any) -> Any:
    """The module of a trained model for `batch` rows; `model` is its file, whose assets go along.

    Raises EngineError ``compile_operator``.
    """
    example = torch.from_numpy(source.take_batch(batch))
    module = lower(source.network, example, target, host.lanes)
    assets = read_assets(model) if source.manifest.task == "entities" else None
    return module if assets is None else add_assets(module, encode_assets(assets))


def describe_input(source: Source) -> dict[str, Any]:
    """What the library takes of one row, where the architecture does not say: a text has a fixed number of tokens."""
    return {"length": source.rows.shape[1]} if source.manifest.task == "entities" else {}


def open_book(inputs: Mapping[str, Path], out: Path, report: Report) -> ScheduleBook:
    """The schedules that the job was given, and those that an earlier attempt left.

    Raises EngineError ``schedules_unreadable`` for a file in the slot ``schedules`` that is none.
    """
    book = ScheduleBook(tvm.__version__)
    beside = build_checkpoint_path(out)
    earlier = [path for path in (inputs.get(CHECKPOINT), beside) if path is not None and path.exists()]
    for path in [*([inputs[SLOT]] if SLOT in inputs else []), *earlier]:
        before = len(book)
        try:
            skipped = book.read(path)
        except EngineError as error:
            if path not in earlier:
                raise
            report.log(
                Message("The checkpoint {path_name} is not used: {why}", path_name=path.name, why=error.message),
                level="warning",
            )
            continue
        for sentence in skipped.describe(path, book.version):
            report.log(sentence, level="warning")
        report.log(
            f"{len(book) - before} schedules {'of an earlier attempt' if path in earlier else 'given'} are known"
        )
    return book


def tune_kernels(
    module: Any,
    host: "Host",
    target: Any,
    spec: CompileSpec,
    book: ScheduleBook,
    *,
    can_measure: bool,
    out: Path,
    report: Report,
) -> Scheduled:
    """Choose the tiles of the module's kernels: by what `book` knows, and by trials where this machine can do them.

    After each trial the book is on the disk, beside `out`, and announced as a checkpoint.
    """
    registers = count_registers(host.arch, host.lanes)
    kernels = list_kernels(module, host.lanes, threads=spec.threads, seed=spec.seed, registers=registers)
    name = name_target(_read_target(target))
    apply_schedules(kernels, book, name)
    trials = list_trials(kernels, spec.trials) if can_measure else []
    possible = sum(len(kernel.tiles) for kernel in {kernel.product.key: kernel for kernel in kernels}.values())
    report.log(f"{len(kernels)} kernels for {host.mcpu}, {possible} ways to cut them, {len(trials)} to try")
    if not can_measure:
        report.log(Message("Nothing is measured: this machine cannot run the code that it makes."), level="warning")
        return Scheduled(kernels, host.lanes, Tuned(0, 0), tuned=False)
    path, fastest = build_checkpoint_path(out), dict[str, float]()

    def keep(done: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        book.write(path)
        report.checkpoint(path, done)

    def advance(done: int, kernel: Kernel, tile: Tile) -> None:
        report.progress(done, len(trials), "trials", stage="tune")
        seconds, key = kernel.seconds[tile], kernel.product.key
        if seconds < fastest.get(key, min((best for at, best in kernel.seconds.items() if at != tile), default=1e9)):
            rate = 2 * kernel.product.work / seconds / _GIGA
            report.log(f"best so far of {key}: {tile}, {seconds * 1e3:.3g} ms, {rate:.0f} GFLOP/s")
            fastest[key] = seconds

    result = tune(
        kernels,
        target,
        host.lanes,
        budget=Budget(spec.trials, spec.seconds),
        book=book,
        target_name=name,
        keep=keep,
        advance=advance,
    )
    if result.known:
        report.log(f"{result.known} of {len(trials)} trials were known already and not measured again")
    if result.done < len(trials):
        report.log(Message("The {seconds} seconds for tuning are over.", seconds=spec.seconds), level="warning")
    chosen = ", ".join(f"{kernel.name} {kernel.best}" for kernel in kernels) or "none"
    report.log(f"tiles: {chosen}")
    return Scheduled(kernels, host.lanes, result, is_tuned(kernels))


def _read_target(target: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(str(target)))
