"""Where and in which numbers a training computes, and torch's settings while it does."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.train.loop_spec import LoopSpec

Mixed = Literal["fp16", "bf16"]
"""What precision auto means on a GPU, as a family of models chooses."""
AMPERE = (8, 0)
"""Compute capability of the first GPUs that multiply in bf16; torch emulates it on older ones, slowly."""


@dataclass(frozen=True)
class Place:
    """`dtype`: of mixed precision, None for float32 throughout; `scaled`: whether losses are scaled, as fp16 needs."""

    device: torch.device
    dtype: torch.dtype | None

    @property
    def scaled(self) -> bool:
        return self.dtype == torch.float16

    @property
    def numbers(self) -> str:
        """The precision's name: fp32, fp16 or bf16."""
        return {None: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}[self.dtype]

    @property
    def words(self) -> str:
        return f"{self.device.type} in {self.numbers}"


def choose_place(spec: LoopSpec, mixed: Mixed = "fp16") -> Place:
    """The place that `spec` asks for. `mixed`: what the family's precision auto is on a GPU; bf16 needs one that
    multiplies in it (Ampere or later), else it is fp16.

    Raises EngineError ``device_unavailable`` or ``precision_unavailable``.
    """
    gpu = torch.cuda.is_available()
    if spec.device == "cuda" and not gpu:
        raise EngineError(
            "device_unavailable",
            "The spec asks for a GPU, and torch finds none here.",
            field="/device",
            value=spec.device,
            limit="auto, cpu",
            hint=N_("Train on the processor, or run this where a GPU, its driver and a CUDA build of torch are."),
        )
    device = torch.device("cuda", torch.cuda.current_device()) if gpu and wants_gpu(spec) else torch.device("cpu")
    precision = spec.precision
    if precision == "auto":
        precision = _choose_mixed(mixed, device) if device.type == "cuda" else "fp32"
        if precision == "fp16" and spec.strategy == "fsdp":
            precision = "fp32"  # parts of weights go with no loss scaling
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise EngineError(
            "precision_unavailable",
            "{get_device_name} has no bf16.",
            get_device_name=torch.cuda.get_device_name(device),
            field="/precision",
            value=precision,
            limit="auto, fp32, fp16",
            hint=N_("Choose fp16, which scales the loss so that small gradients survive."),
        )
    return Place(device, {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision])


def _choose_mixed(mixed: Mixed, device: torch.device) -> str:
    fast = torch.cuda.is_bf16_supported() and torch.cuda.get_device_capability(device) >= AMPERE
    return "bf16" if mixed == "bf16" and fast else "fp16"


def wants_gpu(spec: LoopSpec) -> bool:
    """Whether the training takes a GPU where there is one."""
    return spec.device != "cpu" and spec.strategy != "ps"


@contextmanager
def apply_settings(spec: LoopSpec, place: Place) -> Iterator[None]:
    """Threads, deterministic algorithms and a generator of our own for the time of a run; then all as it was.

    Raises MemoryError where torch finds no memory.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    gpus = [place.device] if place.device.type == "cuda" else []
    if gpus:  # cuBLAS is deterministic only with a workspace of fixed size, and reads this when it starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=gpus):
        torch.set_num_threads(spec.threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        except RuntimeError as error:  # torch has no MemoryError of its own
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise MemoryError(str(error)) from error
            raise
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)


def derive_seed(seed: int, purpose: str, number: int = 0) -> int:
    """A seed for one purpose, so that no two things that are random share their random numbers."""
    words = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(words[:8], "big") >> 1
