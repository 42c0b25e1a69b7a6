"""Detectors of drift: false alarms beside what is stated, delays beside ADWIN alone, and the time of an evaluation.

    python benchmarks/drift.py [--simulations 300] [--streams 10] [--seed 1]

"Simulated" has the interval of Clopper and Pearson at 95 %. The annotated series are those that river ships
(requirements-dev.txt), with the change points of five people each; every detector sees the same losses: the distance of
a value from the mean of the first values, as a share of the range.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import math
import resource
import statistics as plain
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.special import betaincinv

from deepseek.canary.e_processes import compute_log_limit_mixture
from deepseek.drift.accuracy import DropRule
from deepseek.drift.corrections import correct_p_values
from deepseek.drift.estimates import Estimate, estimate_mean, estimate_share
from deepseek.drift.increase import IncreaseDetector
from deepseek.drift.profile import Profile, build_reference, merge_profiles
from deepseek.drift.risk import compute_log_gamma_mixture, find_gamma_boundary
from deepseek.drift.statistics import compare_shares, compute_chi_square, compute_ks, compute_psi
from deepseek.drift.stream import Adwin
from deepseek.drift.two_sample import compare_profiles

ALPHA = 0.05
SERIES = {  # file -> column, keep every nth row, and from which row on; where the annotations count so
    "apple": ("Volume", 3, None, "Apple"),
    "bitcoin": ("price", 1, None, "Bitcoin"),
    "brent_crude_oil": ("DPB", 10, date(2000, 1, 1), "BrentSpotPrice"),
    "occupancy": ("V3", 1, None, "Occupancy"),
    "run_log": ("Pace", 1, None, "RunLog"),
    "airline_passengers": ("Total Passengers", 1, None, "AirlinePassengers"),
}
EARLY = 5
"""Rows before an annotated change that an alarm may come and still be its own: annotators differ by as much."""


def describe_share(cases: int, count: int) -> str:
    low = float(betaincinv(cases, count - cases + 1, 0.025)) if cases else 0.0
    high = float(betaincinv(cases + 1, count - cases, 0.975)) if cases < count else 1.0
    return f"{cases / count:.1%} ({low:.1%} to {high:.1%})"


def count_false_alarms(random: np.random.Generator, simulations: int) -> Iterator[tuple[str, str, str]]:
    """(detector, stated, simulated) on data that does not drift."""
    even, skewed = np.full(64, 1 / 64), np.array([0.4, 0.3, 0.2, 0.1])

    def simulate(draw: Callable[[], float], bound: float = ALPHA, count: int = simulations) -> str:
        return describe_share(sum(draw() <= bound for _ in range(count)), count)

    def draw_pair(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return random.multinomial(5_000, shares), random.multinomial(1_000, shares)

    yield "KS, 64 bins, 5,000 and 1,000 rows", "5%", simulate(lambda: compute_ks(*draw_pair(even))[1])
    yield "KS, a feature of 4 values", "5%", simulate(lambda: compute_ks(*draw_pair(skewed))[1])
    yield "PSI, 64 bins", "5%", simulate(lambda: compute_psi(*draw_pair(even))[1])
    yield "chi-square, 4 categories", "5%", simulate(lambda: compute_chi_square(*draw_pair(skewed))[1])

    def compare_missing() -> float:
        return compare_shares(random.binomial(5_000, 0.1), 5_000, random.binomial(1_000, 0.1), 1_000)

    yield "missing values, 10 % of both", "5%", simulate(compare_missing)
    for method in ("none", "holm", "benjamini_hochberg"):
        families = max(20, simulations // 4)
        text = simulate(
            lambda method=method: min(
                correct_p_values([compute_chi_square(*draw_pair(skewed))[1] for _ in range(20)], method)
            ),
            count=families,
        )
        yield f"any of 20 features, chi-square, {method}", "64%" if method == "none" else "5%", text
    for mode, line in (("relative", 0.855), ("absolute", 0.85)):

        def lacks_alarm(mode: str = mode, line: float = line) -> float:
            window = estimate_share(int(random.binomial(2_000, line)), 2_000)
            return float(DropRule(mode=mode).evaluate(Estimate.make_fixed(0.9), window).verdict != "alarm")

        yield f"drop of 5 %, {mode}, the accuracy exactly at the line", "2.5%", simulate(lacks_alarm, 0.0)
    yield from count_sequential_false_alarms(random, simulations)


def count_sequential_false_alarms(random: np.random.Generator, simulations: int) -> Iterator[tuple[str, str, str]]:
    length, looks = 5_000, np.arange(100, 5_001, 100)
    crossed = {"bernoulli": 0, "empirical Bernstein": 0}
    for _ in range(simulations):
        losses = (random.random(length) < 0.1).astype(float)
        sums = np.cumsum(losses)
        squares = np.cumsum(np.square(losses - (sums - losses + 0.5) / np.arange(1, length + 1)))
        mixtures = [compute_log_limit_mixture(sums[n - 1], n, 0.1, above=True) for n in looks]
        crossed["bernoulli"] += max(mixtures) >= -math.log(ALPHA)
        rho = 100 / (2 * -math.log(ALPHA) + math.log(1 + 2 * -math.log(ALPHA)))
        mixtures = [compute_log_gamma_mixture(sums[n - 1] - 0.1 * n, squares[n - 1], rho) for n in looks]
        crossed["empirical Bernstein"] += max(mixtures) >= -math.log(ALPHA)
    for name, count in crossed.items():
        yield f"running risk at its limit, {name}, 50 looks", "at most 5%", describe_share(count, simulations)
    total = 100 * length * max(1, simulations // 100)
    detector = IncreaseDetector(0.1, losses_to_false_alarm=5_000)
    alarms = len(detector.update_many((random.random(total) < 0.1).astype(float)))
    yield "e-detector at its limit: losses to a false alarm", "at least 5,000", f"{total / max(1, alarms):,.0f}"
    streams = max(20, simulations // 10)
    found = sum(bool(Adwin().update_many((random.random(length) < 0.1).tolist())) for _ in range(streams))
    yield "ADWIN, delta 0.002, 5,000 errors", "0.2% a cut", describe_share(found, streams)


class Watch:
    """A detector by its name: the rows after which it alarms, restarted never."""

    def __init__(self, name: str, start: int, losses: np.ndarray, window: int) -> None:
        self.name, self.start, self.losses, self.window = name, start, losses, window

    def find_alarms(self) -> list[int]:
        reference, current = self.losses[: self.start], self.losses[self.start :]
        if self.name == "ADWIN":
            return [found.at for found in Adwin().update_many(self.losses.tolist()) if found.at > self.start]
        if self.name == "e-detector":
            limit = float(reference.mean() + 2 * reference.std() / math.sqrt(len(reference)))
            alarms = IncreaseDetector(min(limit, 0.99), losses_to_false_alarm=10_000).update_many(current)
            return [self.start + alarm.at for alarm in alarms]
        if self.name == "running risk":
            return self._watch_running_risk(reference, current)
        return [end for end in range(self.start + self.window, len(self.losses) + 1) if self._is_beyond(reference, end)]

    def _watch_running_risk(self, reference: np.ndarray, current: np.ndarray) -> list[int]:
        limit = float(reference.mean() + 2 * reference.std() / math.sqrt(len(reference)))
        sums, counts = np.cumsum(current), np.arange(1, len(current) + 1)
        squares = np.cumsum(np.square(current - (sums - current + 0.5) / counts))
        places = range(0, len(current), 20 if len(current) > 1_000 else 5)
        return [
            self.start + place + 1
            for place in places
            if sums[place] - find_gamma_boundary(float(squares[place]), 0.01) > limit * counts[place]
        ]

    def _is_beyond(self, reference: np.ndarray, end: int) -> bool:
        if end % max(1, self.window // 5):
            return False
        rows = self.losses[end - self.window : end]
        if self.name == "drop rule":
            rule = DropRule(0.05, better="lower", min_count=self.window)
            estimates = (estimate_mean(len(v), float(v.sum()), float(np.square(v).sum())) for v in (reference, rows))
            return rule.evaluate(*estimates).verdict == "alarm"
        edges = np.unique(np.quantile(reference, np.linspace(0, 1, 17)))
        counts = [np.bincount(np.searchsorted(edges, v), minlength=len(edges) + 1) for v in (reference, rows)]
        return compute_ks(*counts)[1] <= 0.001


DETECTORS = ("ADWIN", "e-detector", "running risk", "drop rule", "KS of windows")


def describe_alarms(alarms: list[int], changes: list[int]) -> str:
    """The delay of the first alarm after the first annotated change, and the first one before it, which is false."""
    early = [alarm for alarm in alarms if alarm < changes[0] - EARLY]
    later = [alarm - changes[0] for alarm in alarms if alarm >= changes[0] - EARLY]
    delay = f"{later[0]:+d}" if later else "none"
    return f"{delay}, false at {early[0]}" if early else delay


def read_series() -> Iterator[tuple[str, np.ndarray, list[int]]]:
    spec = importlib.util.find_spec("river")
    if spec is None or spec.origin is None:
        return
    from river.drift import datasets

    for name, (column, step, since, cls) in SERIES.items():
        with (Path(spec.origin).parent / f"drift/datasets/{name}.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        if since is not None:
            rows = [row for row in rows if date(*(int(row["day"].split("/")[k]) for k in (2, 0, 1))) >= since]
        values = np.array([float(row[column]) for row in rows[::step]])
        marked = sorted(point for points in getattr(datasets, cls)().annotations.values() for point in points)
        firsts = [min(p) for p in getattr(datasets, cls)().annotations.values() if [x for x in p if x > 20]]
        yield name, values, [int(plain.median(firsts)), *marked]


def run_series() -> Iterator[list[str]]:
    for name, values, changes in read_series():
        start = max(20, min(changes[0] - 20, changes[0] * 2 // 3))
        reach = float(np.ptp(values)) or 1.0
        losses = np.abs(values - values[:start].mean()) / reach
        alarms = [Watch(detector, start, losses, 20).find_alarms() for detector in DETECTORS]
        yield [name, str(len(values)), str(changes[0]), *(describe_alarms(a, changes[:1]) for a in alarms)]


def run_synthetic(random: np.random.Generator, streams: int) -> Iterator[list[str]]:
    for after in (0.12, 0.15, 0.2, 0.3):
        delays: dict[str, list[float]] = {name: [] for name in DETECTORS}
        early = dict.fromkeys(DETECTORS, 0)
        for _ in range(streams):
            losses = (random.random(6_000) < np.where(np.arange(6_000) < 4_000, 0.1, after)).astype(float)
            for name in DETECTORS:
                alarms = Watch(name, 2_000, losses, 500).find_alarms()
                early[name] += any(alarm < 4_000 for alarm in alarms)
                delays[name].append(min((a - 4_000 for a in alarms if a >= 4_000), default=math.inf))
        cells = []
        for name in DETECTORS:
            middle = plain.median(delays[name])
            found = sum(math.isfinite(delay) for delay in delays[name])
            cells.append(f"{f'{middle:,.0f}' if math.isfinite(middle) else '-'}; {found}/{streams}; {early[name]}")
        yield [f"10% to {after:.0%}", *cells]


def time_evaluation(random: np.random.Generator) -> dict[str, float]:
    """Ten million rows as the profiles of 720 hours with 20 features each, from JSON to verdicts."""
    import pyarrow as pa

    rows = 13_889
    table = pa.table({f"x{k}": random.normal(0, 1, rows) for k in range(20)})
    layout, reference = build_reference(table)
    part = Profile(layout)
    began = time.process_time()
    part.update(table)
    counting = time.process_time() - began
    text = json.dumps(part.to_dict(), allow_nan=False)
    began = time.process_time()
    merged = merge_profiles(layout, (Profile.from_dict(json.loads(text), layout) for _ in range(720)))
    merging = time.process_time() - began
    compare_profiles(reference, merged)
    return {
        "profile one hour (13,889 rows), s": counting,
        "bytes of its JSON": len(text),
        "read and merge 720 hours, s": merging,
        "compare 20 features, s": time.process_time() - began - merging,
        "peak memory of the process, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": merged.rows,
    }


def print_table(head: list[str], rows: Iterator[list[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    figures = time_evaluation(random)
    print_table(
        ["evaluation", ""],
        ([name, f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}"] for name, value in figures.items()),
    )
    print_table(
        ["no drift", "stated", "simulated"], (list(row) for row in count_false_alarms(random, options.simulations))
    )
    print_table(["error rate at row 4,000 of 6,000", *DETECTORS], run_synthetic(random, options.streams))
    print_table(["series", "rows", "first change", *DETECTORS], run_series())
    print(f"{time.process_time():.0f} s of processor time")


if __name__ == "__main__":
    main()
