"""No thread of pyarrow's pool may hold an object of Python's: it would end a process that leaves by SIGABRT."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from deepseek.clean.reading import open_table
from deepseek.clean.sample import read_sample
from deepseek.clean.spec import CsvSpec
from deepseek.clean.tables import read_table
from deepseek.job import EngineError


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
