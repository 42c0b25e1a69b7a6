"""A table of several Parquet parts: the files of a folder, whose rows follow one another in the order of paths."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.files import get_first_line, normalize_schema, open_native_file
from deepseek.tables.memory_limits import FIELD
from deepseek.tables.part_manifest import compute_manifest_sha256, is_part_path

MISSING_COLUMN = "missing"


def list_parts(path: Path) -> list[Path]:
    """List the files of the table at `path`: a file is its own only part; a folder has one for each file *.parquet.

    Parts are in the order of their paths below the folder, and their schemas are read. Raises EngineError ``no_parts``,
    ``broken_parquet`` and ``partition_schema_differs``, each naming the part; the latter the column and both types.
    """
    if not path.is_dir():
        return [path]
    parts = find_parts(path)
    schemas = [read_part_schema(part, format_part_name(part, path)) for part in parts]
    for part, schema in zip(parts, schemas, strict=True):
        if schema != schemas[0]:
            raise build_schema_error(schemas[0], schema, format_part_name(part, path))
    return parts


def find_parts(folder: Path) -> list[Path]:
    """Find the parts below `folder`, in order, without reading any. Raises EngineError ``no_parts``."""
    files = (file for file in folder.rglob("*") if is_part_path(file.name) and file.is_file())
    parts = sorted(files, key=lambda file: file.relative_to(folder).as_posix())
    if not parts:
        raise EngineError(
            "no_parts",
            "The folder {folder} holds no Parquet file.",
            folder=folder.name,
            field=FIELD,
            value=folder.name,
            limit="one or more files *.parquet",
            hint=N_("Name a folder of Parquet files of the same columns, or one file."),
        )
    return parts


def format_part_name(part: Path, folder: Path) -> str:
    """The path of a part below the folder of its table."""
    return part.relative_to(folder).as_posix()


def read_part_schema(part: Path, name: str) -> pa.Schema:
    """Read the columns of a part. Raises EngineError ``broken_parquet`` naming it."""
    try:
        with open_native_file(part) as file:
            return normalize_schema(pq.ParquetFile(file).schema_arrow, nested=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise build_broken_part_error(name, error) from error


def count_part_rows(part: Path, name: str) -> int:
    """Read how many rows a part has. Raises EngineError ``broken_parquet`` naming it."""
    try:
        with open_native_file(part) as file:
            return int(pq.ParquetFile(file).metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise build_broken_part_error(name, error) from error


def build_broken_part_error(part: str, error: Exception) -> EngineError:
    """Build the error for a part that pyarrow cannot read."""
    return EngineError(
        "broken_parquet",
        "The part {part} cannot be read: {first_line}",
        part=part,
        first_line=get_first_line(error),
        field=FIELD,
        value=part,
        limit="a whole Parquet file",
        hint=N_("The file may be cut short; copy it again and compare its SHA-256."),
    )


def build_schema_error(schema: pa.Schema, other: pa.Schema, part: str) -> EngineError:
    """Build the error for a part whose columns are not those of the first one, naming the first that differs."""
    pairs = [[(field.name, str(field.type)) for field in each] for each in (schema, other)]
    name, expected, actual = find_column_difference(*pairs)
    return EngineError(
        "partition_schema_differs",
        "The part {part} has the column {name!r} as {actual}, the first part as {expected}.",
        part=part,
        name=name,
        actual=actual,
        expected=expected,
        field=FIELD,
        value=part,
        limit="the same columns, in the same order and of the same types, in every part",
        hint=N_("Write this part again with the columns of the first one."),
    )


def find_column_difference(
    expected_columns: Sequence[tuple[str, str]], actual_columns: Sequence[tuple[str, str]]
) -> tuple[str, str, str]:
    """(name, expected type, actual type) of the first column that differs; of columns in another order, the first that
    is elsewhere."""
    expected, actual = dict(expected_columns), dict(actual_columns)
    name = next(
        (name for name in [*expected, *actual] if expected.get(name) != actual.get(name)),
        next((own for (own, _), (other, _) in zip(expected_columns, actual_columns, strict=False) if own != other), ""),
    )
    return name, expected.get(name, MISSING_COLUMN), actual.get(name, MISSING_COLUMN)


def compute_table_sha256(path: Path) -> str:
    """SHA-256 of the file at `path`; of a folder of parts that of their manifest, which is their dataset version's."""
    if not path.is_dir():
        return compute_part_sha256(path)
    return compute_manifest_sha256(
        (format_part_name(part, path), compute_part_sha256(part), part.stat().st_size) for part in find_parts(path)
    )


def compute_part_sha256(part: Path) -> str:
    with part.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
