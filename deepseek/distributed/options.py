"""The arguments of a fit, validated. Light to import."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from deepseek.distributed.errors import ArgumentError

MODES = ("sync", "async", "bounded")
OPTIMIZERS = ("sgd", "adam", "adamw")
LOSSES = ("cross_entropy", "mse")
START_METHODS = ("fork", "spawn")
MISSED_HEARTBEATS = 3
"""A worker that is silent for so many heartbeat intervals is dropped."""


@dataclass(frozen=True)
class ServerOptions:
    """What `ParameterServer` is constructed with."""

    worker_num: int
    server_num: int
    rpc_timeout: float
    heartbeat_interval: float
    tls: bool
    shared_memory: bool = True

    def __post_init__(self) -> None:
        validate_integer("worker_num", self.worker_num, 1, 1024, "Give the number of processes that compute gradients.")
        validate_integer("server_num", self.server_num, 1, 256, "Give the number of processes that hold parameters.")
        validate_number("rpc_timeout", self.rpc_timeout, 0.1, 86_400, "Give seconds; 300 suits most clusters.")
        validate_number(
            "heartbeat_interval", self.heartbeat_interval, 0.05, 3600, "Give seconds; 10 suits most clusters."
        )
        if self.heartbeat_interval > self.rpc_timeout:
            raise ArgumentError(
                "heartbeat_interval",
                self.heartbeat_interval,
                f"at most rpc_timeout, which is {self.rpc_timeout:g} seconds",
                "Lower the interval or raise rpc_timeout.",
            )
        validate_flag("tls", self.tls)
        validate_flag("shared_memory", self.shared_memory)

    @property
    def silence_limit(self) -> float:
        """Seconds after which a silent worker is dropped."""
        return MISSED_HEARTBEATS * self.heartbeat_interval


@dataclass(frozen=True)
class FitOptions:
    """What `fit` is called with, apart from the functions. `base_seed` seeds worker r with base_seed + r."""

    optimizer: str
    lr: float | Callable[[int], float]
    epochs: int
    mode: str
    staleness: int
    momentum: float
    weight_decay: float
    checkpoint_every: int
    max_restarts: int
    threads: int
    base_seed: int

    def __post_init__(self) -> None:
        validate_choice("optimizer", self.optimizer, OPTIMIZERS)
        if not callable(self.lr):
            validate_number("lr", self.lr, 0, 1000, "Give the learning rate, for example 0.1.", above=True)
        validate_integer("epochs", self.epochs, 1, 1_000_000, "Give the number of passes over the batches.")
        validate_choice("mode", self.mode, MODES)
        validate_integer("staleness", self.staleness, 0, 1_000_000, "Give the steps that a worker may be ahead.")
        validate_number("momentum", self.momentum, 0, 0.9999, "Give a momentum such as 0.9, or 0 for none.")
        if self.momentum and self.optimizer != "sgd":
            raise ArgumentError(
                "momentum",
                self.momentum,
                f"0 with optimizer={self.optimizer!r}",
                "Leave momentum out, or choose optimizer='sgd'.",
            )
        validate_number("weight_decay", self.weight_decay, 0, 1, "Give a decay such as 1e-4, or 0 for none.")
        validate_integer("checkpoint_every", self.checkpoint_every, 1, 1_000_000, "Give steps between checkpoints.")
        validate_integer("max_restarts", self.max_restarts, 0, 10_000, "Give how many lost processes are replaced.")
        validate_integer("threads", self.threads, 1, 256, "Give the threads of each worker.")
        validate_integer("seed", self.base_seed, 0, 2**64 - 1, "Leave it out to use torch's current seed.")

    def get_lr(self, step: int) -> float:
        """The learning rate of the gradient of a worker's step `step`, counted from 0."""
        return self.lr(step) if callable(self.lr) else self.lr


def validate_integer(field: str, value: object, low: int, high: int, hint: str) -> None:
    """Raise ArgumentError unless `value` is an int from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ArgumentError(field, value, f"an integer from {low:,} to {high:,}", hint)


def validate_number(field: str, value: object, low: float, high: float, hint: str, *, above: bool = False) -> None:
    """Raise ArgumentError unless `value` is a finite number from `low` to `high`; `above`: greater than `low`."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
        or (above and value == low)
    ):
        limit = f"a number above {low:g} and at most {high:g}" if above else f"a number from {low:g} to {high:g}"
        raise ArgumentError(field, value, limit, hint)


def validate_flag(field: str, value: object) -> None:
    """Raise ArgumentError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ArgumentError(field, value, "True or False", "Give a boolean.")


def validate_choice(field: str, value: object, choices: Collection[str]) -> None:
    """Raise ArgumentError unless `value` is one of `choices`."""
    if value not in tuple(choices):
        allowed = ", ".join(map(repr, choices))
        raise ArgumentError(field, value, f"one of {allowed}", "Choose one of these names.")


def validate_callable(field: str, value: object, hint: str) -> None:
    """Raise ArgumentError unless `value` can be called."""
    if not callable(value):
        raise ArgumentError(field, value, "a function", hint)
