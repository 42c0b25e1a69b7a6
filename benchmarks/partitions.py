"""A table in partitions: seconds, CPU seconds and peak memory of one process, of several, of Dask and of polars.

Run: python benchmarks/partitions.py [rows in millions] [processes] [python with polars]     (default 20, 2)

The plan is that of benchmarks/clean_stream.py, from Parquet to Parquet with zstd at level 3. Each way runs in a process
of its own; memory is the largest private memory (USS) of one process, looked at every 50 ms. The results are compared
before the times are printed: rows, sums and counts of missing values. polars and Dask are no dependencies: polars is
looked for in the interpreter named, Dask in this one; a way that is not there is left out.
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
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from clean_stream import STEPS

PARTITIONS_PER_PROCESS = 4
ONE_PROCESS = """
import json, sys
from pathlib import Path
from deepseek.clean.execution import execute, write_parquet
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.tables.sources import ParquetBatches
table, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
plan = CleanSpec(steps=steps).steps
write_parquet(execute(plan, ParquetBatches(table), StepContext(folder=out)).batches, out / "part.parquet")
"""
PARTITIONED = """
import json, sys
from pathlib import Path
from deepseek.clean.partitioned import PartitionedPlan
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.partitions.carriers import open_carrier
from deepseek.partitions.sources import partition_parquet
table, out, steps, processes, count = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), *sys.argv[4:]
if __name__ == "__main__":
    with open_carrier(int(processes)) as carrier:
        plan = CleanSpec(steps=steps).steps
        PartitionedPlan(plan, partition_parquet([table], int(count)), carrier, StepContext(folder=out)).run()
    for path in out.glob("kept-*"):
        path.unlink()
"""
POLARS = """
import sys
import polars as pl
rows = pl.scan_parquet(sys.argv[1]).filter(pl.col("quantity") > 0)
rows = rows.with_columns(pl.col("temperature").forward_fill(limit=10))
price = pl.col("price")
quartiles = rows.select(a=price.quantile(0.25, "linear"), b=price.quantile(0.75, "linear"))
low, high = quartiles.collect(engine="streaming").row(0)
rows = rows.with_columns(price.clip(low - 1.5 * (high - low), high + 1.5 * (high - low)))
site = pl.col("site").str.replace_all(r"\\s+", " ").str.strip_chars().str.to_lowercase()
rows = rows.with_columns(site).with_columns(total=price * pl.col("quantity"))
path = sys.argv[2] + "/part.parquet"
rows.sink_parquet(path, compression="zstd", compression_level=3, row_group_size=131072, engine="streaming")
"""


def write_table(path: Path, rows: int) -> None:
    """Random rows, a million at a time, the same at every run."""
    rng = np.random.default_rng(7)
    sites = np.array(["North  Hall", "south hall ", "East\tWing", "west", "Depot 12"])
    writer = None
    for start in range(0, rows, 1_000_000):
        size = min(1_000_000, rows - start)
        columns = {
            "id": np.arange(start, start + size),
            "time": pa.array(1_700_000_000_000_000 + 60_000_000 * np.arange(start, start + size), pa.timestamp("us")),
            "site": sites[rng.integers(0, 5, size)],
            "temperature": pa.array(20 + rng.normal(size=size), mask=rng.random(size) < 0.05),
            "price": pa.array(rng.lognormal(3, 1, size), mask=rng.random(size) < 0.01),
            "quantity": rng.integers(-1, 20, size),
            "noise": rng.normal(size=size),
        }
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=131_072)
    if writer is not None:
        writer.close()


def measure(command: list[str]) -> tuple[float, float, float]:
    """Seconds of a command, its CPU seconds with those of its children, and MB of private memory of the largest."""
    largest, ended = [0], threading.Event()
    start = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"})

    def watch() -> None:
        root = psutil.Process(process.pid)
        while not ended.wait(0.05):
            try:
                for each in [root, *root.children(recursive=True)]:
                    largest[0] = max(largest[0], each.memory_full_info().uss)
            except psutil.Error:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, code, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    ended.set()
    watcher.join()
    if code:
        raise SystemExit(f"{command[0]} ended with {code}")
    return seconds, used.ru_utime + used.ru_stime, largest[0] / 1e6


def summarize(folder: Path) -> dict[str, float]:
    """Rows of all parts, and of each column of numbers the sum and the number of missing values."""
    facts: dict[str, float] = {"rows": 0.0}
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=["temperature", "price", "quantity", "total"]):
            facts["rows"] += batch.num_rows
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                facts[name] = facts.get(name, 0.0) + (pc.sum(column).as_py() or 0)
                facts[f"{name} missing"] = facts.get(f"{name} missing", 0.0) + column.null_count
    return facts


def agree(facts: dict[str, float], expected: dict[str, float]) -> bool:
    """Whether two ways give the same rows, sums and missing values."""
    return all(np.isclose(facts[name], expected[name], rtol=1e-9) for name in expected)


def main() -> int:
    """Print a line for each way; 1 where the results differ."""
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    peer = sys.argv[3] if len(sys.argv) > 3 else sys.executable
    folder = Path(tempfile.mkdtemp(prefix="partitions-"))
    try:
        table = folder / "table.parquet"
        write_table(table, int(millions * 1e6))
        print(f"{millions:g} million rows, {table.stat().st_size / 1e9:.2f} GB of Parquet\n")
        print("| way | seconds | CPU seconds | MB of the largest process | one process / this, seconds |")
        print("|---|---|---|---|---|")
        count = str(PARTITIONS_PER_PROCESS * processes)
        ours = [sys.executable, "-c"]
        ways = {
            "one process": [*ours, ONE_PROCESS],
            "partitions, one process": [*ours, PARTITIONED, "1", count],
            f"partitions, {processes} processes": [*ours, PARTITIONED, str(processes), count],
        }
        if subprocess.run([peer, "-c", "import polars"], capture_output=True).returncode == 0:
            ways["polars, streaming"] = [peer, "-c", POLARS]
        results = {}
        base = 0.0
        for way, (program, flag, code, *more) in ways.items():
            out = folder / f"out-{len(results)}"
            out.mkdir()
            seconds, cpu, memory = measure([program, flag, code, str(table), str(out), json.dumps(STEPS), *more])
            base = base or seconds
            print(f"| {way} | {seconds:.1f} | {cpu:.1f} | {memory:.0f} | {base / seconds:.2f} |", flush=True)
            results[way] = summarize(out)
            shutil.rmtree(out)
        expected = results["one process"]
        wrong = [
            way
            for way, facts in results.items()
            if not all(np.isclose(facts[n], expected[n], rtol=1e-9) for n in facts)
        ]
        print(f"\nthe results differ: {wrong}" if wrong else "\nthe results agree")
        return 1 if wrong else 0
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
