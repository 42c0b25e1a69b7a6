"""One shard of the parameters, and the rules by which the gradients of the workers change it. Knows no network.

Every push has a step number. In sync mode a shard collects the gradients of one round after the other and completes a
round when no worker can contribute to it any more; a push for a completed round is dropped and answered at once. So
shards that disagree for a moment about who takes part never wait for each other: the shard with the lowest round waits
only for workers that have every answer they need for it.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from deepseek.distributed.checkpoint import (
    ShardCheckpoint,
    get_checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from deepseek.distributed.errors import SessionReplacedError
from deepseek.distributed.memory import share_vector
from deepseek.distributed.optimizers import ShardOptimizer
from deepseek.distributed.options import FitOptions, ServerOptions
from deepseek.distributed.report import compute_mean_losses

MAX_EVENTS = 1000
_CHECK_SECONDS = 1.0


class DroppedError(Exception):
    """The session is not a member: the worker may attach again."""


@dataclass(frozen=True)
class Push:
    """The gradient of one batch. `step`: its number on this rank; `loss`: of the batch, in `epoch`."""

    step: int
    epoch: int
    loss: float
    gradient: Tensor


@dataclass
class _Member:
    session: str
    clock: int  # the next step that it pushes
    last_seen: float = field(default_factory=time.monotonic)
    pending: Push | None = None


class Shard:
    """A shard and its workers. Every method may be called by many threads."""

    def __init__(self, folder: Path, index: int, server: ServerOptions, options: FitOptions) -> None:
        """Load the shard from its checkpoint: the first one is the initial state."""
        checkpoint = read_checkpoint(get_checkpoint_path(folder, index))
        self.memory = share_vector(checkpoint.parameters.numel()) if server.shared_memory else None
        self.parameters = checkpoint.parameters
        if self.memory is not None:
            self.parameters = self.memory.tensor.copy_(checkpoint.parameters)
        self._mean = torch.empty_like(self.parameters) if options.mode == "sync" else torch.empty(0)
        self.progress = checkpoint.progress
        self.server, self.options = server, options
        self._path = get_checkpoint_path(folder, index)
        self._optimizer = ShardOptimizer(self.parameters, options)
        self._optimizer.load_state(checkpoint.optimizer)
        self._changed = threading.Condition()
        self._members: dict[int, _Member] = {}
        self._stopped = False
        self.silent_sessions: list[str] = []  # that were dropped for want of heartbeats
        absent = set(range(server.worker_num)) - {*self.progress.done, *self.progress.lost}
        # Ranks that take part and have not attached yet, and until when they are waited for.
        patience = server.silence_limit if self.progress.steps else server.rpc_timeout
        self._awaited = dict.fromkeys(absent, time.monotonic() + patience)
        self._last_active = time.monotonic()

    # Membership

    def attach(self, rank: int, session: str, clock: int | None) -> int:
        """Let a worker take part; returns the step that it should push next.

        `clock`: the step of a worker that lost its connection and still has the gradient of it; None for a new one.
        A new worker in sync mode enters the round that is being collected, in async mode it goes on where its
        predecessor stopped, and in bounded mode where the slowest worker is, so that nobody waits for it.
        """
        with self._changed:
            if rank in self.progress.done:
                raise SessionReplacedError(f"Rank {rank} has already finished this fit.")
            was_lost = rank not in self._awaited
            self._record_attachment(rank, session, is_new=clock is None)
            own = self.progress.clocks.get(rank, 0)
            if self.options.mode == "sync":
                current = self.progress.round
                start = current if clock is None else max(clock, current)
            else:
                if clock is None and was_lost and self.options.mode == "bounded":
                    own = max(own, min((member.clock for member in self._members.values()), default=0))
                start = current = own
            self._members[rank] = _Member(session, start)
            self._changed.notify_all()
            self._complete_rounds()
            return current

    def leave(self, rank: int, session: str) -> None:
        """Let a worker that has pushed everything go, also if this shard came back since and does not know it yet."""
        with self._changed:
            self.validate_session(rank, session)
            self._members.pop(rank, None)
            self._awaited.pop(rank, None)
            if rank in self.progress.lost:
                self.progress.lost.remove(rank)
            if rank not in self.progress.done:
                self.progress.done.append(rank)
            self._last_active = time.monotonic()
            self._complete_rounds()
            self._changed.notify_all()
            self.save()

    def beat(self, rank: int, session: str) -> None:
        """Record that a worker lives."""
        with self._changed:
            self._get_member(rank, session).last_seen = time.monotonic()

    def detach(self, rank: int, session: str, reason: str) -> None:
        """Drop a worker whose connection is gone, if it is still a member under this session."""
        with self._changed:
            member = self._members.get(rank)
            if member is not None and member.session == session:
                self._drop(rank, reason)

    def drop_silent(self) -> None:
        """Drop the workers that have missed their heartbeats, and stop waiting for those that never came."""
        with self._changed:
            now = time.monotonic()
            limit = self.server.silence_limit
            for rank in [rank for rank, member in self._members.items() if now - member.last_seen > limit]:
                self.silent_sessions.append(self._members[rank].session)
                self._drop(rank, f"no heartbeat for {limit:g} s")
            for rank in [rank for rank, until in self._awaited.items() if now > until]:
                self._drop(rank, "did not connect")

    @property
    def is_finished(self) -> bool:
        """Whether somebody has finished and nobody is left who could still push."""
        with self._changed:
            return bool(self.progress.done) and not self._members and not self._awaited

    @property
    def abandoned_seconds(self) -> float:
        """For how long there has been no worker at all; 0 while there is one, or one is waited for."""
        with self._changed:
            if self._members or self._awaited or self.progress.done:
                return 0.0
            return time.monotonic() - self._last_active

    def stop(self) -> None:
        """Let every waiting call return, and save."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self.save()

    # Gradients

    def push(self, rank: int, session: str, push: Push, is_cancelled: Callable[[], bool]) -> int:
        """Apply a gradient by the rules of the mode; returns the worker's clock when it may start its next step."""
        with self._changed:
            member = self._get_member(rank, session)
            member.last_seen = time.monotonic()
            if self.progress.is_ending:
                return push.step + 1
            if self.options.mode == "sync":
                return self._push_to_round(rank, member, push, is_cancelled)
            if push.step >= self.progress.clocks.get(rank, 0):  # else it was applied before the connection was lost
                self._record_loss(push)
                member.clock = self.progress.clocks[rank] = push.step + 1
                self._apply(push.gradient, push.step)
                self._changed.notify_all()
            if self.options.mode == "bounded":
                self._wait(rank, member, lambda: self._lead_of(member) <= self.options.staleness, is_cancelled)
            self.progress.max_lead = max(self.progress.max_lead, self._lead_of(member))
            return self.progress.clocks[rank]

    def _push_to_round(self, rank: int, member: _Member, push: Push, is_cancelled: Callable[[], bool]) -> int:
        member.clock = max(member.clock, push.step)
        if push.step >= self.progress.round:
            member.pending = push
            self._complete_rounds()
            self._wait(rank, member, lambda: self.progress.round > push.step, is_cancelled)
        return self.progress.round

    def _complete_rounds(self) -> None:
        """Complete the current round, and those after it, as long as no worker can still contribute to it."""
        if self.options.mode != "sync" or self._awaited or self.progress.is_ending:
            return
        while self._members:
            number = self.progress.round
            members = sorted(self._members.items())
            if any(member.pending is None and member.clock <= number for _, member in members):
                return
            pushes = {rank: m.pending for rank, m in members if m.pending is not None and m.pending.step == number}
            if pushes:
                self._complete_round(pushes)
            else:  # this shard was restored to a state from before the step that all workers are at
                self.progress.round = min(member.clock for _, member in members)
            self._changed.notify_all()

    def _complete_round(self, pushes: dict[int, Push]) -> None:
        gradients = [push.gradient for push in pushes.values()]
        mean = gradients[0]
        if len(gradients) > 1:
            mean = torch.add(gradients[0], gradients[1], out=self._mean)
            for gradient in gradients[2:]:  # in the order of the ranks, so that equal fits have equal sums
                mean.add_(gradient)
            mean.div_(len(gradients))
        self.progress.round += 1
        for rank, push in pushes.items():
            self._members[rank].pending = None
            self._members[rank].clock = self.progress.clocks[rank] = push.step + 1
            self._record_loss(push)
        self._apply(mean, self.progress.round - 1)

    def _apply(self, gradient: Tensor, step: int) -> None:
        with torch.no_grad():
            self._optimizer.step(gradient, self.options.get_lr(step))
        self.progress.steps += 1
        if self.progress.steps % self.options.checkpoint_every == 0:
            self.save()

    def _record_loss(self, push: Push) -> None:
        total = self.progress.losses.setdefault(push.epoch, [0.0, 0])
        total[0] += push.loss
        total[1] += 1

    def _lead_of(self, member: _Member) -> int:
        clocks: Iterable[int] = [m.clock for m in self._members.values()]
        clocks = [*clocks, *(self.progress.clocks.get(rank, 0) for rank in self._awaited)]
        return member.clock - min(clocks, default=member.clock)

    def _wait(self, rank: int, member: _Member, is_due: Callable[[], bool], is_cancelled: Callable[[], bool]) -> None:
        while not is_due() and not self.progress.is_ending:
            if self._stopped or is_cancelled() or self._members.get(rank) is not member:
                raise DroppedError(f"Rank {rank} is no longer a member.")
            self._changed.wait(_CHECK_SECONDS)

    def end(self) -> None:
        """Apply no further gradient: each worker is told so in its next answer, and leaves."""
        with self._changed:
            self.progress.is_ending = True
            self._changed.notify_all()
            self.save()

    def dump_optimizer(self) -> dict[str, Tensor]:
        """The optimizer's tensors of this shard."""
        with self._changed:
            return {name: tensor.clone() for name, tensor in self._optimizer.dump_state().items()}

    def save(self) -> None:
        """Write the checkpoint."""
        with self._changed:
            write_checkpoint(self._path, ShardCheckpoint(self.parameters, self._optimizer.dump_state(), self.progress))

    def get_losses(self) -> list[float]:
        """Mean loss of each epoch so far."""
        with self._changed:
            return compute_mean_losses(self.progress.losses)

    def record_event(self, text: str) -> None:
        """Add a line to the report."""
        if len(self.progress.events) < MAX_EVENTS:
            self.progress.events.append(text)

    def validate_session(self, rank: int, session: str) -> None:
        """Raise SessionReplacedError if another process has taken over the rank."""
        with self._changed:
            member = self._members.get(rank)
            if member is not None and member.session != session:
                raise SessionReplacedError(f"Another process has taken over rank {rank}.")

    def _get_member(self, rank: int, session: str) -> _Member:
        self.validate_session(rank, session)
        if rank not in self._members:
            raise DroppedError(f"Rank {rank} is not a member.")
        return self._members[rank]

    def _record_attachment(self, rank: int, session: str, *, is_new: bool) -> None:
        before = self._members.get(rank)
        if before is not None and before.session != session and not is_new:
            raise SessionReplacedError(f"Another process has taken over rank {rank}.")
        if is_new and (before is not None or rank in self.progress.lost or rank in self.progress.clocks):
            self.record_event(f"worker {rank} was replaced at step {self.progress.steps}")
        if rank in self.progress.lost:
            self.progress.lost.remove(rank)
        self._awaited.pop(rank, None)
        self._last_active = time.monotonic()

    def _drop(self, rank: int, reason: str) -> None:
        self._members.pop(rank, None)
        self._awaited.pop(rank, None)
        if rank not in self.progress.lost:
            self.progress.lost.append(rank)
        self.record_event(f"worker {rank} was dropped at step {self.progress.steps}: {reason}")
        self._last_active = time.monotonic()
        self._complete_rounds()
        self._changed.notify_all()
