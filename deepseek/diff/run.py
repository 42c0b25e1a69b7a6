"""Compare two tables row by row and write what differs."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.diff.rows import Counts, Plan, compare
from deepseek.diff.sides import MOST_PARTS, PART_BYTES, Side, add_key, find_key_types, read_part, split_into_parts
from deepseek.diff.spec import DiffSpec
from deepseek.job import JSON, Output, Report, Result, stage_outputs

SCHEMA = "plane/table-diff/v1"
PARQUET = "application/vnd.apache.parquet"


def run(spec: DiffSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Write ``changes.parquet`` (a row for each row that differs) and ``summary.json`` into `out`.

    Memory is bounded whatever the tables: what does not fit is parted by the hash of the key, and compared by parts.
    Raises EngineError ``unknown_column``, ``duplicate_key``, and what reading a table raises.
    """
    before = Side("before", Path(inputs["before"]), spec.csv_before)
    after = Side("after", Path(inputs["after"]), spec.csv_after)
    with stage_outputs(out) as stage:
        for side in (before, after):
            report.progress(0, None, "rows", stage="read")
            side.open(stage)
        plan = Plan(before, after, spec.keys, find_key_types(before, after, spec.keys))
        counts = Counts()
        written = 0
        rows: dict[str, int] = {}
        with pq.ParquetWriter(stage / "changes.parquet", plan.schema, compression="zstd", version="2.6") as writer:
            for number, total, old, new in iterate_parts(plan, stage, rows, report):
                changes = compare(plan, old, new, counts, spec.sample_rows)
                if changes is not None:
                    writer.write_table(changes)
                    written += changes.num_rows
                report.progress(number, total, "parts", stage="compare")
        document = build_summary(plan, counts, rows)
        text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n"
        (stage / "summary.json").write_text(text, encoding="utf-8")
        meta: dict[str, JSON] = {
            "rows": written,
            "columns": [{"name": field.name, "dtype": str(field.type)} for field in plan.schema],
        }
        totals: dict[str, JSON] = {name: document[name] for name in ("added", "removed", "changed", "same")}
        outputs = (
            Output("changes", "changes.parquet", PARQUET, meta),
            Output("summary", "summary.json", "application/json"),
        )
        return Result(outputs, totals)


def iterate_parts(
    plan: Plan, stage: Path, rows: dict[str, int], report: Report
) -> Iterator[tuple[int, int, pa.Table | None, pa.Table | None]]:
    """(number from 1, of how many, before, after) of each part; fills `rows` with the rows of either side."""
    sides = (plan.before, plan.after)
    if not any(side.large for side in sides):
        tables = []
        for side in sides:
            table = pa.concat_tables(side.read_batches()).combine_chunks()
            rows[side.name] = table.num_rows
            tables.append(add_key(table, plan.keys, plan.key_types, 1))
        yield 1, 1, tables[0], tables[1]
        return
    parts = min(MOST_PARTS, 1 + sum(side.size for side in sides) // PART_BYTES)
    folder = stage / "parts"
    folder.mkdir()
    for side in sides:
        report.progress(0, None, "rows", stage="part")
        rows[side.name] = split_into_parts(side, plan.keys, plan.key_types, parts, folder)
    for part in range(parts):
        yield part + 1, parts, read_part(plan.before, folder, part), read_part(plan.after, folder, part)
    shutil.rmtree(folder)


def build_summary(plan: Plan, counts: Counts, rows: Mapping[str, int]) -> dict[str, JSON]:
    """What the comparison says, with the schemas side by side and the first rows that differ."""
    before, after = plan.before.schema, plan.after.schema
    columns: list[JSON] = []
    for name in [*after.names, *plan.gone]:
        old = str(before.field(name).type) if name in before.names else None
        new = str(after.field(name).type) if name in after.names else None
        change = "added" if old is None else "removed" if new is None else "same" if old == new else "retyped"
        columns.append(
            {"name": name, "change": change, "before": old, "after": new, "changed": counts.by_column.get(name, 0)}
        )
    return {
        "schema": SCHEMA,
        "keys": list(plan.keys),
        "rows": {"before": rows.get("before", 0), "after": rows.get("after", 0)},
        "added": counts.added,
        "removed": counts.removed,
        "changed": counts.changed,
        "same": counts.same,
        "columns": columns,
        "sample": counts.sample,
    }
