"""How often the gates of canaries err, and how often they see what they should, beside what is stated.

    python benchmarks/canary.py [--simulations 4000] [--waves 150] [--seed 1] [--quick]

Simulates waves and counts what crosses. Statistics and boundaries are those of deepseek/canary. "Stated" is the error
that was planned, or the power that the boundaries have if the statistic is exactly normal; "simulated" has the interval
of Clopper and Pearson at 95 %. The last table runs the whole verdict over waves of 40 canaries. Then one verdict over
100,000 devices is timed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepseek.canary import boundaries, comparisons, e_processes
from deepseek.canary.boundaries import Family, compute_boundaries, compute_crossing_probabilities
from deepseek.canary.comparisons import (
    Arms,
    compare_means,
    compute_margin_z,
    compute_permutation_z,
    compute_share_bound,
)
from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from deepseek.canary.verdict import evaluate_canary

HARM, PROMOTION = 0.01, 0.05
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Row = tuple[str, str, float | None, np.ndarray]
"""The test, the situation, what is stated, and the look (from 1) at which each simulation crossed, or 0."""


def draw_normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.normal(0, 1, shape)


def draw_skewed(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Lognormal with sigma 0.75, as latencies are, with variance 1 and a mean of 1.15."""
    sigma = 0.75
    return random.lognormal(0, sigma, shape) / math.sqrt((math.exp(sigma**2) - 1) * math.exp(sigma**2))


def list_fractions(looks: int) -> tuple[float, ...]:
    return tuple((look + 1) / looks for look in range(looks))


def find_crossings(z: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """`z`: looks in the last dimension."""
    crossed = z >= np.array(limits)
    return np.where(crossed.any(-1), crossed.argmax(-1) + 1, 0)


def compute_power(looks: int, alpha: float, family: Family, distance: float) -> float:
    """`distance`: the difference in standard errors at the planned maximum."""
    limits = compute_boundaries(list_fractions(looks), alpha, family)
    return sum(compute_crossing_probabilities(list_fractions(looks), limits, distance))


def sum_arms(canary: np.ndarray, control: np.ndarray, strata: int = 1) -> Arms:
    """Of values with devices in the last dimension, which stand in strata by turns."""
    parts = []
    for values in (canary, control):
        split = [values[..., place::strata] for place in range(strata)]
        counts = np.stack([np.full(values.shape[:-1], each.shape[-1], float) for each in split], -1)
        means = np.stack([each.mean(-1) for each in split], -1)
        squares, cubes = (
            np.stack([((each - each.mean(-1, keepdims=True)) ** power).sum(-1) for each in split], -1)
            for power in (2, 3)
        )
        parts.append((counts, means, squares, cubes))
    return Arms(*(pair for both in zip(*parts, strict=True) for pair in both))


def build_share_arms(canary: np.ndarray, canary_size: Any, control: np.ndarray, control_size: Any) -> Arms:
    """Of counts of failures; one stratum."""
    pairs = [(canary, canary_size), (control, control_size)]
    sizes = [np.broadcast_to(np.asarray(size, float), events.shape)[..., None] for events, size in pairs]
    means = [events[..., None] / size for (events, _), size in zip(pairs, sizes, strict=True)]
    return Arms(*sizes, *means, *(0.0 * size for size in sizes))


def simulate_means(random: np.random.Generator, count: int) -> Iterator[Row]:
    """Devices come one after the other; the first look has ten canaries. Two strata."""
    for canary, control, looks, name, draw in (
        (40, 360, 4, "40 and 360 devices, normal", draw_normal),
        (20, 180, 2, "20 and 180 devices, normal", draw_normal),
        (10, 90, 1, "10 and 90 devices, normal", draw_normal),
        (40, 360, 4, "40 and 360 devices, skewed", draw_skewed),
        (40, 360, 4, "40 and 360 devices, skewed, stretched", draw_skewed),
        (10, 90, 1, "10 and 90 devices, skewed, stretched", draw_skewed),
    ):
        sign = {"has_one_sign": draw is draw_skewed}
        error = math.sqrt(1 / canary + 1 / control)
        margin = 3.2 * error
        for test, family, alpha, shift, true in (
            ("harm", "pocock", HARM, 0.0, 0.0),
            ("harm", "pocock", HARM, 0.0, 4.0 * error),
            ("non-inferiority", "obrien_fleming", PROMOTION, margin, margin),
            ("non-inferiority", "obrien_fleming", PROMOTION, margin, 0.0),
        ):
            first, second = draw(random, (count, canary)), draw(random, (count, control))
            first = first * (1 + true / second.mean()) if "stretched" in name else first + true
            z = []
            for look in range(1, looks + 1):
                arms = sum_arms(first[:, : canary * look // looks], second[:, : control * look // looks], 2)
                is_harm = test == "harm"
                z.append(compute_permutation_z(arms, shift) if is_harm else compute_margin_z(arms, shift, **sign))
            limits = compute_boundaries(list_fractions(looks), alpha, family)
            distance = abs(true - shift) / error  # of which the normal theory knows no degrees of freedom
            stated = alpha if distance == 0 else compute_power(looks, alpha, family, distance)
            what = "no difference" if true == 0 else "a margin worse" if test != "harm" else "4 standard errors worse"
            yield f"mean, {test}", f"{name}; {what}", stated, find_crossings(np.stack(z, -1), limits)


def simulate_longer_observation(random: np.random.Generator, count: int) -> Iterator[Row]:
    """All devices are there from the first look; half of the variance at the end lies between them."""
    looks, canary, control = 12, 40, 360
    for name, between in (("half of the variance between devices", 1.0), ("none of it", 0.0)):
        z, totals = [], [np.zeros((count, size)) for size in (canary, control)]
        levels = [random.normal(0, math.sqrt(between), (count, size)) for size in (canary, control)]
        for look in range(1, looks + 1):
            for total in totals:
                total += random.normal(0, math.sqrt(looks), total.shape)
            first, second = (level + total / look for level, total in zip(levels, totals, strict=True))
            z.append(compute_permutation_z(sum_arms(first, second), 0.0))
        limits = compute_boundaries(list_fractions(looks), HARM, "pocock")
        situation = f"12 looks at the same 40 and 360 devices, {name}; no difference"
        yield "mean, harm", situation, HARM, find_crossings(np.stack(z, -1), limits)


def simulate_limits_of_means(random: np.random.Generator, count: int) -> Iterator[Row]:
    """What the hypotheses leave out, at one look: Student's t alone on skewed figures, and a spread that doubles."""
    for canary, control in ((10, 90), (40, 360)):
        first, second = draw_skewed(random, (count, canary)), draw_skewed(random, (count, control))
        margin = 3.2 * math.sqrt(1 / canary + 1 / control)
        for name, worse in (("shifted", first + margin), ("stretched", first * (1 + margin / second.mean()))):
            z = -compare_means(sum_arms(worse, second)).compute_z(margin)[..., None]
            situation = f"{canary} and {control} devices, skewed, {name}; a margin worse"
            yield (
                "Student's t alone",
                situation,
                PROMOTION,
                find_crossings(z, compute_boundaries((1.0,), 0.05, "pocock")),
            )
        z = compute_permutation_z(
            sum_arms(2 * draw_normal(random, first.shape), draw_normal(random, second.shape)), 0.0
        )
        crossings = find_crossings(z[..., None], compute_boundaries((1.0,), HARM, "pocock"))
        yield "mean, harm", f"{canary} and {control} devices, normal; twice the spread, no difference", None, crossings


def simulate_counts(random: np.random.Generator, count: int) -> Iterator[Row]:
    """100 canaries and 900 controls report at each of 24 looks, as in the comparison that chose the method."""
    looks, canary, control = 24, 100, 900
    limits = compute_boundaries(list_fractions(looks), HARM, "pocock")
    sizes = np.arange(1, looks + 1)
    for usual, rate in ((0.01, 0.01), (0.05, 0.05), (0.01, 0.015), (0.01, 0.02), (0.01, 0.03)):
        first = random.binomial(canary, rate, (count, looks)).cumsum(-1)
        second = random.binomial(control, usual, (count, looks)).cumsum(-1)
        z = comparisons.compute_exact_z(build_share_arms(first, canary * sizes, second, control * sizes))
        situation = f"24 looks of 100 and 900 devices; {usual:.1%} and {rate:.1%}"
        yield "failures, harm", situation, HARM if usual == rate else None, find_crossings(z, limits)
    for rate in (0.01, 0.05, 0.2):
        first = random.binomial(8, rate, (count, 5)).cumsum(-1)
        second = random.binomial(72, rate, (count, 5)).cumsum(-1)
        sizes = np.arange(1, 6)
        z = comparisons.compute_exact_z(build_share_arms(first, 8 * sizes, second, 72 * sizes))
        crossings = find_crossings(z, compute_boundaries(list_fractions(5), HARM, "pocock"))
        yield "failures, harm", f"5 looks of 8 and 72 devices; {rate:.0%} and {rate:.0%}", HARM, crossings


def simulate_margins(random: np.random.Generator, count: int) -> Iterator[Row]:
    """Shares with a margin: the stratified score test at five looks."""
    looks, margin = 5, 0.05
    limits = compute_boundaries(list_fractions(looks), PROMOTION, "obrien_fleming")
    for canary, control in ((100, 900), (40, 360)):
        for usual, rate in ((0.01, 0.06), (0.05, 0.1), (0.01, 0.01)):
            first = random.binomial(canary // looks, rate, (count, looks)).cumsum(-1)
            second = random.binomial(control // looks, usual, (count, looks)).cumsum(-1)
            sizes = np.arange(1, looks + 1)
            arms = build_share_arms(first, canary // looks * sizes, second, control // looks * sizes)
            z = -comparisons.compute_score_z(arms, margin)
            situation = f"{canary} and {control} devices, margin 5 %; {usual:.0%} and {rate:.0%}"
            stated = PROMOTION if rate > usual else None
            yield "share, non-inferiority", situation, stated, find_crossings(z, limits)


def simulate_limit(random: np.random.Generator, count: int) -> Iterator[Row]:
    """Installations beside a limit of 5 %: the exact binomial test at five looks of 20 canaries."""
    limits = compute_boundaries(list_fractions(5), HARM, "pocock")
    for rate in (0.05, 0.1, 0.2):
        events = random.binomial(20, rate, (count, 5)).cumsum(-1)
        z = comparisons.compute_limit_z(events, 20 * np.arange(1, 6), 0.05, above=True)
        stated = HARM if rate == 0.05 else None
        situation = f"5 looks of 20 canaries, limit 5 %; {rate:.0%} fail"
        yield "installations, harm", situation, stated, find_crossings(z, limits)


def simulate_e_processes(random: np.random.Generator, count: int) -> Iterator[Row]:
    """Looks without a planned end: at every canary more of 200, and at every 5 of 500 failures."""
    margin = 0.5
    for true in (0.0, 0.5):
        few = count // 4  # the sums of this one take as long as all others together
        first, second = random.normal(true, 1, (few, 200)), random.normal(0, 1, (few, 1800))
        logs = []
        for canary in range(10, 201, 2):
            arms = sum_arms(first[:, :canary], second[:, : 9 * canary])
            scale = margin**2 / compare_means(arms).error ** 2
            logs.append(e_processes.compute_log_normal_mixture(compute_permutation_z(arms, 0.0), scale))
        crossings = find_crossings(np.stack(logs, -1), [-math.log(HARM)] * len(logs))
        situation = f"96 looks at 10 to 200 canaries; {true:g} standard deviations worse"
        yield "mean, e-process", situation, HARM if true == 0 else None, crossings
    for ratio in (1, 2, 3):
        share = 0.1 * ratio / (0.9 + 0.1 * ratio)
        canary = (random.random((count, 500)) < share).cumsum(-1)[:, 4::5]
        failures = np.arange(5, 501, 5)
        normalizer = np.log(0.9 + 0.1 * e_processes.RATE_RATIOS)
        logs = canary[..., None] * np.log(e_processes.RATE_RATIOS) - failures[:, None] * normalizer
        mixed = np.logaddexp.reduce(logs, -1) - math.log(len(e_processes.RATE_RATIOS))
        situation = f"100 looks at 5 to 500 failures, 1 canary to 9; {ratio} times as often"
        stated = HARM if ratio == 1 else None
        yield "failures, e-process", situation, stated, find_crossings(mixed, [-math.log(HARM)] * 100)


def simulate_waves(random: np.random.Generator, waves: int) -> Iterator[tuple[str, dict[str, int]]]:
    """{verdict: how often} of whole waves: 40 canaries and 360 controls, five looks, three gates."""
    gates = [
        {"name": "latency", "tests": ["harm", "non_inferiority"], "margin": 0.6},
        {"name": "error", "tests": ["harm", "non_inferiority"], "margin": 0.6},
        {"name": "failure", "measure": "failure", "scale": "binary"},
    ]
    plan = CanaryPlan.model_validate({"gates": gates, "maximum": {"canary": 40, "control": 360}, "min_canary": 8})
    for name, worse, failing in (
        ("as good", 0.0, 0.01),
        ("latency 0.6 standard deviations worse, the margin", 0.6, 0.01),
        ("latency 1 standard deviation worse", 1.0, 0.01),
        ("20 % of the canaries fail, 1 % of the others", 0.0, 0.2),
    ):
        counts = dict.fromkeys(("go_on", "hold", "roll_back"), 0)
        for _ in range(waves):
            counts[run_wave(random, plan, worse, failing)] += 1
        yield name, counts


def run_wave(random: np.random.Generator, plan: CanaryPlan, worse: float, failing: float) -> str:
    devices = {arm: build_devices(random, arm, size) for arm, size in (("canary", 40), ("control", 360))}
    for device in devices["canary"]:
        device["values"]["latency"]["mean"] += worse
        device["failed"] = bool(random.random() < failing)
    history, at = None, datetime(2026, 1, 1, tzinfo=UTC)
    for look in range(1, 6):
        seen = [*devices["canary"][: 8 * look], *devices["control"][: 72 * look]]
        document = {"at": at + timedelta(hours=look), "devices": seen, "history": history, "final": look == 5}
        verdict = evaluate_canary(plan, Evidence.model_validate(document))
        history = verdict["history"]
        if verdict["verdict"] != "hold":
            break
    return str(verdict["verdict"])


WATCHED_LOOKS = 24


def simulate_watch(random: np.random.Generator, waves: int) -> Iterator[tuple[str, int, int]]:
    """(situation, waves that the gates roll back, waves that the watch rolls back afterwards).

    Rollouts watch a wave that waits for people after its last look (docs/rollouts.md): harm alone, by e-processes, on
    the same devices, which are observed longer. A device's mean has a part that stays (half of the variance of its
    first hour) and noise that falls with time. As many gates and looks as in `simulate_waves`.
    """
    names = ("latency", "error")
    gates = [{"name": name, "tests": ["harm"], "margin": 0.6} for name in names]
    document = {"gates": gates, "min_canary": 8}
    plan = CanaryPlan.model_validate(document | {"maximum": {"canary": 40, "control": 360}})
    watch = CanaryPlan.model_validate(document)
    for situation, later in (("as good", 0.0), ("1 standard deviation worse from the last look on", 1.0)):
        stopped = {"gates": 0, "watch": 0}
        for _ in range(waves):
            own = random.normal(0, math.sqrt(0.5), (400, 2))
            noise, history, at = np.zeros((400, 2)), None, datetime(2026, 1, 1, tzinfo=UTC)
            for look in range(1, 6 + WATCHED_LOOKS):
                noise += random.normal(0, math.sqrt(0.5), (400, 2))
                means = own + noise / look
                means[:40] += later * max(0, look - 5) / look
                arms = ((0, 8 * min(look, 5), "canary"), (40, 40 + 72 * min(look, 5), "control"))
                seen = [
                    describe_device(f"{arm}-{n}", arm, n, zip(names, means[n], strict=True), 3600 * look)
                    for low, high, arm in arms
                    for n in range(low, high)
                ]
                document = {"at": at + timedelta(hours=look), "devices": seen, "history": history, "final": look == 5}
                verdict = evaluate_canary(plan if look <= 5 else watch, Evidence.model_validate(document))
                history = None if look == 5 else verdict["history"]
                if verdict["verdict"] == "roll_back":
                    stopped["gates" if look <= 5 else "watch"] += 1
                    break
        yield situation, stopped["gates"], stopped["watch"]


def describe_device(
    name: str, arm: str, number: int, means: Iterable[tuple[str, float]], seconds: float
) -> dict[str, Any]:
    values = {metric: {"mean": mean} for metric, mean in means}
    return {
        "device": name,
        "arm": arm,
        "stratum": "ab"[number % 2],
        "observed_seconds": seconds,
        "failed": False,
        "values": values,
    }


def build_devices(random: np.random.Generator, arm: str, count: int) -> list[dict[str, Any]]:
    figures = random.normal(0, 1, (count, 2))
    fails = random.random(count) < 0.01
    return [
        {
            "device": f"{arm}-{number}",
            "arm": arm,
            "stratum": "ab"[number % 2],
            "observed_seconds": 86_400,
            "failed": bool(fails[number]),
            "values": {"latency": {"mean": figures[number, 0]}, "error": {"mean": figures[number, 1]}},
        }
        for number in range(count)
    ]


def time_verdict(random: np.random.Generator, count: int) -> tuple[float, float]:
    """Seconds to read the evidence of so many devices, and to make the verdict."""
    gate = {"name": "latency", "tests": ["harm", "non_inferiority"], "margin": 0.6}
    document = {"gates": [gate], "maximum": {"canary": count // 10, "control": count * 9 // 10}}
    plan = CanaryPlan.model_validate(document)
    devices = [*build_devices(random, "canary", count // 10), *build_devices(random, "control", count * 9 // 10)]
    started = time.process_time()
    evidence = Evidence.model_validate({"at": datetime(2026, 1, 1, tzinfo=UTC), "devices": devices})
    read = time.process_time()
    evaluate_canary(plan, evidence)
    return read - started, time.process_time() - read


def format_share(crossed: int, count: int) -> str:
    low, high = (compute_share_bound(crossed, count, 0.025, upper=upper) for upper in (False, True))
    return f"{crossed / count:.2%} ({low:.2%} to {high:.2%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--waves", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tenth of both")
    arguments = parser.parse_args()
    count = arguments.simulations // 10 if arguments.quick else arguments.simulations
    waves = arguments.waves // 10 if arguments.quick else arguments.waves
    random = np.random.default_rng(arguments.seed)
    started = time.process_time()
    boundaries.compute_boundaries.cache_clear()
    print("| test | situation | stated | simulated | median look |\n|---|---|---|---|---|")
    for simulate in (
        simulate_means,
        simulate_longer_observation,
        simulate_limits_of_means,
        simulate_counts,
        simulate_margins,
        simulate_limit,
        simulate_e_processes,
    ):
        for test, situation, stated, crossings in simulate(random, count):
            crossed = crossings[crossings > 0]
            median = f"{np.median(crossed):.0f}" if len(crossed) else ""
            words = "" if stated is None else f"{stated:.1%}"
            print(f"| {test} | {situation} | {words} | {format_share(len(crossed), len(crossings))} | {median} |")
    print("\n| wave | go on | hold | roll back |\n|---|---|---|---|")
    for name, counts in simulate_waves(random, waves):
        cells = " | ".join(format_share(counts[verdict], waves) for verdict in ("go_on", "hold", "roll_back"))
        print(f"| {name} | {cells} |")
    print("\n| wave that waits after its last look | rolled back by its gates | by the watch |\n|---|---|---|")
    for situation, *crossed in simulate_watch(random, waves):
        print(f"| {situation} | {' | '.join(format_share(each, waves) for each in crossed)} |")
    read, evaluated = time_verdict(random, 100_000)
    print(f"\n100,000 devices: {read:.2f} s to read, {evaluated:.2f} s for the verdict.")
    print(f"{count} simulations, {waves} waves, {time.process_time() - started:.0f} s of the processor.")


if __name__ == "__main__":
    main()
