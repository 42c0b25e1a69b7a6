"""Decoded images, and the convolutional network that learns from them."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from deepseek.images.augmentation import prepare_images
from deepseek.images.examples import ImageExamples
from deepseek.images.network import ImageNetwork, list_normalizations
from deepseek.images.spec import ImageSpec
from deepseek.train.learner import Forward, Learner
from deepseek.train.split import Rows

_TASK_IMAGES = 8  # that one thread prepares before it looks for more


@dataclass
class LoadingClock:
    """How long steps took, and how long of it they waited for their images."""

    waited: float = 0.0
    elapsed: float = 0.0
    began: float | None = field(default=None, repr=False)

    def start_step(self) -> None:
        now = time.perf_counter()
        self.elapsed += now - self.began if self.began is not None else 0.0
        self.began = now

    def compute_share(self) -> float | None:
        """None before two steps of one epoch."""
        return self.waited / self.elapsed if self.elapsed else None


class ImageLearner(Learner):
    """Images stay on the processor as bytes; threads change the next step's while the network computes."""

    network: ImageNetwork
    validation_chunk = 64
    broadcasts_buffers = True

    def __init__(self, spec: ImageSpec, examples: ImageExamples, network: ImageNetwork) -> None:
        self.spec, self.parts, self.network = spec, examples.parts, network
        self.network.keeps_activations = not spec.activation_checkpointing
        self.clock = LoadingClock()
        self._pixels = torch.from_numpy(examples.pixels)
        self._target = torch.from_numpy(examples.target)
        self._pool = ThreadPoolExecutor(spec.threads, "images")
        self._epoch = 0
        self._ahead: list[tuple[list[int], Future[Tensor]]] = []  # of the step that comes
        self._images: dict[int, Tensor] = {}  # by row, of the step that is

    def move(self, device: torch.device) -> None:
        self.device = device
        self.network = self.network.to(device)

    def begin_epoch(self, epoch: int) -> None:
        self._epoch, self._ahead, self._images = epoch, [], {}
        self.clock.began = None

    def prepare_ahead(self, rows: Rows) -> None:
        self._collect()  # what the step that now begins learns from
        self._ahead = self._submit([int(row) for row in rows])

    def compute_loss(self, forward: Forward, rows: Rows, reduction: str) -> Tensor:
        learns = self.network.training
        images = self._take([int(row) for row in rows]) if learns else self._pixels[torch.from_numpy(rows)]
        images = images.to(self.device, non_blocking=True).float()
        target = self._target[torch.from_numpy(rows)].to(self.device)
        with self._hold_statistics(learns and len(rows) < 2):
            logits = forward(images).float()
        return nn.functional.cross_entropy(logits, target, reduction=reduction)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, rows: list[int]) -> list[tuple[list[int], Future[Tensor]]]:
        parts = [rows[start : start + _TASK_IMAGES] for start in range(0, len(rows), _TASK_IMAGES)]
        return [(part, self._pool.submit(self._prepare, part)) for part in parts]

    def _prepare(self, rows: list[int]) -> Tensor:
        return prepare_images(self._pixels, self.spec.augmentation, self.spec.seed, self._epoch, rows)

    def _collect(self) -> None:
        """Wait for what was prepared ahead."""
        began = time.perf_counter()
        self._images = {
            row: image for rows, part in self._ahead for row, image in zip(rows, part.result(), strict=True)
        }
        self._ahead = []
        self.clock.waited += time.perf_counter() - began

    def _take(self, rows: list[int]) -> Tensor:
        """The images of these rows, changed for this epoch: prepared ahead, but for an epoch's first step."""
        self.clock.start_step()
        began = time.perf_counter()
        for part, future in self._submit([row for row in rows if row not in self._images]):
            self._images |= dict(zip(part, future.result(), strict=True))
        images = torch.stack([self._images.pop(row) for row in rows]) if rows else self._pixels[:0]
        self.clock.waited += time.perf_counter() - began
        return images

    @contextmanager
    def _hold_statistics(self, hold: bool) -> Iterator[None]:
        """Let the network normalize by what it has seen so far: one image, or none, has no spread of its own."""
        layers = list_normalizations(self.network) if hold else []
        for layer in layers:
            layer.eval()
        try:
            yield
        finally:
            for layer in layers:
                layer.train()
