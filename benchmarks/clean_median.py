"""Sliding median fill: rows per second of ours, of the source text's loop, of pandas rolling, and of an array copy.

Run: python benchmarks/clean_median.py [rows] [rounds]      (default 1,000,000 rows, 7 rounds)
     python benchmarks/clean_median.py long [rows]          (default 100,000,000 rows: whole, and by millions)

The ways alternate within each round, in one process; the figure is the median over rounds of CPU seconds. The loop is
slow, so it runs once, on a tenth of the rows (on a Series, a fiftieth). Before anything is timed, ours is compared with
the loop byte for byte on that tenth, and with pandas on all rows; a difference ends the run with exit code 1.
"""

import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from deepseek.clean import sliding_median_fill

CASES = [(share, window) for window in (5, 51, 1001) for share in (0.01, 0.10)]
LOOP_SHARE, SERIES_SHARE = 10, 50
LONG_ROUNDS = 5


def loop(series: Any, window_size: int) -> Any:
    """The function of the source text, written down literally."""
    filled = series.copy()
    for i in range(len(series)):
        if pd.isna(series[i]):
            start = max(0, i - window_size // 2)
            end = min(len(series), i + window_size // 2 + 1)
            window = series[start:end]
            filled[i] = np.median(window[~pd.isna(window)])
    return filled


def rolling(values: np.ndarray, window: int) -> np.ndarray:
    """The usual way in pandas."""
    series = pd.Series(values)
    medians = series.rolling(2 * (window // 2) + 1, center=True, min_periods=1).median()
    return series.where(series.notna(), medians).to_numpy()


def copy(values: np.ndarray, window: int) -> np.ndarray:
    """The limit: the result must be written once."""
    return values.copy()


def data(rows: int, share: float) -> np.ndarray:
    """A random walk with noise; missing at random, at both ends, and in one gap of 60 rows."""
    rng = np.random.default_rng(20)
    values = rng.normal(size=rows).cumsum() * 0.1 + rng.normal(size=rows)
    values[rng.random(rows) < share] = np.nan
    values[[0, 1, -1]] = np.nan
    values[rows // 3 : rows // 3 + 60] = np.nan
    return values


def seconds(function: Callable[[Any, int], Any], values: Any, window: int) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    function(values, window)
    return time.process_time() - start


def measure(values: np.ndarray, window: int, rounds: int) -> dict[str, float]:
    """Rows per second of each way, median over the rounds."""
    ways = {"ours": sliding_median_fill, "pandas": rolling, "copy": copy}
    for function in ways.values():
        function(values, window)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, function in ways.items():
            times[name].append(seconds(function, values, window))
    return {name: values.size / statistics.median(taken) for name, taken in times.items()}


def _short(value: float) -> str:
    """Three figures, never in exponent form."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def line(share: float, window: int, rows: int, rounds: int) -> str | None:
    """One row of the table; None if the results differ."""
    values, part = data(rows, share), data(rows // LOOP_SHARE, share)
    start = time.process_time()
    wanted = loop(part, window)
    on_array = part.size / (time.process_time() - start)
    short = pd.Series(part[: rows // SERIES_SHARE])
    on_series = short.size / seconds(loop, short, window)
    same = sliding_median_fill(part, window).tobytes() == wanted.tobytes()
    if not same or not np.array_equal(sliding_median_fill(values, window), rolling(values, window), equal_nan=True):
        return None
    found = measure(values, window, rounds)
    ours = found["ours"]
    cells = [f"{share:.0%}", str(window)]
    cells += [_short(rate / 1e6) for rate in (ours, on_series, on_array, found["pandas"], found["copy"])]
    cells += [_short(ours / rate) for rate in (on_series, on_array, found["pandas"])] + [f"{ours / found['copy']:.0%}"]
    return "| " + " | ".join(cells) + " |"


def long(rows: int) -> int:
    """Rates over a table of so many rows, whole and a million rows at a time, against a copy of each.

    Both read the whole table, so neither finds it in the processor's caches. The first call is told apart: it is handed
    pages that the system, on a virtual machine the host too, must first find. `MB besides`: taken besides the result.
    """
    print("| missing | window | by millions | of copy | whole | of copy | rate kept | first call | MB besides |")
    print("|" + "---|" * 9)
    million = 1_000_000
    for share, window in CASES[:4]:
        values = np.tile(data(million, share), rows // million)
        parts = [values[start : start + million] for start in range(0, values.size, million)]
        first = seconds(sliding_median_fill, values, window)
        took: dict[str, list[float]] = {"ours": [], "copy": [], "parts": [], "copies": []}
        for _ in range(LONG_ROUNDS):
            took["ours"].append(seconds(sliding_median_fill, values, window))
            took["copy"].append(seconds(copy, values, window))
            took["parts"].append(sum(seconds(sliding_median_fill, part, window) for part in parts))
            took["copies"].append(sum(seconds(copy, part, window) for part in parts))
        tracemalloc.start()
        sliding_median_fill(values, window)
        besides = (tracemalloc.get_traced_memory()[1] - values.nbytes) / 1e6
        tracemalloc.stop()
        ours, copied, in_parts, copies = (statistics.median(took[name]) for name in ("ours", "copy", "parts", "copies"))
        rates = [values.size / one / 1e6 for one in (in_parts, ours, first)]
        told = f"{rates[0]:.0f} | {copies / in_parts:.0%} | {rates[1]:.0f} | {copied / ours:.0%}"
        told += f" | {in_parts / ours:.2f} | {rates[2]:.0f} | {besides:.0f}"
        print(f"| {share:.0%} | {window} | {told} |", flush=True)
    return 0


def main() -> int:
    """Print the table; 1 if a result is wrong."""
    if sys.argv[1:2] == ["long"]:
        return long(int(float(sys.argv[2])) if len(sys.argv) > 2 else 100_000_000)
    rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    print(
        f"{rows:,} float64 rows, {rounds} rounds; million rows/s, and times ours is faster (copy: share of its rate)\n"
    )
    names = ["missing", "window", "ours", "loop, Series", "loop, array", "pandas rolling", "array copy"]
    print("| " + " | ".join([*names, "x Series", "x array", "x pandas", "of copy"]) + " |")
    print("|" + "---|" * 11)
    for share, window in CASES:
        row = line(share, window, rows, rounds)
        if row is None:
            print(f"missing {share:.0%}, window {window}: the results differ", file=sys.stderr)
            return 1
        print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
