"""``deepseek fit COMMAND [INPUT] ...``: what a training would need of memory, by part, without training."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from deepseek.fit.families import FAMILIES, estimate_memory
from deepseek.fit.memory import DataFacts, MemoryEstimate


def show_estimate(words: list[str]) -> int:
    """Print the breakdown and return the exit code. Raises EngineError for a spec or a table that does not hold."""
    from pydantic import ValidationError

    from deepseek.cli import COMMANDS
    from deepseek.flags import add_flags, convert_errors, read_spec

    names = [name for name in COMMANDS if name.replace("-", "_") in FAMILIES]
    if not words or words[0] not in names:
        _build_parser(names).parse_args(words)  # which leaves by itself
    command = COMMANDS[words[0]]
    module, _, attribute = command.spec.partition(":")
    model = getattr(import_module(module), attribute)
    parser = _build_parser(names)
    add_flags(parser, model, command.flags)
    arguments = parser.parse_args(words)
    try:
        spec = read_spec(model, arguments)
    except ValidationError as error:
        raise convert_errors(error)[0] from error
    facts = read_facts(arguments.input) if arguments.input else DataFacts()
    kind = words[0].replace("-", "_")
    estimate = estimate_memory(kind, spec, facts, nodes=arguments.nodes, gpus=arguments.gpus)
    assert estimate is not None  # noqa: S101  the kind is one of FAMILIES
    _print(estimate, as_json=arguments.json)
    return 0


def read_facts(path: Path) -> DataFacts:
    """Rows, columns and bytes of a table; of a Parquet file by its footer. Raises EngineError where it is none."""
    from deepseek.tables.sources import read_whole_table

    if path.is_dir():
        return DataFacts(file_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with suppress(OSError, ValueError), pq.ParquetFile(os.fsdecode(path)) as file:  # below it is told why not
            return _count(file.schema_arrow, file.metadata.num_rows, path)
    table = read_whole_table(path)
    return _count(table.schema, table.num_rows, path)


def _count(schema: Any, rows: int, path: Path) -> DataFacts:
    from deepseek.train.columns import is_number

    numbers = sum(is_number(field.type) for field in schema)
    return DataFacts(rows=rows, columns=len(schema), number_columns=numbers, file_bytes=path.stat().st_size)


def _build_parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek fit",
        description="What a training would need of memory, by part, without training.",
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=names, metavar="COMMAND", help=", ".join(names))
    parser.add_argument("input", nargs="?", type=Path, metavar="INPUT", help="its data; left out: as if there was none")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="nodes that share the work (default: 1)")
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs of each node (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _print(estimate: MemoryEstimate, *, as_json: bool) -> None:
    gpu = estimate.gpu.as_dict() if estimate.gpu else None
    if as_json:
        print(json.dumps({"host": estimate.host.as_dict(), "gpu": gpu, "examples": estimate.examples}, indent=1))
        return
    for name, size in estimate.host.as_dict().items():
        on_gpu = f"  GPU {gpu[name] / 1e6:12,.1f} MB" if gpu else ""
        print(f"{name:12}{size / 1e6:12,.1f} MB{on_gpu}")
