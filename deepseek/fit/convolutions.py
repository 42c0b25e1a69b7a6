"""The layers of the convolutional networks of torchvision, counted one after the other: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NUMBER, INDEX = 4, 8  # bytes of a number in float32, and of one in int64
CHANNELS = 3
SQUEEZE, MULTIPLE = 4, 8  # a squeeze has a fourth of the channels, as a multiple of eight
SMALL = (  # kernel, expanded, out, squeeze and excitation, hard swish, stride: torchvision's mobilenet_v3_small
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
BLOCKS = {"mobilenet_v3_small": (SMALL, 1024), "mobilenet_v3_large": (LARGE, 1280)}
"""Backbone -> its blocks, and the units before the classes."""


@dataclass
class Stage:
    """One part of a network. Numbers of an example: `inputs`, `kept` for the backward pass, `largest` of a tensor.

    `indices`: of an example too, in int64. `statistics`: numbers that are kept of a batch, however large it is.
    """

    inputs: int
    kept: int = 0
    indices: int = 0
    largest: int = 0
    statistics: int = 0
    matrices: list[int] = field(default_factory=list)  # weights of each layer that multiplies
    vectors: int = 0  # other weights
    buffers: int = 0  # bytes


class LayerCounter:
    """Walks through a network: what each layer has and keeps, at the size that the images have come to by then."""

    def __init__(self, height: int, width: int) -> None:
        self.channels, self.height, self.width = CHANNELS, height, width
        self.stages: list[Stage] = []

    @property
    def size(self) -> int:
        """Numbers of an example between two layers."""
        return self.channels * self.height * self.width

    @property
    def stage(self) -> Stage:
        return self.stages[-1]

    def begin_stage(self) -> None:
        self.stages.append(Stage(self.size))

    def keep(self, times: int = 1) -> None:
        """The numbers where the walk is are kept so many times."""
        self.stage.kept += times * self.size
        self.stage.largest = max(self.stage.largest, self.size)

    def add_convolution(
        self, channels: int, kernel: int, stride: int = 1, *, depthwise: bool = False, swish: bool = False
    ) -> None:
        """A convolution and the normalization behind it, which keep what comes between them and what comes out.

        A rectifier works in place on what comes out; a hard swish keeps a copy of what it was.
        """
        before = 1 if depthwise else self.channels
        self.stage.matrices.append(before * channels * kernel**2)
        self.channels = channels
        self.height, self.width = (-(-length // stride) for length in (self.height, self.width))
        self.add_normalization()
        self.keep(3 if swish else 2)

    def add_normalization(self) -> None:
        stage = self.stage
        stage.vectors += 2 * self.channels
        stage.statistics += 2 * self.channels
        stage.buffers += 2 * self.channels * NUMBER + INDEX

    def add_squeeze(self) -> None:
        """Squeeze and excitation: a weight for each channel, from the channels' means; the product is kept."""
        squeezed = round_channels(self.channels / SQUEEZE)
        self.stage.matrices += [self.channels * squeezed, squeezed * self.channels]
        self.stage.vectors += squeezed + self.channels
        self.stage.kept += 3 * self.channels + squeezed  # means, excitations before and after the sigmoid
        self.keep()

    def add_linear(self, inputs: int, outputs: int) -> None:
        self.stage.matrices.append(inputs * outputs)
        self.stage.vectors += outputs


def list_stages(backbone: str, height: int, width: int, outputs: int, *, dropout: bool) -> list[Stage]:
    """The stages as `ImageNetwork.list_stages` has them, and the classifier."""
    walk = LayerCounter(height, width)
    if backbone == "resnet18":
        walk_resnet(walk)
        walk.begin_stage()
        walk.stage.kept = (2 if dropout else 1) * walk.channels
        walk.add_linear(walk.channels, outputs)
    else:
        blocks, units = BLOCKS[backbone]
        walk_mobilenet(walk, blocks)
        walk.begin_stage()
        walk.stage.kept = walk.channels + (3 if dropout else 2) * units
        walk.add_linear(walk.channels, units)
        walk.add_linear(units, outputs)
    return walk.stages


def walk_resnet(walk: LayerCounter) -> None:
    """ResNet-18: a stem, then four stages of two blocks of two convolutions."""
    walk.begin_stage()
    walk.keep()  # the standardized images
    walk.add_convolution(64, 7, 2)
    walk.height, walk.width = -(-walk.height // 2), -(-walk.width // 2)  # the largest of each four
    walk.stage.indices += walk.size
    walk.keep()
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        walk.begin_stage()
        before = walk.channels
        for first in (stride, 1):
            walk.add_convolution(channels, 3, first)
            walk.add_convolution(channels, 3)
        if stride > 1:  # the inputs are brought to the outputs' size by a convolution of their own
            walk.stage.matrices.append(before * channels)
            walk.add_normalization()
            walk.keep()


def walk_mobilenet(walk: LayerCounter, blocks: Sequence[tuple[int, int, int, bool, bool, int]]) -> None:
    """MobileNetV3: blocks that expand, convolve by channel, and contract."""
    walk.begin_stage()
    walk.keep()
    walk.add_convolution(16, 3, 2, swish=True)
    for kernel, expanded, out, squeezes, swish, stride in blocks:
        walk.begin_stage()
        if expanded != walk.channels:
            walk.add_convolution(expanded, 1, swish=swish)
        walk.add_convolution(expanded, kernel, stride, depthwise=True, swish=swish)
        if squeezes:
            walk.add_squeeze()
        walk.add_convolution(out, 1)
    walk.begin_stage()
    walk.add_convolution(6 * walk.channels, 1, swish=True)
    walk.keep(-1)  # of the last only the mean goes on


def round_channels(channels: float) -> int:
    """To a multiple of eight, and never down by more than a tenth: torchvision's _make_divisible."""
    rounded = max(MULTIPLE, int(channels + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return rounded + MULTIPLE if rounded < 0.9 * channels else rounded


def iterate_prefixes(sizes: Sequence[int]) -> Iterator[int]:
    """The sum of the first, of the first two, ..."""
    total = 0
    for size in sizes:
        total += size
        yield total
