"""What a quality report costs: peak memory and rows a second at several lengths, beside what pandas tells by itself.

Run: python benchmarks/quality_report.py [rows ...]      (default 1e6 1e7)

A Parquet file of 10 columns (six of floats with 1 % missing, one of integers, of moments, of 50 words and of 1,000) is
written once, and measured by a process of its own each: ours from batches of the file, which are read again for every
pass; the peers from the whole table in memory.

* describe: pandas.DataFrame.describe(include="all") and missing values: counts, means, quartiles, extremes.
* comparable: what the report tells and pandas can: describe, nunique, duplicated rows, value counts, histograms,
  Pearson and Spearman correlation. Memory is the peak of the process, the libraries (about 180 MB) included.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.quality.report import build_quality_report

GROUP = 131_072


def write(path: Path, rows: int) -> None:
    words = pa.array([f"word {n}" for n in range(1000)])
    writer = None
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        rng = np.random.default_rng(start)
        columns = {f"f{n}": pa.array(rng.normal(size=count) * 10**n, mask=rng.random(count) < 0.01) for n in range(6)}
        columns["whole"] = pa.array(rng.integers(0, 100_000, count))
        columns["moment"] = pa.array((start + np.arange(count)).astype("datetime64[s]"))
        columns["few"] = words.take(pa.array(rng.integers(0, 50, count)))
        columns["many"] = words.take(pa.array(rng.integers(0, 1000, count)))
        batch = pa.RecordBatch.from_pydict(columns)
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()


class FileBatches:
    """The row groups of a Parquet file, read anew each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        about = pq.ParquetFile(path)
        self.schema, self.rows = about.schema_arrow, about.metadata.num_rows

    def __iter__(self):
        # Buffered ahead, the whole file would be in memory.
        yield from pq.ParquetFile(self.path, pre_buffer=False).iter_batches(batch_size=GROUP)


def ours(path: Path) -> None:
    build_quality_report(FileBatches(path))


def describe(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.describe(include="all")
    frame.isna().sum()


def comparable(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.describe(include="all")
    frame.isna().sum()
    frame.nunique()
    frame.duplicated().sum()
    numbers = frame.select_dtypes("number")
    for name in numbers:
        np.histogram(numbers[name].dropna(), bins=20)
        (numbers[name] - numbers[name].median()).abs().median()
    for name in ("few", "many"):
        frame[name].value_counts()
        frame[name].str.len().describe()
    numbers.corr()
    numbers.corr(method="spearman")


WAYS = {"ours": ours, "describe": describe, "comparable": comparable}


def alone(way: str, path: Path) -> dict[str, float]:
    words = [sys.executable, __file__, "--alone", way, str(path)]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    if found.returncode:
        return {"seconds": float("nan"), "cpu": float("nan"), "peak_mb": float("nan")}
    return dict(json.loads(found.stdout))


def measure(way: str, path: Path) -> None:
    start = time.perf_counter()
    WAYS[way](path)
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"seconds": time.perf_counter() - start, "cpu": used.ru_utime + used.ru_stime}
    print(json.dumps(told | {"peak_mb": used.ru_maxrss * 1024 / 1e6}))


def main(lengths: list[int]) -> None:
    print("| rows | way | CPU, s | million rows a CPU second | peak, MB | CPU of ours |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in lengths:
            path = Path(folder, f"{rows}.parquet")
            write(path, rows)
            base = 0.0
            for way in WAYS:
                told = alone(way, path)
                base = base or told["cpu"]
                line = [f"{rows:,}", way, f"{told['cpu']:.1f}", f"{rows / told['cpu'] / 1e6:.2f}"]
                line += [f"{told['peak_mb']:.0f}", f"{told['cpu'] / base:.2f}"]
                print(f"| {' | '.join(line)} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main([int(float(text)) for text in sys.argv[1:]] or [10**6, 10**7])
