"""The trade-off as charts: what a form costs in accuracy against its time or size, and what each layer costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from apps.ml.experiments.tradeoff.presenters import find_metric, find_timing
from deepseek.quantize.document import Sensitivity, Tradeoff, VariantFigures

SIZE = "size"
MAX_LAYERS = 15  # drawn, those that cost most
MICROSECONDS_OF_MS, BYTES_OF_MB = 1000, 1e6


def list_axes(document: Tradeoff) -> list[tuple[str, str]]:
    """(value of the query, words) of what the chart may run along, the one that decides first."""
    axes = [
        (f"{batch}-{threads}", name_timing(batch, threads))
        for threads in document.threads
        for batch in document.batches
    ]
    return [*axes, (SIZE, _("size"))]


def name_timing(batch: int, threads: int) -> str:
    return _("time at batch %(batch)s, threads: %(threads)s") % {"batch": batch, "threads": threads}


def build_scatter(document: Tradeoff, axis: str) -> dict[str, Any] | None:
    """The task's figure of each form against its time or size, with what is allowed as a line across.

    The interval is that of the difference from fp32 on the same rows, which is what decides.
    """
    parent = find_metric(document, document.variants[0])
    if parent is None:
        return None
    points = []
    for place, form in enumerate(document.variants):
        x, metric = read_axis(form, axis), find_metric(document, form)
        if x is not None and metric is not None:
            points.append(build_point(document, form, place, x, metric, parent))
    limit = document.allowed.limit / 100
    level = parent.value - limit if parent.better == "higher" else parent.value * (1 + limit)
    return {
        "id": "tradeoff",
        "points": points,
        "names": [form.name for form in document.variants],
        "level": {"value": level, "label": _("allowed")},
        "x_unit": _("size, MB") if axis == SIZE else _("median time of a call, ms"),
        "y_unit": parent.name,
        "log_x": True,
        "head": _("Form"),
    }


def read_axis(form: VariantFigures, axis: str) -> float | None:
    if axis == SIZE:
        return form.size_bytes / BYTES_OF_MB
    batch, threads = map(int, axis.split("-"))
    timing = find_timing(form, batch, threads)
    return None if timing is None else timing.p50_us / MICROSECONDS_OF_MS


def build_point(
    document: Tradeoff, form: VariantFigures, place: int, x: float, metric: Any, parent: Any
) -> dict[str, Any]:
    change = next((item for item in form.difference if item.name == metric.name), None)
    bounds = (change.low, change.high) if change is not None and form.verdict != "parent" else (None, None)
    most = 1.0 if form.loss.unit == "points" else math.inf  # a share ends at 1
    low, high = (None if bound is None else min(most, max(0.0, parent.value + bound)) for bound in bounds)
    is_named = form.verdict in ("parent", "recommended")
    return {"label": form.name, "x": x, "y": metric.value, "low": low, "high": high, "place": place} | {
        "is_named": is_named
    }


def build_sensitivity(sensitivity: Sensitivity) -> dict[str, Any] | None:
    """A bar for each layer, the costliest first; those that stay fp32 are filled. Where no layer costs anything, how
    far each moves the outputs."""
    layers = sorted(sensitivity.layers, key=lambda layer: (-layer.loss.value, -layer.relative_error))
    if not layers:
        return None
    has_losses = any(layer.loss.low or layer.loss.high for layer in layers)
    unit = (
        _("loss of this layer alone, points") if layers[0].loss.unit == "points" else _("loss of this layer alone, %")
    )
    more = len(layers) - MAX_LAYERS
    return {
        "id": "sensitivity",
        "bars": [
            {"label": name_layer(layer.layer, layer.kind, kept=layer.kept_fp32), "best": layer.kept_fp32}
            | (
                {"value": layer.loss.value, "low": layer.loss.low, "high": layer.loss.high}
                if has_losses
                else {"value": 100 * layer.relative_error}
            )
            for layer in layers[:MAX_LAYERS]
        ],
        "unit": unit if has_losses else _("difference of the outputs by this layer alone, %"),
        "head": _("Layer"),
        "note": _("Layers that cost less, not drawn: %(count)s.") % {"count": more} if more > 0 else "",
    }


def name_layer(name: str, kind: str, *, kept: bool) -> str:
    return f"{name} · {kind} · {_('stays fp32')}" if kept else f"{name} · {kind}"


def list_kept_layers(document: Tradeoff) -> Sequence[str]:
    layers = document.sensitivity.layers if document.sensitivity else []
    return [layer.layer for layer in layers if layer.kept_fp32]
