"""What the pages of runs say: how good a run is against its baseline, what is drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from apps.ml.experiments.metrics.series import is_system
from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.queries import Row, is_loss

LINES = 4  # metrics of one run in one chart


# -- how good -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Measured:
    """One figure over held-out rows, with its interval and the baseline's on the same rows."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    better: str  # higher | lower
    baseline: float | None
    verdict: str  # better | worse | same: no difference shown | "": there is no baseline

    @property
    def change(self) -> float | None:
        """By what share of the baseline it differs."""
        return abs(self.value - self.baseline) / abs(self.baseline) if self.baseline else None

    @property
    def is_lower(self) -> bool:
        return self.baseline is not None and self.value < self.baseline


def measured(figures: Mapping[str, Any]) -> list[Measured]:
    """The figures of a run's model, in the order in which the engine gives them: the first is the one that counts."""
    baseline = {one["name"]: one["value"] for one in (figures.get("baseline") or {}).get("metrics", [])}
    paired = {one["name"]: one for one in (figures.get("baseline") or {}).get("difference", [])}
    return [
        Measured(
            name=one["name"],
            value=one["value"],
            low=one.get("low"),
            high=one.get("high"),
            unit=one.get("unit", ""),
            better=one.get("better", "higher"),
            baseline=baseline.get(one["name"]),
            verdict=verdict(paired[one["name"]], 0.0)
            if one["name"] in paired
            else verdict(one, baseline.get(one["name"])),
        )
        for one in figures.get("metrics", [])
    ]


def verdict(figure: Mapping[str, Any], baseline: float | None) -> str:
    """Better or worse than the baseline where the interval leaves it out; without an interval by the values alone.

    A figure that is a difference, measured row by row, is compared with 0: it tells more than two figures can.
    """
    if baseline is None:
        return ""
    low, high = figure.get("low"), figure.get("high")
    low, high = (figure["value"] if bound is None else bound for bound in (low, high))
    if low <= baseline <= high:
        return "same"
    return "better" if (low > baseline) == (figure.get("better") != "lower") else "worse"


@dataclass(frozen=True, slots=True)
class SizeChange:
    """How many times smaller than its parent a form is, or larger."""

    times: float
    is_larger: bool


def size_change(figures: Mapping[str, Any]) -> SizeChange | None:
    """None where there is no parent."""
    ratio = figures.get("size_ratio")
    return SizeChange(1 / ratio if ratio < 1 else ratio, ratio < 1) if ratio else None


def directions(runs: Iterable[Run], keys: Iterable[str]) -> dict[str, str]:
    """{metric: higher or lower is better}, as the figures of these runs say; a loss is better when it is lower."""
    found = {key: "lower" for key in keys if is_loss(key)}
    for run in runs:
        found |= {f"test/{one['name']}": one.get("better", "higher") for one in run.figures.get("metrics", [])}
    return found


def figure_keys(runs: Iterable[Run]) -> list[str]:
    """The metrics of what was measured on held-out rows, in the engine's order: the first is the one that counts."""
    named = [f"test/{one['name']}" for run in runs for one in run.figures.get("metrics", [])]
    return list(dict.fromkeys(named))


# -- charts ---------------------------------------------------------------------------------------------------------
def drawn_first(metrics: Sequence[Metric]) -> list[Metric]:
    """What a run's chart opens with: its losses, else whatever has more than one point."""
    series = [metric for metric in metrics if metric.count > 1]
    return ([metric for metric in series if is_loss(metric.key)] or series)[:LINES]


def common_series(rows: Sequence[Row]) -> list[str]:
    """The metrics of which at least two of the compared runs have a line, losses first, validation before training."""
    keys = [row.key for row in rows if sum(metric is not None and metric.count > 1 for metric in row.values) > 1]
    return sorted(keys, key=lambda key: (is_system(key), not is_loss(key), not key.lower().startswith("val"), key))


GROUPS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "test": "test",
    "system": "system",
    "sys": "system",
    "baseline": "baseline",
}
ORDER = ("train", "val", "test", "", "*", "baseline", "system")


def group_of(key: str) -> str:
    """What a metric belongs to, by the start of its name: train/loss and train_loss are of train."""
    head, slash, _rest = key.partition("/")
    if slash:
        return GROUPS.get(head.lower(), head)
    return GROUPS.get(key.partition("_")[0].lower(), "")


def grouped(keys: Iterable[str]) -> list[tuple[str, list[str]]]:
    """(group, its metrics in their order): training, validation, test; the others by name; the machine last."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        found[group_of(key)].append(key)
    place = {name: at for at, name in enumerate(ORDER)}
    return sorted(found.items(), key=lambda item: (place.get(item[0], place["*"]), item[0]))


def group_word(group: str) -> str:
    named = {
        "train": _("Training"),
        "val": _("Validation"),
        "test": _("On held-out rows"),
        "baseline": _("Baseline"),
        "system": _("System"),
        "": _("Other"),
    }
    return named.get(group, group)
