"""Two sets of figures side by side, and what may be said of their difference. Pure.

Nothing is called better because one number is larger. Where the difference itself was measured, both on each row, its
interval must leave out zero. Else the two intervals must not meet, and both must be of the same rows: for figures that
do not move against each other that is stricter than a test at the same level (Schenker & Gentleman 2001), so "no
difference shown" does not say that there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

Metric = Mapping[str, Any]
MARGIN = 0.15  # of the scale that two intervals are drawn on, left free on either side


class Verdict(TextChoices):
    BETTER = "better", _("Better: the intervals do not meet")
    WORSE = "worse", _("Worse: the intervals do not meet")
    NOT_SHOWN = "not_shown", _("Not significant: the intervals overlap")
    NO_INTERVAL = "no_interval", _("Undecided: a metric has no interval of the same confidence")
    OTHER_ROWS = "other_rows", _("Undecided: evaluated on different held-out rows")
    ROWS_UNKNOWN = "rows_unknown", _("Undecided: not known to be the same held-out rows")
    ONE_SIDED = "one_sided", _("Undecided: only one of the two has this metric")


WORDS: Mapping[str, Any] = {  # the same in a word or two
    Verdict.BETTER: _("better"),
    Verdict.WORSE: _("worse"),
    Verdict.NOT_SHOWN: _("not significant"),
}
PAIRED: Mapping[str, Any] = {  # the statements on a difference that was measured as such
    Verdict.BETTER: _("Better (paired test)"),
    Verdict.WORSE: _("Worse (paired test)"),
    Verdict.NOT_SHOWN: _("No significant difference (paired)"),
}
STATES: Mapping[str, str] = {  # the colour and icon that a verdict wears
    Verdict.BETTER: "succeeded",
    Verdict.WORSE: "failed",
    Verdict.NOT_SHOWN: "queued",
}


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of two: `value` of this one, `other` of that one."""

    name: str
    better: str  # higher, lower
    unit: str
    value: Metric | None
    other: Metric | None
    verdict: str
    paired: Metric | None = None  # the difference with its own interval, where both were measured row by row

    @property
    def difference(self) -> float | None:
        """This one's value minus the other's."""
        return self.value["value"] - self.other["value"] if self.value and self.other else None

    @property
    def state(self) -> str:
        return STATES.get(self.verdict, "held")

    @property
    def statement(self) -> str:
        return str((self.paired and PAIRED.get(self.verdict)) or Verdict(self.verdict).label)

    @property
    def word(self) -> str:
        return str(WORDS.get(self.verdict, _("undecided which is better")))

    @property
    def scale(self) -> tuple[float, float]:
        """A range that holds both values and both intervals with a margin; what a gauge is drawn on."""
        return compute_range([self.value, self.other])


def compute_range(metrics: Iterable[Metric | None]) -> tuple[float, float]:
    """A range that holds all these values and intervals with a margin; at least one is there."""
    ends = [end for metric in metrics if metric for end in get_interval_ends(metric)]
    low, high = min(ends), max(ends)
    margin = (high - low or abs(high) or 1.0) * MARGIN
    return low - margin, high + margin


def get_interval_ends(metric: Metric) -> tuple[float, ...]:
    values = (metric["value"], metric.get("low"), metric.get("high"))
    return tuple(float(end) for end in values if end is not None)


@dataclass(frozen=True, slots=True)
class VariantFigures:
    """The figures of one variant, and the digest of the rows they are of; "" where that is not known."""

    name: str
    trained: bool  # not made from another form
    heldout: str
    rows: int
    metrics: Sequence[Metric]


@dataclass(frozen=True, slots=True)
class VariantPair:
    """A variant of one version beside one of another; None for `same_rows`: it is not known."""

    mine: VariantFigures
    other: VariantFigures
    same_rows: bool | None
    metrics: list[MetricComparison]

    @property
    def interval(self) -> Metric | None:
        """A metric that says how its interval was made; that of the others is made alike."""
        return next(
            (
                comparison.value
                for comparison in self.metrics
                if comparison.value and comparison.value.get("confidence")
            ),
            None,
        )

    @property
    def paired(self) -> bool:
        return any(comparison.paired for comparison in self.metrics)

    @property
    def undecided(self) -> bool:
        """Intervals meet, which proves nothing."""
        return any(comparison.verdict == Verdict.NOT_SHOWN and not comparison.paired for comparison in self.metrics)


def build_variant_figures(side: Mapping[str, Any]) -> list[VariantFigures]:
    """The variants of a version as its facts hold them, the trained one first."""
    figures = [
        VariantFigures(
            name,
            variant["trained"],
            variant["heldout"],
            variant["rows"],
            list_metrics(variant["metrics"], variant["headline"]),
        )
        for name, variant in side["variants"].items()
    ]
    return sorted(figures, key=lambda variant_figures: not variant_figures.trained)


def list_metrics(metrics_by_name: Mapping[str, Metric], headline: str) -> list[Metric]:
    """Metrics by name as a list, the one that stands for the version first."""
    metrics = [{"name": name, **metric} for name, metric in metrics_by_name.items()]
    return sorted(metrics, key=lambda metric: metric["name"] != headline)


def pair_variants(these: Sequence[VariantFigures], those: Sequence[VariantFigures]) -> list[VariantPair]:
    """Variant by variant of the same name, and the trained ones with each other whatever they are called."""
    by_name = {figures.name: figures for figures in those}
    trained = next((figures for figures in those if figures.trained), None)
    pairs = []
    for mine in these:
        match = by_name.get(mine.name) or (trained if mine.trained else None)
        if match is not None:
            alike = mine.heldout == match.heldout if mine.heldout and match.heldout else None
            pairs.append(VariantPair(mine, match, alike, compare_metrics(mine.metrics, match.metrics, same_rows=alike)))
    return pairs


def compare_metrics(
    our_metrics: Sequence[Metric],
    their_metrics: Sequence[Metric],
    *,
    same_rows: bool | None,
    paired: Mapping[str, Metric] | None = None,
) -> list[MetricComparison]:
    """Metric by metric, in the order of the first; None for `same_rows`: it is not known.

    `paired`: these minus those, by name, where that was measured row by row.
    """
    mine, theirs = ({str(metric["name"]): metric for metric in metrics} for metrics in (our_metrics, their_metrics))
    rows = []
    for name in dict.fromkeys([*mine, *theirs]):
        value, their_value = mine.get(name), theirs.get(name)
        either = value or their_value or {}
        difference = (paired or {}).get(name)
        verdict = (
            classify_paired_difference(difference) if difference else classify_intervals(value, their_value, same_rows)
        )
        better, unit = str(either.get("better")), str(either.get("unit") or "")
        rows.append(MetricComparison(name, better, unit, value, their_value, verdict, difference))
    return rows


def classify_paired_difference(difference: Metric) -> Verdict:
    low, high = difference.get("low"), difference.get("high")
    if low is None or high is None:
        return Verdict.NO_INTERVAL
    if low <= 0 <= high:
        return Verdict.NOT_SHOWN
    return Verdict.BETTER if (low > 0) == (difference.get("better") == "higher") else Verdict.WORSE


def classify_intervals(value: Metric | None, other: Metric | None, same_rows: bool | None) -> Verdict:
    if value is None or other is None:
        return Verdict.ONE_SIDED
    if not same_rows:
        return Verdict.ROWS_UNKNOWN if same_rows is None else Verdict.OTHER_ROWS
    bounds = value.get("low"), value.get("high"), other.get("low"), other.get("high")
    low, high, other_low, other_high = bounds
    if low is None or high is None or other_low is None or other_high is None:
        return Verdict.NO_INTERVAL
    if value.get("confidence") != other.get("confidence"):
        return Verdict.NO_INTERVAL
    if low <= other_high and other_low <= high:
        return Verdict.NOT_SHOWN
    return Verdict.BETTER if (low > other_high) == (value.get("better") == "higher") else Verdict.WORSE
