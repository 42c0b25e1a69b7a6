"""A table in partitions: seconds, CPU seconds and peak memory of one process, of several, of Dask and of polars.

One process computes, reads and compresses in threads, so on two cores it is also measured on one of them: what several
processes gain by the cores is their time beside that.

Run: python benchmarks/partitions.py [--csv] [rows in millions] [processes] [python with polars] [parts]
(default 20, 2, 1)

With --csv the table is one CSV file, and reading it is part of each way: one process parses it on two threads and
spills its rows, several processes parse ranges of its bytes. polars is left out; benchmarks/clean_stream.py has it.

Of several parts each has so many rows; all are links to one file, so that a table of 20 GB takes one part's room. One
process without partitions, which takes one file, is left out then, and so is polars.

The plan is that of benchmarks/clean_stream.py, from Parquet to Parquet with zstd at level 3. Each way runs in a process
of its own; memory is the largest private memory (USS) of one process, looked at twice a second: more often would take
a tenth of a core from the ways that use both. The results are compared before the times are printed: rows, sums and
counts of missing values. polars and Dask are no dependencies: polars is looked for in the interpreter named, Dask in
this one; a way that is not there is left out. Dask is the cluster that a job over several nodes starts, on this one:
scheduler and workers are processes under TLS, whose start counts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from clean_stream import STEPS

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from deepseek.partitions.nodes.membership import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE  # noqa: E402
from tests.certificates import make_certificate  # noqa: E402

PARTITIONS_PER_PROCESS = 4
ONE_CORE = "one process on one core"
ONE_PROCESS = """
import json, sys
from pathlib import Path
from deepseek.clean.execution import execute, write_parquet
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.tables.sources import ParquetBatches, open_table
table, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
spec = CleanSpec(steps=steps)
source = open_table(table, spec.csv, out).batches if table.suffix == ".csv" else ParquetBatches(table)
write_parquet(execute(spec.steps, source, StepContext(folder=out)).batches, out / "part.parquet")
"""
PARTITIONED = """
import json, sys
from pathlib import Path
from deepseek.clean.partitioned import PartitionedPlan
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.partitions.carriers import open_carrier
from deepseek.partitions.sources import partition_parquet
from deepseek.partitions.tables import open_partitions
table, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
processes, count, *credentials = sys.argv[4:]
def open_cluster():
    import socket
    from deepseek.job import Silent
    from deepseek.partitions.nodes.carrier import open_nodes_carrier
    from deepseek.partitions.nodes.membership import Credentials, Membership
    from deepseek.torchrun.placement import Placement
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        placement = Placement(address="127.0.0.1", port=probe.getsockname()[1])
    membership = Membership(placement, Credentials(Path(credentials[0])))
    return open_nodes_carrier(membership, int(processes), folder=out, inputs={"table": table}, report=Silent())
if __name__ == "__main__":
    with open_cluster() if credentials else open_carrier(int(processes)) as carrier:
        spec = CleanSpec(steps=steps)
        if table.suffix == ".csv":
            sources = open_partitions(table, spec.csv, out, int(count), int(processes), carrier).sources
        else:
            sources = partition_parquet(sorted(table.iterdir()) if table.is_dir() else [table], int(count))
        PartitionedPlan(spec.steps, sources, carrier, StepContext(folder=out)).run()
    for path in [*out.glob("kept-*"), *out.glob("input.parquet")]:
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


def write_csv(path: Path, table: Path) -> None:
    """The rows of a Parquet file as CSV."""
    parquet = pq.ParquetFile(table)
    with pa.csv.CSVWriter(path, parquet.schema_arrow) as writer:
        for batch in parquet.iter_batches():
            writer.write_batch(batch)


def link_parts(path: Path, folder: Path, parts: int) -> Path:
    """A folder with so many links to a file."""
    folder.mkdir()
    for number in range(parts):
        os.link(path, folder / f"{number:05}.parquet")
    return folder


def write_credentials(folder: Path) -> Path:
    """A certificate that signs itself, for both sides of each connection of a cluster."""
    folder.mkdir()
    pem = make_certificate(folder / AUTHORITY_FILE).read_bytes()
    for name in (CERTIFICATE_FILE, KEY_FILE):
        (folder / name).write_bytes(pem)
    return folder


def run_on_one_core() -> None:
    """Keep this process, and what it starts, on the first core that it may use."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def measure(command: list[str], *, one_core: bool = False) -> tuple[float, float, float]:
    """Seconds of a command, its CPU seconds with those of its children, and MB of private memory of the largest."""
    largest, ended = [0], threading.Event()
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONPATH": str(ROOT)},
        preexec_fn=run_on_one_core if one_core else None,
    )

    def watch() -> None:
        root = psutil.Process(process.pid)
        while not ended.wait(0.5):
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
    is_csv = "--csv" in sys.argv
    given = [argument for argument in sys.argv[1:] if argument != "--csv"]
    millions = float(given[0]) if given else 20.0
    processes = int(given[1]) if len(given) > 1 else 2
    peer = given[2] if len(given) > 2 else sys.executable
    parts = int(given[3]) if len(given) > 3 and not is_csv else 1
    folder = Path(tempfile.mkdtemp(prefix="partitions-"))
    try:
        table = folder / "table.parquet"
        write_table(table, int(millions * 1e6))
        if is_csv:
            write_csv(table.with_suffix(".csv"), table)
            table.unlink()
            table = table.with_suffix(".csv")
        size = parts * table.stat().st_size / 1e9
        print(
            f"{parts * millions:g} million rows, {size:.2f} GB of {'CSV' if is_csv else 'Parquet'} in {parts} file(s)\n"
        )
        if parts > 1:
            table = link_parts(table, folder / "table", parts)
        print("| way | seconds | CPU seconds | MB of the largest process | one core / this | one process / this |")
        print("|---|---|---|---|---|---|")
        count = str(PARTITIONS_PER_PROCESS * max(processes, parts))
        ours = [sys.executable, "-c"]
        ways = {} if parts > 1 else {ONE_CORE: [*ours, ONE_PROCESS], "one process": [*ours, ONE_PROCESS]}
        ways["partitions, one process"] = [*ours, PARTITIONED, "1", count]
        ways[f"partitions, {processes} processes"] = [*ours, PARTITIONED, str(processes), count]
        if find_spec("distributed"):
            credentials = str(write_credentials(folder / "credentials"))
            ways[f"Dask, {processes} workers"] = [*ours, PARTITIONED, str(processes), count, credentials]
        if (
            parts == 1
            and not is_csv
            and subprocess.run([peer, "-c", "import polars"], capture_output=True).returncode == 0
        ):
            ways["polars, streaming"] = [peer, "-c", POLARS]
        results = {}
        core = base = 0.0
        for way, (program, flag, code, *more) in ways.items():
            out = folder / f"out-{len(results)}"
            out.mkdir()
            command = [program, flag, code, str(table), str(out), json.dumps(STEPS), *more]
            seconds, cpu, memory = measure(command, one_core=way == ONE_CORE)
            core = core or seconds
            base = base or (0.0 if way == ONE_CORE else seconds)
            ratios = f"{core / seconds:.2f} | {f'{base / seconds:.2f}' if base else ''}"
            print(f"| {way} | {seconds:.1f} | {cpu:.1f} | {memory:.0f} | {ratios} |", flush=True)
            results[way] = summarize(out)
            shutil.rmtree(out)
        expected = next(iter(results.values()))
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
