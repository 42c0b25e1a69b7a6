"""The rule that recommends a form of a model, and what forbids one to be promoted.

``fastest-within-loss``: of the forms that have a file and whose loss is shown to be within what is allowed (the upper
end of its paired interval), and that are not slower than the parent at the first batch size and number of threads, the
fastest. Forms that are slower than it by at most `TIE` count as equally fast, and the smallest of those is recommended.
The fp32 forms take part: where no 8-bit one is left, or ONNX Runtime is faster without, one of them is recommended.
"""

from collections.abc import Sequence

import numpy as np

from deepseek.models.figures import AccuracyLoss, AllowedLoss, Metric
from deepseek.quantize.document import VariantFigures, Verdict

TIE = 0.2
_LARGEST = 1e9  # a document holds no infinity
HEADLINES = {"classification": "accuracy", "entities": "f1", "regression": "rmse", "forecast": "rmse"}
"""Task -> the metric that a loss is counted in."""


def get_allowed_loss(task: str, limit: float) -> AllowedLoss:
    """What a form of a model of this task may lose."""
    return AllowedLoss(metric=HEADLINES[task], limit=limit, unit="percent" if HEADLINES[task] == "rmse" else "points")


def compute_loss(metrics: Sequence[Metric], difference: Sequence[Metric], task: str) -> AccuracyLoss:
    """The loss by the task's first metric: `metrics` are of the parent, `difference` of the form less those.

    Where the rows do not define the metric (texts without a single span) nothing is known: 0 to 100 points.
    """
    name = HEADLINES[task]
    parent = next((metric for metric in metrics if metric.name == name), None)
    change = next((metric for metric in difference if metric.name == name), None)
    if parent is None or change is None or change.low is None or change.high is None:
        return AccuracyLoss(metric=name, value=0.0, low=0.0, high=100.0, unit="points")
    if change.better == "higher":
        return AccuracyLoss(
            metric=name,
            value=0.0 - 100 * change.value,  # and never -0.0
            low=0.0 - 100 * change.high,
            high=0.0 - 100 * change.low,
            unit="points",
        )
    factor = 100 / max(parent.value, float(np.finfo(np.float64).tiny))
    value, low, high = (
        float(np.clip(factor * bound, -_LARGEST, _LARGEST)) for bound in (change.value, change.low, change.high)
    )
    return AccuracyLoss(metric=name, value=value, low=low, high=high, unit="percent")


def is_loss_exceeded(loss: AccuracyLoss, allowed: AllowedLoss) -> bool:
    """Whether the loss that was measured is more than is allowed: such a form cannot be promoted."""
    return loss.value > allowed.limit + 1e-9


def recommend_variant(variants: Sequence[VariantFigures], allowed: AllowedLoss) -> list[VariantFigures]:
    """The variants with their verdicts; the first one is the parent. Exactly one is recommended."""
    parent, *candidates = variants
    verdicts = {form.name: _judge(form, allowed) for form in candidates}
    eligible = [form for form in candidates if verdicts[form.name] == "offered" and form.slot is not None]
    if eligible:
        fastest = min(form.timings[0].p50_us for form in eligible)
        tied = [form for form in eligible if form.timings[0].p50_us <= fastest * (1 + TIE)]
        best = min(tied, key=lambda form: (form.size_bytes, form.timings[0].p50_us))
    else:
        best = _choose_fallback(candidates, allowed)
    verdicts[best.name] = "recommended"
    return [
        parent,
        *(
            form.model_copy(
                update={
                    "verdict": verdicts[form.name],
                    "promotable": not is_loss_exceeded(form.loss, allowed) and form.slot is not None,
                }
            )
            for form in candidates
        ),
    ]


def _choose_fallback(others: Sequence[VariantFigures], allowed: AllowedLoss) -> VariantFigures:
    """Where nothing is offered: the fastest form in fp32 that has a file; else the form with the smallest loss."""
    filed = [form for form in others if form.slot is not None]
    full = [form for form in filed if form.precision == "fp32"]
    if full:
        return min(full, key=lambda form: form.timings[0].p50_us)
    return min(filed, key=lambda form: form.loss.value)


def _judge(form: VariantFigures, allowed: AllowedLoss) -> Verdict:
    if is_loss_exceeded(form.loss, allowed):
        return "loses_accuracy"
    if form.timings[0].ratio < 1:
        return "slower"
    return "offered" if form.loss.high <= allowed.limit + 1e-9 else "uncertain"
