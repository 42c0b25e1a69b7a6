"""What is changed at random of an image, decided by the seed, the epoch and the image alone.

So a training that goes on from a checkpoint sees what it would have seen, and the threads that prepare images may come
in any order.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from deepseek.train.device import derive_seed

SMALLEST_AREA = 0.35
"""Share of an image that a crop shows at least."""
RATIOS = math.log(3 / 4), math.log(4 / 3)
"""Of width to height of a crop, beside that of the image."""
STRENGTH = 0.3
"""Brightness, contrast and saturation become 0.7 to 1.3 times what they were."""


def augment_image(image: Tensor, augmentation: Sequence[str], seed: int, epoch: int, row: int) -> Tensor:
    """`image` (3, height, width) uint8 after the changes; a new tensor of the same shape."""
    draw = np.random.default_rng((derive_seed(seed, "augmentation", epoch), row))
    if "crop" in augmentation:
        top, left, height, width = _draw_crop(draw, image.shape[1], image.shape[2])
        size = [image.shape[1], image.shape[2]]
        image = functional.resized_crop(
            image, top, left, height, width, size, InterpolationMode.BILINEAR, antialias=False
        )
    if "flip" in augmentation and draw.random() < 0.5:
        image = functional.horizontal_flip(image)
    if "color" in augmentation:
        for change in (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation):
            image = change(image, float(draw.uniform(1 - STRENGTH, 1 + STRENGTH)))
    return image


def _draw_crop(draw: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part of the image."""
    area, ratio = draw.uniform(SMALLEST_AREA, 1.0), math.exp(draw.uniform(*RATIOS))
    rows = min(height, max(1, round(height * math.sqrt(area / ratio))))
    columns = min(width, max(1, round(width * math.sqrt(area * ratio))))
    return int(draw.integers(height - rows + 1)), int(draw.integers(width - columns + 1)), rows, columns


def prepare_images(pixels: Tensor, augmentation: Sequence[str], seed: int, epoch: int, rows: Sequence[int]) -> Tensor:
    """The images `rows` of `pixels` (n, 3, height, width) uint8, each changed for this epoch."""
    if not augmentation:
        return pixels[torch.as_tensor(rows)]
    return torch.stack([augment_image(pixels[row], augmentation, seed, epoch, row) for row in rows])
