"""How good found spans are: F1 over all spans and per label, with intervals by a bootstrap over texts.

A span counts as found when its borders and its label are exactly those that were marked, as in CoNLL-2003 (Tjong Kim
Sang and De Meulder, 2003).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from deepseek.entities.tags import Span
from deepseek.models.evaluate import assign_blocks, compute_interval, draw_blocks
from deepseek.models.figures import Metric

Floats = npt.NDArray[np.float64]
SpansOfTexts = Sequence[Sequence[Span]]
Compute = Callable[[Floats], Floats]
TASK = "entities"
COUNTS = 3  # of each label: spans that were marked, found, and both


def count_spans(target: SpansOfTexts, found: SpansOfTexts, labels: Sequence[str]) -> Floats:
    """(texts, labels * COUNTS): spans marked, found, and found rightly, of each label in turn."""
    counts = np.zeros((len(target), len(labels), COUNTS))
    places = {label: place for place, label in enumerate(labels)}
    for row, (expected, predicted) in enumerate(zip(target, found, strict=True)):
        for column, spans in enumerate((expected, predicted, set(expected) & set(predicted))):
            for span in spans:
                counts[row, places[span.label], column] += 1
    return counts.reshape(len(target), -1)


def list_measures(labels: Sequence[str]) -> list[tuple[str, Compute]]:
    """Name, and the function of sums (m, labels * COUNTS) to values (m,): over all spans, then per label."""
    kinds: list[tuple[str, Compute]] = [("f1", _compute_f1), ("precision", _compute_precision)]
    kinds.append(("recall", _compute_recall))
    measures = [(name, _apply_to_all(compute)) for name, compute in kinds]
    for place, label in enumerate(labels):
        measures += [(f"{name}_{label}", _apply_to_label(compute, place)) for name, compute in kinds]
    return measures


def _apply_to_all(compute: Compute) -> Compute:
    return lambda sums: compute(sums.reshape(len(sums), -1, COUNTS).sum(axis=1))


def _apply_to_label(compute: Compute, place: int) -> Compute:
    return lambda sums: compute(sums.reshape(len(sums), -1, COUNTS)[:, place])


def _divide(over: Floats, under: Floats) -> Floats:
    return np.asarray(np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0), np.float64)


def _compute_f1(counts: Floats) -> Floats:
    return _divide(2 * counts[:, 2], counts[:, 0] + counts[:, 1])


def _compute_precision(counts: Floats) -> Floats:
    return _divide(counts[:, 2], counts[:, 1])


def _compute_recall(counts: Floats) -> Floats:
    return _divide(counts[:, 2], counts[:, 0])


def measure_spans(
    target: SpansOfTexts, found: SpansOfTexts, labels: Sequence[str], *, seed: int, confidence: float = 0.95
) -> list[Metric]:
    """F1, precision and recall over all spans and per label; those that no span defines are left out."""
    return _measure([count_spans(target, found, labels)], labels, "bootstrap", seed, confidence)


def measure_span_difference(
    target: SpansOfTexts,
    found: SpansOfTexts,
    reference: SpansOfTexts,
    labels: Sequence[str],
    *,
    seed: int,
    confidence: float = 0.95,
) -> list[Metric]:
    """`measure_spans` of `found` less that of `reference`: each replicate draws the same texts for both."""
    counts = [count_spans(target, spans, labels) for spans in (found, reference)]
    return _measure(counts, labels, "paired bootstrap", seed, confidence)


def _measure(counts: list[Floats], labels: Sequence[str], method: str, seed: int, confidence: float) -> list[Metric]:
    """The measures of the first counts, less those of the second where there are two."""
    blocks = assign_blocks(TASK, len(counts[0]), seed, 1)
    metrics: list[Metric] = []
    sums = [sum_blocks(of, blocks) for of in counts]
    draws = draw_blocks(len(sums[0]), seed)
    replicates = [np.asarray(draws @ of, np.float64) for of in sums]

    def subtract(of: list[Floats], compute: Compute) -> Floats:
        values = [compute(part) for part in of]
        return values[0] if len(values) == 1 else values[0] - values[1]

    for name, compute in list_measures(labels):
        value = float(subtract([of.sum(axis=0, keepdims=True) for of in sums], compute)[0])
        if not math.isfinite(value):
            continue
        low, high = compute_interval(subtract(replicates, compute), confidence)
        bounds = {"low": low, "high": high, "confidence": confidence}
        metrics.append(Metric(name=name, value=value, method=method, better="higher", **bounds))
    return metrics


def sum_blocks(counts: Floats, blocks: npt.NDArray[np.int64]) -> Floats:
    """The counts of the texts of each block."""
    sums = np.zeros((int(blocks.max()) + 1, counts.shape[1]))
    np.add.at(sums, blocks, counts)
    return sums
