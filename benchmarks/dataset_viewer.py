"""Pages of rows of a large Parquet table: the first, the last, an order, filters and a search, beside pyarrow.dataset.

    python benchmarks/dataset_viewer.py [--rows 100000000]

The table has a time, a text of 20 values, a number and a small whole number, in row groups of 131,072 rows, and lies in
the store of a plane of its own. Each page is asked for through the whole page of the version by Django's test client,
which starts the bounded child: its wall time, the processor time of both processes, and the most memory of the child.
The alternative answers the same question from the file by pyarrow.dataset, in a fresh process with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

GROUP_ROWS = 131_072
FIRST_SECOND = 1_600_000_000
PAGES = [  # (label, query of the page, the same by pyarrow.dataset)
    ("first page", "", "table = data.head(50)"),
    ("page at the end", "?after={last}", "table = data.take(list(range({last}, {rows})))"),
    ("sort by a random number", "?sort=-temp", "table = top('temp')"),
    ("sort by the time", "?sort=-at", "table = top('at')"),
    ("filter, 1 row in 130,000", "?column=temp&op=gte&value=95", "table = head(field('temp') >= 95)"),
    (
        "two filters, few rows",
        "?column=site&op=eq&value=plant-03&column=temp&op=between&value=98..99",
        "table = head((field('site') == 'plant-03') & (field('temp') >= 98) & (field('temp') <= 99))",
    ),
    (
        "count missing cells",
        "?column=temp&op=missing&value=&count=1",
        "table = head(field('temp').is_null()); data.count_rows(filter=field('temp').is_null())",
    ),
    ("search of a text that is nowhere", "?q=nowhere", "table = head(pc.match_substring(field('site'), 'nowhere'))"),
]
ALTERNATIVE = """
import json, resource, sys, time
start = time.perf_counter()
import pyarrow as pa, pyarrow.compute as pc, pyarrow.dataset as ds
pa.set_cpu_count(1); pa.set_io_thread_count(1)
field = pc.field
data = ds.dataset(sys.argv[1], format="parquet")
def head(condition):
    return data.scanner(filter=condition, use_threads=False).head(50)
def top(column):
    values = data.to_table(columns=[column], use_threads=False)
    return data.take(pc.select_k_unstable(values, 50, [(column, "descending")]))
{code}
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def write_table(path: Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("at", pa.timestamp("s")), ("site", pa.string()), ("temp", pa.float64()), ("status", pa.int32())]
    )
    rng, sites = np.random.default_rng(1), pa.array([f"plant-{n:02d}" for n in range(20)])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["site"]) as writer:
        for first in range(0, rows, GROUP_ROWS):
            size = min(GROUP_ROWS, rows - first)
            columns = {
                "at": pa.array(np.arange(first, first + size) + FIRST_SECOND, pa.timestamp("s")),
                "site": pa.DictionaryArray.from_arrays(rng.integers(0, 20, size).astype("int32"), sites).cast("string"),
                "temp": pa.array(np.round(rng.normal(60, 8, size), 2), mask=rng.random(size) < 0.01),
                "status": rng.integers(0, 5, size).astype("int32"),
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=GROUP_ROWS)


def add_version(path: Path, rows: int):
    """Put the table into the store, as a version of the seeded project."""
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.data.datasets.services import create_dataset
    from apps.data.datasets.versions.manifest import PARQUET
    from apps.data.datasets.versions.registration import add_version as register
    from apps.platform.accounts.models import Project
    from apps.platform.artifacts.models import Artifact, Holding
    from apps.platform.artifacts.services.damage import keep_chunk_digests
    from apps.platform.artifacts.stores import get_store

    actor, project = build_plane_actor(PlaneRole.WORKER), Project.objects.order_by("id").first()
    with get_store().open_staging() as staging, path.open("rb") as file:
        while chunk := file.read(1 << 20):
            staging.write(chunk)
        digest, size = staging.publish()
    artifact = Artifact.objects.create(digest=digest, size=size)
    Holding.objects.create(project=project, artifact=artifact, name="table.parquet", media_type=PARQUET)
    keep_chunk_digests(actor=actor, stored=staging.stored)
    types = {"at": "timestamp[s]", "site": "string", "temp": "double", "status": "int32"}
    version, _ = register(
        actor=actor,
        dataset=create_dataset(actor=actor, project=project, name="sensors"),
        files=[("table.parquet", Artifact.objects.get(pk=digest), PARQUET)],
        media_type=PARQUET,
        rows=rows,
        columns=[{"name": name, "dtype": dtype} for name, dtype in types.items()],
        script="benchmark",
        params={},
    )
    return f"/p/{project.slug}/data/sensors/{version.number}/preview"


def watch_child_memory(peaks: list[float]) -> None:
    """Append the most memory of each child that reads rows, in MiB: its own high-water mark, read while it runs."""
    from apps.data.datasets import bounded_process

    start = bounded_process.start_child

    def start_watched(*args, **more):
        child = start(*args, **more)
        peaks.append(0.0)
        threading.Thread(target=watch, args=(child.pid, peaks, len(peaks) - 1), daemon=True).start()
        return child

    bounded_process.start_child = start_watched


def watch(pid: int, peaks: list[float], place: int) -> None:
    with suppress(OSError):
        while lines := Path(f"/proc/{pid}/status").read_text():
            found = re.search(r"VmHWM:\s+(\d+) kB", lines)
            peaks[place] = max(peaks[place], int(found[1]) / 1024 if found else 0.0)
            time.sleep(0.005)


def measure_page(client, address: str, peaks: list[float]) -> tuple[float, float, float, int]:
    """Seconds, processor seconds with the child's, MiB of the child, and queries."""
    from django.core.cache import caches
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    caches["samples"].clear()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock, begin = time.process_time(), time.perf_counter()
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address)
    seconds, used = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.status_code == 200, answer.status_code
    children = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return seconds, time.process_time() - clock + children, peaks[-1] if peaks else 0.0, len(queries)


def measure_alternative(path: Path, code: str) -> tuple[float, float, float]:
    """Seconds, processor seconds, MiB."""
    answer = subprocess.run(
        [sys.executable, "-c", ALTERNATIVE.replace("{code}", code), str(path)],
        capture_output=True,
        check=False,
        text=True,
    )
    if answer.returncode:
        return float("nan"), float("nan"), float("nan")
    seconds, processor, memory = json.loads(answer.stdout)
    return seconds, processor, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="bench-viewer-", dir=options.folder))
    os.environ.update(PLANE_HOME=str(home / "plane"), LOG_LEVEL="ERROR", SECOND_FACTOR_ROLES="")
    try:
        table = home / "table.parquet"
        write_table(table, options.rows)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        from tests import walking

        walking.first_rows()
        address = add_version(table, options.rows)
        client = walking.visitors()[0].client
        client.get(address)
        peaks: list[float] = []
        watch_child_memory(peaks)
        names = {"rows": options.rows, "last": options.rows - 50}
        print(f"{options.rows:,} rows, {table.stat().st_size / 1e6:,.0f} MB; load {os.getloadavg()[0]:.1f}")
        print("page: wall s, processor s, child MiB, queries | pyarrow.dataset: wall s, processor s, MiB | ratio")
        for label, query, code in PAGES:
            page = measure_page(client, address + query.format(**names), peaks)
            other = measure_alternative(table, code.format(**names))
            print(
                f"{label:34} {page[0]:6.2f} {page[1]:6.2f} {page[2]:5.0f} {page[3]:3} | "
                f"{other[0]:6.2f} {other[1]:6.2f} {other[2]:6.0f} | {page[1] / other[1]:.2f}"
            )
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
