"""Which layers cost how much: each one alone is computed as if it were 8-bit, the others stay as they are.

Simulated in PyTorch, so it needs no package and is the same for every candidate: the weights of a layer are rounded to
8 bits with one scale for each output channel, its inputs with one scale for the whole batch.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor, nn

from deepseek.quantize.document import LayerSensitivity, Sensitivity
from deepseek.quantize.rule import compute_loss
from deepseek.quantize.spec import QuantizeSpec
from deepseek.quantize.subjects import Array, Subject

METHOD = (
    "one layer at a time, simulated: weights rounded to 8 bits with a scale for each output channel, inputs with one "
    "scale for the batch"
)
SECONDS = 60.0
"""After so long no other layer is begun; those left are named."""
BATCH = 32
_TINY = float(np.finfo(np.float32).tiny)


def list_layers(network: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers that products take their time in, by name, the largest first."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    return dict(sorted(layers.items(), key=lambda item: -item[1].weight.numel()))


def measure_sensitivity(
    subject: Subject, spec: QuantizeSpec, advance: Callable[[int, int], object]
) -> Sensitivity | None:
    """What each layer costs when it alone is 8-bit; None where no layer is to be tried."""
    layers = list_layers(subject.network)
    names = list(layers)[: spec.sensitivity_layers]
    if not names:
        return None
    rows = spec.sensitivity_rows // 4 if subject.family == "image" else spec.sensitivity_rows
    part = subject.limit(max(2, rows))
    reference, sample = part.predict(part.forward, BATCH), part.take_batch(min(BATCH, part.rows))
    metrics, expected = part.measure(reference), part.forward(sample)
    figures, end = list[LayerSensitivity](), time.monotonic() + SECONDS
    for place, name in enumerate(names):
        if time.monotonic() > end:
            break
        advance(place, len(names))
        layer = layers[name]
        with simulate_int8(layer):
            answers, outputs = part.predict(part.forward, BATCH), part.forward(sample)
        loss = compute_loss(metrics, part.measure_difference(answers, reference), subject.manifest.task)
        figures.append(
            LayerSensitivity(
                layer=name,
                kind="Conv2d" if isinstance(layer, nn.Conv2d) else "Linear",
                parameters=layer.weight.numel(),
                loss=loss,
                relative_error=compute_relative_error(outputs, expected),
                kept_fp32=loss.value > spec.max_accuracy_loss and loss.low > 0,
            )
        )
    measured = {figure.layer for figure in figures}
    return Sensitivity(
        method=METHOD,
        rows=part.rows,
        bound=spec.max_accuracy_loss,
        layers=figures,
        skipped=[name for name in layers if name not in measured],
    )


def compute_relative_error(outputs: Array, expected: Array) -> float:
    """Root of the mean squared difference over that of what is expected."""
    if not np.isfinite(outputs).all():
        return 1e9
    difference = outputs.astype(np.float64) - expected
    return float(
        np.sqrt((difference**2).mean()) / max(float(np.sqrt((expected.astype(np.float64) ** 2).mean())), _TINY)
    )


@contextmanager
def simulate_int8(layer: nn.Linear | nn.Conv2d) -> Iterator[None]:
    """Let the layer compute for a while as if it were quantized."""
    weight = layer.weight
    layer.weight = nn.Parameter(round_weights(weight), requires_grad=False)
    hook = layer.register_forward_pre_hook(lambda _, args: (round_inputs(args[0]),))
    try:
        yield
    finally:
        hook.remove()
        layer.weight = weight


def round_weights(weight: Tensor) -> Tensor:
    """Signed 8-bit integers of one scale for each output channel, as numbers again."""
    largest = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True)
    scale = largest.clamp(min=_TINY * 127) / 127
    return (weight / scale).round() * scale


def round_inputs(values: Tensor) -> Tensor:
    """256 steps between the smallest and the largest value, 0 among them, as numbers again."""
    low, high = values.min().clamp(max=0), values.max().clamp(min=0)
    scale = ((high - low) / 255).clamp(min=_TINY * 255)
    zero = (-low / scale).round()
    return ((values / scale).round() + zero).clamp(0, 255).sub(zero) * scale
