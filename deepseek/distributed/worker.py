"""What a worker does: compute the gradient of a batch, push it to every shard, go on with the answered parameters."""

import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.distributed.directory import Directory
from deepseek.distributed.errors import ArgumentError, FitError
from deepseek.distributed.flight_client import Heartbeats, ShardClient
from deepseek.distributed.layout import ParameterLayout, view_array
from deepseek.distributed.memory import share_vector
from deepseek.distributed.options import FitOptions, ServerOptions
from deepseek.distributed.wire import Vector, build_batches

BuildModel = Callable[[], nn.Module]
BuildBatches = Callable[[int, int], Iterable[Any]]
Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Task:
    """The caller's functions: the same in every process of a fit."""

    build_model: BuildModel
    build_batches: BuildBatches
    loss: Loss


class Worker:
    """One rank of the workers. After `train` its module has the parameters of the last answer."""

    def __init__(
        self,
        task: Task,
        rank: int,
        session: str,
        server: ServerOptions,
        options: FitOptions,
        directory: Directory,
        token: str,
        layout: ParameterLayout,
        on_epoch_end: Callable[[int], bool] | None = None,
    ) -> None:
        self.task, self.rank, self.server, self.options, self.layout = task, rank, server, options, layout
        self.clients = [ShardClient(index, directory, server, token) for index in range(server.server_num)]
        self._on_epoch_end = on_epoch_end
        self._hello = {"rank": rank, "session": session, "layout": layout.digest}
        self._hellos = [self._hello] * len(self.clients)
        self._body = json.dumps({"rank": rank, "session": session}).encode()
        self._heartbeats = Heartbeats(self.clients, server, rank, session)

    def train(self) -> None:
        """Take part until the last batch of the last epoch."""
        torch.manual_seed((self.options.base_seed + self.rank) % 2**63)
        flat = self.layout.bind()
        parameters = [view_array(flat[shard]) for shard in self.layout.shards]
        memory = share_vector(flat.numel()) if self.server.shared_memory else None
        gradient = torch.zeros_like(flat) if memory is None else memory.tensor
        if memory is not None:
            starts = [shard.start for shard in self.layout.shards]
            self._hellos = [self._hello | {"memory": memory.claim | {"start": start}} for start in starts]
        batches = [build_batches(view_array(gradient[shard])) for shard in self.layout.shards]
        self._heartbeats.start()
        try:
            clock = max(self._on_all(lambda i: self.clients[i].attach(self._hellos[i], parameters[i])))
            self._load_state()
            finished_epoch = None
            for epoch, step, batch in self._iterate_steps(clock):
                if finished_epoch is not None and epoch != finished_epoch:
                    self._put_state()
                    if self._on_epoch_end is not None and self._on_epoch_end(epoch):
                        self._end_fit()
                if any(client.is_ending for client in self.clients):
                    break
                finished_epoch = epoch
                loss = self._compute_gradient(batch, gradient, epoch, step)
                self._exchange({"step": step, "epoch": epoch, "loss": loss}, batches, parameters)
            self._put_state()
            for client in self.clients:
                client.call("leave", self._body)
        finally:
            self._heartbeats.end()
            for client in self.clients:
                client.close()

    def _end_fit(self) -> None:
        """Let every shard apply no further gradient, and every worker leave."""
        for client in self.clients:
            client.call("end", self._body)
            client.is_ending = True

    def _iterate_steps(self, start: int) -> Iterator[tuple[int, int, Any]]:
        """(epoch, step, batch) from step `start` on. Batches that can be iterated but once are built for each epoch."""
        world = self.server.worker_num
        source: Any = self._build_batches()
        step = 0
        for epoch in range(self.options.epochs):
            if epoch > 0 and iter(source) is source:
                source = self._build_batches()
            if hasattr(source, "__len__") and 0 < step + len(source) <= start:
                step += len(source)
                continue
            before = step
            for batch in source:
                if step >= start:
                    yield epoch, step, batch
                step += 1
            if step == before:
                raise FitError(
                    f"build_batches({self.rank}, {world}) yields no batch in epoch {epoch + 1}. "
                    "Give every worker at least one, or lower worker_num."
                )

    def _build_batches(self) -> Any:
        source = self.task.build_batches(self.rank, self.server.worker_num)
        if not hasattr(source, "__iter__"):
            raise FitError(
                f"build_batches({self.rank}, {self.server.worker_num}) returns {type(source).__name__}, "
                "which cannot be iterated. Return a list, a generator or a DataLoader of (inputs, targets)."
            )
        return source

    def _compute_gradient(self, batch: Any, gradient: Tensor, epoch: int, step: int) -> float:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise FitError(
                f"build_batches yields {type(batch).__name__} at step {step}; yield pairs (inputs, targets)."
            )
        inputs, targets = batch
        loss = self.task.loss(_call_module(self.layout.module, inputs), targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise FitError("loss must return one number as a tensor that depends on the parameters; average over rows.")
        value = loss.item()
        if not math.isfinite(value):
            raise FitError(
                f"The loss of worker {self.rank} is {value} in epoch {epoch + 1}, step {step}. "
                f"Lower lr, which is {self.options.get_lr(step):g}, or check the inputs for missing values."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        self.layout.move_gradients(gradient)
        return value

    def _exchange(self, header: dict[str, Any], batches: Sequence[list[Any]], parameters: Sequence[Vector]) -> None:
        for client, own in zip(self.clients, batches, strict=True):
            client.send(own, header)
        for client, hello, own, out in zip(self.clients, self._hellos, batches, parameters, strict=True):
            client.receive(hello, own, header, out)

    def _load_state(self) -> None:
        self.layout.load_state(self.clients[0].call("get_state", self._body))

    def _put_state(self) -> None:
        data = self.layout.dump_state()
        if data:
            self.clients[0].call("put_state", self._body + b"\n" + data)

    def _on_all(self, call: Callable[[int], int]) -> list[int]:
        """Call with each server's index at the same time: they may start at different times."""
        results: list[int | BaseException] = [0] * len(self.clients)

        def run(index: int) -> None:
            try:
                results[index] = call(index)
            except BaseException as error:  # noqa: BLE001  is raised below
                results[index] = error

        threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(self.clients))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, int)]


def build_layout(task: Task, server_num: int) -> ParameterLayout:
    """Build the caller's module and lay its parameters out. Raises ArgumentError."""
    module = task.build_model()
    if not isinstance(module, nn.Module):
        raise ArgumentError(
            "build_model",
            f"a function that returns {type(module).__name__}",
            "a function that returns an nn.Module",
            "Return the module itself.",
        )
    return ParameterLayout(module, server_num)


def _call_module(module: nn.Module, inputs: Any) -> Any:
    """Call the module: a tuple or list of inputs as arguments, a dict as named ones."""
    if isinstance(inputs, tuple | list):
        return module(*inputs)
    return module(**inputs) if isinstance(inputs, dict) else module(inputs)
