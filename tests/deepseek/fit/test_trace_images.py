"""The closed form of a convolutional network's memory is what one traced step of it keeps."""

import itertools

import pytest
import torch

from deepseek.fit.convolutions import list_stages
from deepseek.fit.images import build_image_facts, compute_image_cost
from deepseek.fit.memory import DataFacts
from deepseek.fit.trace import trace_step
from deepseek.images.network import ImageNetwork
from deepseek.images.spec import ImageSpec
from deepseek.models.manifest import ImageArchitecture

IMAGES, HEIGHT, WIDTH, CLASSES = 4, 97, 66, 7
RAW = 3 * HEIGHT * WIDTH * 7  # the images themselves: the trace's own, and those that threads prepare


def build(backbone, dropout, checkpointing):
    def make():
        network = ImageNetwork(
            ImageArchitecture(backbone=backbone, height=HEIGHT, width=WIDTH, outputs=CLASSES, dropout=dropout)
        )
        network.keeps_activations = not checkpointing
        return network, [torch.empty(IMAGES, 3, HEIGHT, WIDTH)]

    return make


def compute(backbone, dropout, checkpointing, half=False):
    stages = list_stages(backbone, HEIGHT, WIDTH, CLASSES, dropout=dropout > 0)
    return compute_image_cost(stages, 3 * HEIGHT * WIDTH, CLASSES, half=half, checkpointing=checkpointing)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v3_small", "mobilenet_v3_large"])
def test_what_autograd_keeps_is_counted_to_the_byte(backbone):
    wrong = {}
    for dropout, checkpointing in itertools.product((0.0, 0.2), (False, True)):
        trace = trace_step(build(backbone, dropout, checkpointing))
        cost = compute(backbone, dropout, checkpointing)
        kept = IMAGES * cost.kept + cost.kept_once
        peak = kept + IMAGES * (cost.working - RAW)
        if (cost.parameters, cost.buffers) != (trace.parameters, trace.buffers):
            wrong[dropout, checkpointing, "weights"] = (cost, trace)
        if not checkpointing and kept != trace.kept:
            wrong[dropout, checkpointing] = (kept, trace.kept)
        if peak > 1.3 * trace.peak or peak + cost.largest < 0.95 * trace.peak:  # a weight's gradient may be in it
            wrong[dropout, checkpointing, "peak"] = (peak, trace.peak)
    assert wrong == {}


def test_sixteen_bits_take_about_half():
    trace = trace_step(build("resnet18", 0.2, False), dtype=torch.bfloat16)
    cost = compute("resnet18", 0.2, False, half=True)
    assert (IMAGES * cost.kept + cost.kept_once) / trace.kept == pytest.approx(1, abs=0.05)


def test_pixels_are_counted_up_to_the_size_of_the_cache():
    image = 3 * 224 * 224
    told = [
        build_image_facts(ImageSpec(**more), DataFacts(rows=1000), on_gpu=False).data
        for more in ({}, {"cache_megabytes": 100})
    ]
    assert told == [1000 * image, 0]
