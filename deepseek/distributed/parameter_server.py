"""The entry point: `ParameterServer(...).fit(...)`."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.distributed.options import (
    LOSSES,
    START_METHODS,
    FitOptions,
    ServerOptions,
    validate_callable,
    validate_choice,
    validate_integer,
)
from deepseek.distributed.report import FitReport, OnEpoch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepseek.distributed.gang import OptimizerState


class ParameterServer:
    """Data-parallel training whose parameters lie on servers, over Arrow Flight.

    `worker_num` processes compute gradients, `server_num` hold a shard of the parameters each. `rpc_timeout`: seconds
    that a worker waits for an answer, in sync mode also for the other workers. `heartbeat_interval`: seconds between
    two signs of life; a worker that misses three is dropped. `tls`: encrypt on one host too; between hosts it is always
    on. `shared_memory`: without TLS, processes of one host pass vectors through memory that both map, and only headers
    through the stream. Raises ArgumentError, a ValueError.
    """

    def __init__(
        self,
        worker_num: int = 4,
        server_num: int = 2,
        rpc_timeout: float = 300,
        heartbeat_interval: float = 10,
        *,
        tls: bool = False,
        shared_memory: bool = True,
    ) -> None:
        self.options = ServerOptions(worker_num, server_num, rpc_timeout, heartbeat_interval, tls, shared_memory)

    def __repr__(self) -> str:
        return f"ParameterServer({', '.join(f'{name}={value!r}' for name, value in vars(self.options).items())})"

    def fit(
        self,
        build_model: "Callable[[], nn.Module]",
        build_batches: Callable[[int, int], Iterable[Any]],
        *,
        loss: "str | Callable[[Any, Any], Tensor]",
        optimizer: str = "sgd",
        lr: float | Callable[[int], float] = 0.1,
        epochs: int = 1,
        mode: str = "sync",
        staleness: int = 4,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        seed: int | None = None,
        checkpoint_every: int = 10,
        checkpoint_dir: str | Path | None = None,
        max_restarts: int = 8,
        threads: int = 1,
        start_method: str | None = None,
        on_epoch: OnEpoch | None = None,
        optimizer_state: "OptimizerState | None" = None,
    ) -> "tuple[nn.Module, FitReport]":
        """Train; returns the trained module and a report.

        `build_model()` returns the module, `build_batches(rank, world)` the batches (inputs, targets) of one worker.
        `loss`: a function of outputs and targets, or "cross_entropy" or "mse". `mode`: "sync" averages the gradients of
        each round as DistributedDataParallel does, "async" applies each one as it comes, "bounded" likewise but no
        worker starts a step more than `staleness` steps ahead of the slowest. `lr`: a number, or a function of the step
        whose gradient is applied, counted from 0 on each worker. `seed`: of the first weights; None takes
        torch's generator as it is. `checkpoint_every`: steps between two checkpoints of a shard; with 1, sync mode
        loses nothing when a server is killed. `max_restarts`: killed processes that are replaced before fit gives up.

        `on_epoch(epoch, loss)` is called in the calling process, in a gang by rank 0, when the first worker ends an
        epoch (counted from 0), with its mean loss so far; once for each, for the last one when the fit ends. In a gang
        the other workers of sync mode wait for it, and the module that build_model has returned there has the
        parameters of the epoch's end. Where it returns True, no further gradient is applied and the fit ends.
        `optimizer_state`, of a gang: what the servers' optimizers begin with, and how on_epoch fetches them.

        Alone it starts the processes itself, by `start_method` "fork" or "spawn". Where RANK, WORLD_SIZE, MASTER_ADDR
        and MASTER_PORT are set, as torchrun does, this process is one of them: the ranks below worker_num are workers
        and return the module, those above are servers and return their module untrained.
        Raises ArgumentError for an argument, FitError if the fit cannot go on.
        """
        import torch

        from deepseek.distributed.worker import Task

        validate_callable("build_model", build_model, "Give a function without arguments that returns an nn.Module.")
        validate_callable("build_batches", build_batches, "Give a function of (rank, world) that returns batches.")
        if on_epoch is not None:
            validate_callable("on_epoch", on_epoch, "Give a function of (epoch, loss), or leave it out.")
        if seed is not None:
            validate_integer("seed", seed, 0, 2**63 - 1, "Leave it out to use torch's generator as it is.")
        if start_method is not None:
            validate_choice("start_method", start_method, START_METHODS)
        options = FitOptions(
            optimizer=optimizer,
            lr=lr,
            epochs=epochs,
            mode=mode,
            staleness=staleness,
            momentum=momentum,
            weight_decay=weight_decay,
            checkpoint_every=checkpoint_every,
            max_restarts=max_restarts,
            threads=threads,
            base_seed=torch.initial_seed() if seed is None else seed,
        )
        task = Task(build_model, build_batches, _get_loss(loss))
        folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            from deepseek.distributed.gang import read_gang, run_gang

            gang = read_gang(os.environ)
            if gang is not None:
                return run_gang(
                    gang,
                    task,
                    self.options,
                    options,
                    checkpoint_dir=folder,
                    on_epoch=on_epoch,
                    optimizer=optimizer_state,
                )
            from deepseek.distributed.local import run_local

            return run_local(
                task, self.options, options, checkpoint_dir=folder, start_method=start_method, on_epoch=on_epoch
            )


def _get_loss(loss: Any) -> Any:
    import torch

    if isinstance(loss, str):
        validate_choice("loss", loss, LOSSES)
        return {"cross_entropy": torch.nn.functional.cross_entropy, "mse": torch.nn.functional.mse_loss}[loss]
    validate_callable("loss", loss, f"Give a function of (outputs, targets), or one of {', '.join(LOSSES)}.")
    return loss
