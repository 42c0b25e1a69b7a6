"""The closed form of a perceptron's memory is what one traced step of the network keeps."""

import itertools

import pytest
import torch

from deepseek.fit.memory import DataFacts
from deepseek.fit.tables import build_table_facts, compute_mlp_cost
from deepseek.fit.trace import trace_step
from deepseek.models.manifest import MlpArchitecture
from deepseek.models.network import build_network
from deepseek.train.spec import TrainSpec

ROWS = 1000


def build(inputs, hidden, activation, dropout):
    layers = MlpArchitecture(
        inputs=inputs, hidden=hidden, outputs=1, activation=activation, dropout=dropout, output="value"
    )
    return lambda: (build_network(layers), [torch.empty(ROWS, inputs)])


def test_what_autograd_keeps_is_counted_to_the_byte():
    wrong = {}
    for activation, dropout, dtype in itertools.product(("tanh", "relu", "gelu"), (0.0, 0.1), (None, torch.bfloat16)):
        trace = trace_step(build(10, [64, 128], activation, dropout), dtype=dtype)
        cost = compute_mlp_cost([10, 64, 128, 1], activation, dropout=dropout > 0, half=dtype is not None)
        kept = ROWS * cost.kept + cost.kept_once
        peak = kept + ROWS * (cost.working - 40)  # the raw inputs are the trace's own
        if (cost.parameters, cost.buffers, kept) != (trace.parameters, trace.buffers, trace.kept):
            wrong[activation, dropout, dtype] = (cost, trace)
        if not 0.95 < peak / trace.peak < 1.05:
            wrong[activation, dropout, dtype, "peak"] = (peak, trace.peak)
    assert wrong == {}


def test_nothing_is_computed_whatever_the_widths():
    trace = trace_step(build(10, [1_000_000, 1_000_000], "tanh", 0.0))
    assert trace.parameters > 4 * 10**12


@pytest.mark.parametrize(
    ("more", "facts", "weights"),
    [
        ({"task": "forecast", "lags": 20}, DataFacts(rows=99, columns=5), 21 * 64 + 65 * 64 + 65),
        ({"task": "regression", "features": ["a", "b"], "hidden": []}, DataFacts(), 3),
        ({"task": "regression", "hidden": [8]}, DataFacts(columns=5, number_columns=5), 5 * 8 + 9),
        ({"task": "classification", "hidden": [8]}, DataFacts(columns=5, number_columns=4), 5 * 8 + 9),
    ],
)
def test_counts_the_weights_as_the_network_has_them(more, facts, weights):
    spec = TrainSpec(target="y", **more)
    assert build_table_facts(spec, facts, on_gpu=False).cost.parameters == 4 * weights
