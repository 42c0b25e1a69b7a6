"""A large CSV through a plan of five steps: seconds and peak memory of ours and of polars' streaming engine.

Run: python benchmarks/clean_stream.py [gigabytes] [rounds] [python with polars]      (default 5 GB, 1 round)

The steps: keep rows with a quantity, carry the temperature forward over gaps of up to 10 rows, cap prices at the fences
around the quartiles (exact, over the whole table), normalise the spaces and the case of a text, compute a total. The
result is Parquet with zstd at level 3 and row groups of 131,072 rows, on both sides. Each way runs in a process of its
own; the peak is of resident memory, summed over the process and its children, looked at every 20 ms. polars is not a
dependency: it is looked for in the interpreter named. The file is made first, and removed at the end. Before the times
are told, the two results are compared: rows, sums and counts of missing values.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

STEPS = [
    {"kind": "filter", "conditions": [{"column": "quantity", "op": "gt", "value": "0"}]},
    {"kind": "fill_forward", "columns": ["temperature"], "limit": 10},
    {"kind": "outliers", "columns": ["price"], "method": "iqr", "action": "cap"},
    {"kind": "normalise_text", "columns": ["site"], "case": "lower"},
    {"kind": "derive", "name": "total", "expression": "price * quantity"},
]
OURS = """
import json, sys
from pathlib import Path
from deepseek.clean.execution import execute, write_parquet
from deepseek.tables.sources import open_table
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
path, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
spec = CleanSpec(steps=steps)
source = open_table(path, spec.csv, out.parent)
write_parquet(execute(spec.steps, source.batches, StepContext(folder=out.parent)).batches, out)
"""
POLARS = """
import sys
import polars as pl
path, out = sys.argv[1], sys.argv[2]
rows = pl.scan_csv(path, try_parse_dates=True).filter(pl.col("quantity") > 0)
rows = rows.with_columns(pl.col("temperature").forward_fill(limit=10))
price = pl.col("price")
quartiles = rows.select(a=price.quantile(0.25, "linear"), b=price.quantile(0.75, "linear"))
low, high = quartiles.collect(engine="streaming").row(0)
rows = rows.with_columns(price.clip(low - 1.5 * (high - low), high + 1.5 * (high - low)))
site = pl.col("site").str.replace_all(r"\\s+", " ").str.strip_chars().str.to_lowercase()
rows = rows.with_columns(site).with_columns(total=price * pl.col("quantity"))
rows.sink_parquet(out, compression="zstd", compression_level=3, row_group_size=131072, engine="streaming")
"""


HEAD = """\
| round | ours, s | CPU s | peak, MB | polars, s | CPU s | peak, MB | rate of ours to polars | by CPU time |
|---|---|---|---|---|---|---|---|---|"""


def make(path: Path, size: int) -> int:
    """A CSV of about `size` bytes; returns its rows. One block of random rows is written again and again."""
    rng = np.random.default_rng(7)
    sites = ["North  Hall", "south hall ", "East\tWing", "west", "Depot 12"]
    lines = []
    for n in range(200_000):
        temperature = "" if rng.random() < 0.05 else f"{20 + rng.normal():.3f}"
        price = "" if rng.random() < 0.01 else f"{rng.lognormal(3, 1):.4f}"
        when = f"2024-{1 + n % 12:02d}-{1 + n % 28:02d} {n % 24:02d}:{n % 60:02d}:00"
        lines.append(f"{n},{when},{sites[n % 5]},{temperature},{price},{rng.integers(-1, 20)},{rng.normal():.6f}\n")
    block = "".join(lines).encode()
    rows = 0
    with path.open("wb") as file:
        file.write(b"id,time,site,temperature,price,quantity,noise\n")
        while file.tell() < size:
            file.write(block)
            rows += len(lines)
    return rows


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds of a process, its CPU seconds, and the peak in MB of the memory resident in it and below it."""
    peak, ended = [0], threading.Event()
    start = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"})

    def watch() -> None:
        root = psutil.Process(process.pid)
        while not ended.wait(0.02):
            try:
                tree = [root, *root.children(recursive=True)]
                peak[0] = max(peak[0], sum(one.memory_info().rss for one in tree))
            except psutil.Error:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, code, used = os.wait4(process.pid, 0)
    taken = time.monotonic() - start
    ended.set()
    watcher.join()
    if code:
        raise SystemExit(f"{command[0]} ended with {code}")
    return taken, used.ru_utime + used.ru_stime, peak[0] / 1e6


def facts(path: Path) -> dict[str, float]:
    """Rows, and of each column of numbers the sum and the number of missing values."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    told: dict[str, float] = {}
    for batch in pq.ParquetFile(path).iter_batches(columns=["temperature", "price", "quantity", "total", "site"]):
        told["rows"] = told.get("rows", 0) + batch.num_rows
        for name in ("temperature", "price", "quantity", "total"):
            told[name] = told.get(name, 0) + (pc.sum(batch.column(name)).as_py() or 0)
            told[f"{name} missing"] = told.get(f"{name} missing", 0) + batch.column(name).null_count
        told["letters"] = told.get("letters", 0) + pc.sum(pc.utf8_length(batch.column("site"))).as_py()
    return told


def main() -> int:
    """Print one line per round and way; 1 where the results differ."""
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    peer = sys.argv[3] if len(sys.argv) > 3 else sys.executable
    folder = Path(tempfile.mkdtemp(prefix="clean-stream-"))
    try:
        path = folder / "table.csv"
        rows = make(path, int(size * 1e9))
        print(f"{path.stat().st_size / 1e9:.2f} GB, {rows:,} rows\n")
        print(HEAD)
        for number in range(1, rounds + 1):
            ours = measured([sys.executable, "-c", OURS, str(path), str(folder / "ours.parquet"), json.dumps(STEPS)])
            theirs = measured([peer, "-c", POLARS, str(path), str(folder / "polars.parquet")])
            cells = [f"{number}", *(f"{one:.1f} | {cpu:.1f} | {peak:.0f}" for one, cpu, peak in (ours, theirs))]
            print(f"| {' | '.join(cells)} | {theirs[0] / ours[0]:.2f} | {theirs[1] / ours[1]:.2f} |", flush=True)
        found = [facts(folder / name) for name in ("ours.parquet", "polars.parquet")]
        same = all(np.isclose(found[0][name], found[1][name], rtol=1e-9) for name in found[0])
        print("\nthe results agree" if same else f"\nthe results differ: {found}")
        return 0 if same else 1
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
