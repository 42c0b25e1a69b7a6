"""No thread of pyarrow's pool may hold an object of Python's: it would end a process that leaves by SIGABRT."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError
from deepseek.tables.files import read_table
from deepseek.tables.sample import read_sample
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Parquet was read from."""
    seen: list[Any] = []
    for name in ("ParquetFile", "read_table"):
        real = getattr(pq, name)
        monkeypatch.setattr(
            pq, name, lambda source, *a, real=real, **k: (seen.append(source), real(source, *a, **k))[1]
        )
    return seen


@pytest.mark.parametrize("data", [b"a,b\n1,2\n", b"a,b\n1,2\n3\n"])
def test_a_handler_of_rows_is_used_by_one_thread_alone(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, real = [], pa.csv.read_csv

    def reading(path: Path, *, read_options: Any, parse_options: Any, **more: Any) -> pa.Table:
        seen.append((parse_options.invalid_row_handler is not None, read_options.use_threads))
        return real(path, read_options=read_options, parse_options=parse_options, **more)

    monkeypatch.setattr(pa.csv, "read_csv", reading)
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with suppress(EngineError):  # of the row that is ragged
        read_table(path, CsvSpec())
    assert seen
    assert (True, True) not in seen


def test_json_lines_are_handed_over_as_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, real = [], pa.json.read_json
    monkeypatch.setattr(pa.json, "read_json", lambda source, **more: (seen.append(source), real(source, **more))[1])
    (tmp_path / "t.jsonl").write_bytes(b'{"a": 1}\n')
    list(open_table(tmp_path / "t.jsonl", CsvSpec(), None).batches)
    assert seen
    assert all(isinstance(source, pa.BufferReader) for source in seen)


def test_a_name_that_is_no_utf_8_is_opened(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.parquet"))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    (tmp_path / "t.parquet").rename(path)
    assert read_table(path, CsvSpec()).num_rows == 1


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_table(path, CsvSpec()),
        lambda path: list(open_table(path, CsvSpec(), None).batches),
        lambda path: read_sample(path, CsvSpec(), rows=1, head=2**20),
    ],
)
def test_parquet_is_opened_by_pyarrow_itself(read: Any, opened: list[Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "t.parquet")
    read(tmp_path / "t.parquet")
    assert opened
    assert all(isinstance(source, pa.OSFile) for source in opened)
