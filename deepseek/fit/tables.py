"""What a multi-layer perceptron on a table costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from deepseek.fit.memory import HALF, NUMBER, DataFacts, NetworkCost, TrainingFacts, is_half
from deepseek.train.plan import count_share, count_training_rows, count_windows
from deepseek.train.spec import TrainSpec

CHUNK = 8192  # examples that are validated at once: Learner.validation_chunk
CELL = 28  # bytes of a cell of numbers while a table is read: as it lies in the file, in Arrow, and as examples
EMBEDDING = 16  # numbers that stand for a category, about: how many there are shows when the table is read
REFERENCE_LIBRARIES = 95 * 10**6
REFERENCE_CELLS = 2_500_000  # that it is fitted to at most
REFERENCE_CELL = 13  # bytes of a cell: as it is, in float64, and in its bin
TEXT = 3  # times the bytes of a file with columns of text


def build_table_facts(spec: TrainSpec, facts: DataFacts, *, on_gpu: bool) -> TrainingFacts:
    """Of a table whose columns are not known: as if it had the target and one more."""
    inputs = count_inputs(spec, facts)
    cost = compute_mlp_cost(
        [inputs, *spec.hidden, 1], spec.activation, dropout=spec.dropout > 0, half=is_half(spec, on_gpu=on_gpu)
    )
    training = validation = None
    if facts.rows is not None:
        training = count_training_rows(spec, facts.rows)
        examples = count_windows(facts.rows, spec.lags, spec.horizon) if spec.task == "forecast" else facts.rows
        validation = count_share(examples, spec.validation_share)
    width = 1 if spec.task == "forecast" else inputs
    return TrainingFacts(
        cost=cost,
        training_rows=training,
        validation_rows=validation,
        validation_chunk=CHUNK,
        data=count_table_bytes(facts),
        after=count_reference_bytes(spec, facts, inputs),
        data_on_device=(facts.rows or 0) * (width + 2) * NUMBER,
    )


def count_inputs(spec: TrainSpec, facts: DataFacts) -> int:
    """Inputs of the network; at least that many where the columns are not known."""
    if spec.task == "forecast":
        return spec.lags
    embedded = EMBEDDING * len(spec.categories or ())
    if spec.features:
        return len(spec.features) + embedded
    columns = facts.columns if facts.number_columns is None else facts.number_columns
    target = 0 if spec.task == "classification" and columns != facts.columns else 1
    return max(1, (columns or 0) - target + embedded)


def count_reference_bytes(spec: TrainSpec, facts: DataFacts, inputs: int) -> int:
    """scikit-learn, and what deepseek.train.reference makes of the rows, once the network has been trained."""
    if not spec.reference:
        return 0
    rows = facts.rows or 0
    fitted = min(rows * inputs, REFERENCE_CELLS) * REFERENCE_CELL
    return REFERENCE_LIBRARIES + fitted + round(rows * spec.test_share) * inputs * REFERENCE_CELL


def count_table_bytes(facts: DataFacts) -> int:
    """The table while it is read, which is more than what stays of it."""
    columns = facts.columns or 0
    numbers = columns if facts.number_columns is None else facts.number_columns
    texts = TEXT * facts.file_bytes if numbers < columns or facts.rows is None else 0
    return (facts.rows or 0) * numbers * CELL + texts


def compute_mlp_cost(widths: Sequence[int], activation: str, *, dropout: bool, half: bool) -> NetworkCost:
    """Widths from the inputs to the outputs; the network is deepseek.models.mlp.MlpNetwork.

    Autograd keeps the inputs of each layer. Behind a layer tanh and relu keep what they give, which the next layer
    keeps anyway; gelu keeps what it takes as well, and dropout its own input and as many numbers for its mask.
    """
    size = HALF if half else NUMBER
    inputs, hidden, outputs = widths[0], widths[1:-1], widths[-1]
    matrices = [before * after for before, after in pairwise(widths)]
    weights = NUMBER * (sum(matrices) + sum(widths[1:]))
    is_doubled = activation == "gelu" or dropout
    kept_per_unit = 3 if dropout else 2 if is_doubled else 1
    gradients = size * max(widths[1:]) * (1 if is_doubled else 2)  # of a layer's outputs and of its inputs
    return NetworkCost(
        parameters=weights,
        trainable=weights,
        buffers=2 * (inputs + outputs) * NUMBER,
        largest=max(matrices) * NUMBER,
        kept=size * (inputs + kept_per_unit * sum(hidden)) + 2 * NUMBER * outputs,
        working=max(gradients, NUMBER * inputs) + NUMBER * inputs,  # raw inputs, and standardised ones beside them
        forward=NUMBER * max(3 * inputs, *(sum(pair) + pair[1] for pair in pairwise(widths))),
        kept_once=HALF * sum(matrices[1:]) if half else 0,
    )
