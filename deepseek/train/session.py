"""A training from its inputs to its outputs, for every family: ranks, checkpoints, the loop, and what became of it."""

import resource
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from pydantic import BaseModel

from deepseek.job import JSON, Report, Result, build_checkpoint_path, stage_outputs
from deepseek.torchrun.launch import run_ranks
from deepseek.torchrun.placement import read_placement
from deepseek.torchrun.rank import is_rank
from deepseek.train.checkpoint import Unusable, compute_identity, read_checkpoint
from deepseek.train.device import Mixed, apply_settings, choose_place
from deepseek.train.learner import Learner
from deepseek.train.loop import Training
from deepseek.train.loop_spec import LoopSpec
from deepseek.train.memory import measure_step_memory
from deepseek.train.replicas import SINGLE, Replicas, join_replicas
from deepseek.train.roles import count_ranks
from deepseek.train.served import train_with_servers

L = TypeVar("L", bound=Learner)
S = TypeVar("S", bound=LoopSpec)
P = TypeVar("P", bound="Prepared[Any]")


@dataclass(frozen=True)
class Prepared(Generic[L]):
    """A learner whose inputs were read; `digests`: input slot -> SHA-256 of its bytes."""

    learner: L
    digests: dict[str, str]
    warnings: list[str]


@dataclass(frozen=True)
class Outcome:
    """A training that is over; its network holds the best weights, on the processor, ready to predict."""

    training: Training
    warnings: list[str]

    def summarize(self) -> dict[str, JSON]:
        """What the summary of every family says."""
        at, parts = self.training.at, self.training.parts
        return {
            "rows": {"training": len(parts.training), "validation": len(parts.validation), "test": len(parts.test)},
            "parameters": sum(p.numel() for p in self.training.network.parameters()),
            "steps": at.step,
            "epochs": at.epoch,
            "best_epoch": at.best_epoch,
            "best_validation_loss": at.best_loss,
            "overflow_steps": at.overflow_steps,
            "warnings": list(self.warnings),
        }


def run_training(
    spec: S,
    *,
    entry: str,
    prepare: Callable[[S, Mapping[str, Path], Report], P],
    write: Callable[[S, P, Outcome, Path, Report], Result],
    inputs: Mapping[str, Path],
    out: Path,
    report: Report,
    mixed: Mixed = "fp16",
) -> Result:
    """Prepare a learner, train it, and let `write` put the model into the folder that becomes `out`.

    With the strategies ddp, fsdp and ps the work is done by ranks, each of which calls the function `entry`
    ("module:function") with the same arguments; rank 0 writes and reports, and the others return a result without
    outputs.

    Goes on from the checkpoint in the slot ``checkpoint`` if there is one, else from that beside `out`, if it is of the
    same spec, inputs and code; removes the latter when done. Whatever `prepare` and the loop raise leaves no `out`, and
    the checkpoint stays. `mixed`: what the precision auto is on a GPU.
    """
    if spec.strategy != "none" and not is_rank():
        placement = read_placement()
        count = count_ranks(spec, placement.nodes, placement.node_rank)
        return run_ranks(entry, cast(BaseModel, spec), processes=count, inputs=inputs, out=out, report=report)
    with join_replicas(spec) as replicas:
        place = choose_place(spec, mixed)
        staged: AbstractContextManager[Path | None] = stage_outputs(out) if replicas.is_first else nullcontext()
        with staged as stage, apply_settings(spec, place), ExitStack() as ending:
            prepared = prepare(spec, inputs, report)
            shared = "" if replicas.is_single else f", in {replicas.world} processes"
            report.log(f"trains on {place.words}, {spec.threads} thread{'s' * (spec.threads > 1)}{shared}")
            is_served = spec.strategy == "ps"
            training = Training(spec, prepared.learner, place, report, SINGLE if is_served else replicas)
            ending.callback(training.close)
            identity = compute_identity(spec, prepared.digests)
            _resume(training, [inputs.get("checkpoint"), build_checkpoint_path(out)], identity, report)
            _agree_on_step(training, replicas)
            measure_step_memory(training)
            if is_served:
                train_with_servers(training, replicas, build_checkpoint_path(out), identity)
            else:
                training.run(build_checkpoint_path(out), identity)
            best = training.collect_best()
            if stage is None:
                return Result(())
            _report_peak_memory(training)
            if training.is_sharded:
                prepared.learner.make_whole()
                training.network = prepared.learner.network
            prepared.learner.load_weights(best)
            warnings = [*prepared.warnings, *_log_outcome(training, report)]
            training.network.cpu().eval()
            result = write(spec, prepared, Outcome(training, warnings), stage, report)
        build_checkpoint_path(out).unlink(missing_ok=True)
    return result


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
    if training.place.scaled:
        report.metric("overflow_steps", at.overflow_steps, at.step)
        report.log(f"{at.overflow_steps:,} steps were left out because a gradient overflowed fp16")
    if at.best_loss is None or at.best_loss < at.first_loss:
        return []
    warning = (
        f"No epoch had a lower validation loss ({at.best_loss:.5g}) than the untrained network ({at.first_loss:.5g}): "
        "there may be nothing to learn here, or max_lr is too high."
    )
    report.log(warning, level="warning")
    return [warning]


def _report_peak_memory(training: Training) -> None:
    """The peak of the device's memory, or of the process: as a metric that no two runs need share."""
    device = training.place.device
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    training.report.metric("system/peak_memory_megabytes", peak / 1e6, training.at.step)
