"""Presentation of runs: results against the baseline, and the choice and grouping of charts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from apps.ml.experiments.metrics.series import is_system
from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.queries import ComparedRow, is_loss

LINES = 4  # metrics of one run in one chart


# -- how good -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FigureResult:
    """One figure over held-out rows, with its interval and the baseline's on the same rows."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    better: str  # higher | lower
    baseline: float | None
    verdict: str  # better | worse | same: not significant | "": there is no baseline

    @property
    def change(self) -> float | None:
        """By what share of the baseline it differs."""
        return abs(self.value - self.baseline) / abs(self.baseline) if self.baseline else None

    @property
    def is_lower(self) -> bool:
        return self.baseline is not None and self.value < self.baseline


def list_figure_results(figures: Mapping[str, Any]) -> list[FigureResult]:
    """The figures of a run's model, in the order in which the engine gives them: the first is the one that counts."""
    baseline = {figure["name"]: figure["value"] for figure in (figures.get("baseline") or {}).get("metrics", [])}
    differences = {figure["name"]: figure for figure in (figures.get("baseline") or {}).get("difference", [])}
    return [
        FigureResult(
            name=figure["name"],
            value=figure["value"],
            low=figure.get("low"),
            high=figure.get("high"),
            unit=figure.get("unit", ""),
            better=figure.get("better", "higher"),
            baseline=baseline.get(figure["name"]),
            verdict=compare_with_baseline(differences[figure["name"]], 0.0)
            if figure["name"] in differences
            else compare_with_baseline(figure, baseline.get(figure["name"])),
        )
        for figure in figures.get("metrics", [])
    ]


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """A model of another kind, measured on the same rows: its figures, and the run's less them."""

    name: str
    library: str
    rows: int
    training_rows: int
    iterations: int
    results: list[FigureResult]  # of the run; `baseline` is the reference's value
    differences: list[Mapping[str, Any] | None]  # of the same metrics, with paired intervals

    @property
    def compared(self) -> list[tuple[FigureResult, Mapping[str, Any] | None]]:
        return list(zip(self.results, self.differences, strict=True))


def list_reference_results(figures: Mapping[str, Any]) -> list[ReferenceResult]:
    """The reference models of a run's figures; older figures have none."""
    references = []
    for reference in figures.get("references") or []:
        results = list_figure_results({**figures, "baseline": reference})
        differences = {figure["name"]: figure for figure in reference.get("difference", [])}
        references.append(
            ReferenceResult(
                name=reference["name"],
                library=reference["library"],
                rows=reference["rows"],
                training_rows=reference["training_rows"],
                iterations=reference["iterations"],
                results=results,
                differences=[differences.get(result.name) for result in results],
            )
        )
    return references


def compare_with_baseline(figure: Mapping[str, Any], baseline: float | None) -> str:
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


def build_size_change(figures: Mapping[str, Any]) -> SizeChange | None:
    """Return the size change against the parent, or None without a parent."""
    ratio = figures.get("size_ratio")
    return SizeChange(1 / ratio if ratio < 1 else ratio, ratio < 1) if ratio else None


def get_directions(runs: Iterable[Run], keys: Iterable[str]) -> dict[str, str]:
    """{metric: higher or lower is better}, as the figures of these runs say; a loss is better when it is lower."""
    better_ends = {key: "lower" for key in keys if is_loss(key)}
    for run in runs:
        better_ends |= {
            f"test/{figure['name']}": figure.get("better", "higher") for figure in run.figures.get("metrics", [])
        }
    return better_ends


def list_figure_keys(runs: Iterable[Run]) -> list[str]:
    """The metrics of what was measured on held-out rows, in the engine's order: the first is the one that counts."""
    keys = [f"test/{figure['name']}" for run in runs for figure in run.figures.get("metrics", [])]
    return list(dict.fromkeys(keys))


# -- charts ---------------------------------------------------------------------------------------------------------
def select_first_charts(metrics: Sequence[Metric]) -> list[Metric]:
    """What a run's chart opens with: its losses, else whatever has more than one point."""
    series = [metric for metric in metrics if metric.count > 1]
    return ([metric for metric in series if is_loss(metric.key)] or series)[:LINES]


def list_common_series(rows: Sequence[ComparedRow]) -> list[str]:
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


def get_metric_group(key: str) -> str:
    """What a metric belongs to, by the start of its name: train/loss and train_loss are of train."""
    head, slash, _rest = key.partition("/")
    if slash:
        return GROUPS.get(head.lower(), head)
    return GROUPS.get(key.partition("_")[0].lower(), "")


def group_metrics(keys: Iterable[str]) -> list[tuple[str, list[str]]]:
    """(group, its metrics in their order): training, validation, test; the others by name; the machine last."""
    by_group: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        by_group[get_metric_group(key)].append(key)
    place = {name: at for at, name in enumerate(ORDER)}
    return sorted(by_group.items(), key=lambda item: (place.get(item[0], place["*"]), item[0]))


def translate_group(group: str) -> str:
    labels = {
        "train": _("Training"),
        "val": _("Validation"),
        "test": _("On held-out rows"),
        "baseline": _("Baseline"),
        "system": _("System"),
        "": _("Other"),
    }
    return labels.get(group, group)
