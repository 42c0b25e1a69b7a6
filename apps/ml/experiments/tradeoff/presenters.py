"""The forms of a trade-off as rows of a page, the recommended one first, each with why it is offered or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deepseek.quantize.document import LeftOut, Tradeoff, VariantFigures, VariantTiming

MINUS = "−"
ORDER = ("recommended", "offered", "uncertain", "slower", "loses_accuracy", "parent")
BADGES: Mapping[str, tuple[str, Promise]] = {
    "recommended": ("pass", gettext_lazy("Recommended")),
    "offered": ("queued", gettext_lazy("Offered")),
    "uncertain": ("warn", gettext_lazy("Uncertain")),
    "slower": ("cancelled", gettext_lazy("Not offered")),
    "loses_accuracy": ("fail", gettext_lazy("Cannot be promoted")),
    "parent": ("queued", gettext_lazy("As trained")),
}
LEFT_OUT: Mapping[str, Promise] = {
    "package_missing": gettext_lazy("The node lacks the package %(detail)s. Install it there and quantize again."),
    "convolutions": gettext_lazy("The model has convolutions, which are slower than fp32 with dynamic ranges."),
    "attention": gettext_lazy("The model has attention: a product of two activations has no fixed range."),
    "operator_unsupported": gettext_lazy("There is no 8-bit operator for %(detail)s."),
    "not_requested": gettext_lazy("The spec names other candidates."),
}


def build_rows(document: Tradeoff) -> list[dict[str, Any]]:
    """A row for each form, those of the best verdict first, and among them the fastest."""
    ranked = sorted(document.variants, key=lambda form: (ORDER.index(form.verdict), form.timings[0].p50_us))
    return [build_row(document, form) for form in ranked]


def build_row(document: Tradeoff, form: VariantFigures) -> dict[str, Any]:
    badge, word = BADGES[form.verdict]
    return {
        "form": form,
        "badge": badge,
        "word": word,
        "why": explain_verdict(document, form),
        "metric": find_metric(document, form),
        "loss": None if form.verdict == "parent" else format_amount(form.loss.value, form.loss.unit),
        "interval": None if form.verdict == "parent" else format_loss_interval(form),
        "timings": [timing for timing in form.timings if timing.threads == document.threads[0]],
        "is_larger": form.size_ratio < 1,
    }


def find_metric(document: Tradeoff, form: VariantFigures) -> Any:
    """The figure that a loss is counted in; None where the rows do not define it."""
    return next((metric for metric in form.metrics if metric.name == document.allowed.metric), None)


def explain_verdict(document: Tradeoff, form: VariantFigures) -> str:
    """One sentence on why the form is offered, or is not."""
    timing = form.timings[0]
    values = {
        "ratio": format_figure(timing.ratio),
        "batch": timing.batch,
        "limit": format_amount(document.allowed.limit, document.allowed.unit),
        "loss": format_amount(form.loss.value, form.loss.unit),
        "most": format_amount(form.loss.high, form.loss.unit),
    }
    match form.verdict:
        case "parent":
            return _("The model as it was trained, run by PyTorch: what the others are compared with.")
        case "recommended" if form.loss.high > document.allowed.limit or timing.ratio < 1:
            return _("No form is shown to be faster within the allowed loss; this one comes closest.")
        case "recommended":
            return _("The fastest within the allowed loss, or as fast and smaller.")
        case "offered" if form.slot is None:
            return _("It has no file: measured for comparison.")
        case "offered":
            return _("Faster than fp32 within the allowed loss, but slower or larger than the recommended one.")
        case "uncertain":
            return _("Too few rows: it may lose up to %(most)s, and %(limit)s is allowed.") % values
        case "slower":
            return _("%(ratio)s times as fast as fp32 at batch %(batch)s: nothing slower is offered.") % values
    return _("It loses %(loss)s, and %(limit)s is allowed: it is kept, and cannot be promoted.") % values


def format_figure(value: float) -> str:
    """Three digits, with a true minus sign."""
    return f"{value:.3g}".replace("-", MINUS)


def format_amount(value: float, unit: str) -> str:
    """A loss with its unit: percentage points of a share, per cent of an error."""
    number = format_figure(value)
    return _("%(number)s points") % {"number": number} if unit == "points" else f"{number} %"


def format_loss_interval(form: VariantFigures) -> str:
    loss = form.loss
    return _("%(low)s to %(high)s") % {"low": format_figure(loss.low), "high": format_figure(loss.high)}


def describe_rule(document: Tradeoff) -> str:
    """The rule that recommends, in words."""
    return _(
        "Of the forms that lose at most %(limit)s and are not slower than fp32 at batch %(batch)s with %(threads)s "
        "threads, the fastest; of those within %(tie)s %% of it the smallest."
    ) % {
        "limit": format_amount(document.allowed.limit, document.allowed.unit),
        "batch": document.batches[0],
        "threads": document.threads[0],
        "tie": format_figure(100 * document.tie),
    }


def build_timing_rows(document: Tradeoff) -> list[dict[str, Any]]:
    """Each batch size with each number of threads, and what every form took."""
    places = [(batch, threads) for threads in document.threads for batch in document.batches]
    return [
        {"batch": batch, "threads": threads, "cells": [find_timing(form, batch, threads) for form in document.variants]}
        for batch, threads in places
    ]


def find_timing(form: VariantFigures, batch: int, threads: int) -> VariantTiming | None:
    return next((timing for timing in form.timings if (timing.batch, timing.threads) == (batch, threads)), None)


def explain_left_out(left: LeftOut) -> str:
    return str(LEFT_OUT[left.reason]) % {"detail": left.detail}
