"""The first rows of a table, read from the first bytes of its file: bounded, however large the file is."""

import csv
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.tables.csv_detection import resolve_csv_spec
from deepseek.tables.csv_dialect import CsvDialect
from deepseek.tables.csv_records import iter_records
from deepseek.tables.files import (
    build_broken_parquet_error,
    build_empty_table_error,
    normalize_table,
    open_native_file,
    read_table,
    refuse_duplicate_names,
)
from deepseek.tables.json_lines import is_json
from deepseek.tables.memory_limits import FIELD
from deepseek.tables.parquet_size import estimate_size
from deepseek.tables.parts import count_part_rows, format_part_name, list_parts
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec

MAX_SAMPLE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class TableSample:
    """`rows`: of the whole file, where it says or was read to its end; else None."""

    table: pa.Table
    rows: int | None

    @property
    def is_complete(self) -> bool:
        """Whether these are all rows that there are."""
        return bool(self.rows == self.table.num_rows)


def read_sample(path: Path, spec: CsvSpec, *, rows: int, head: int) -> TableSample:
    """The first `rows` rows of the file or of the folder of parts at `path`, columns as `read_table` leaves them.

    Of the file nothing behind its first `head` bytes is read, but for the end of a Parquet file, which holds its index:
    a copy of only these bytes is as good. Fewer rows come of a CSV file whose rows are that long, and of a Parquet file
    whose rows take more than MAX_SAMPLE_BYTES decoded.

    Raises what `read_table` does, and EngineError ``sample_too_wide`` where not one row lies within these bytes.
    """
    if path.is_dir():
        return _sample_parts(path, rows, head)
    try:
        with path.open("rb") as file:
            begin = file.read(head + 1)
    except OSError:
        return TableSample(read_table(path, spec), None)  # which says what is wrong with it
    if begin[:4] == b"PAR1":
        return _sample_parquet(path, rows, head)
    cut = len(begin) > head
    if begin[:6] == b"ARROW1" or begin[:4] == b"\xff\xff\xff\xff" or is_json(begin[:4096]):
        return _sample_whole_lines(begin[:head], path, spec, rows, cut)
    with _open_temporary_file(begin[:head]) as copy:
        spec = resolve_csv_spec(copy, spec, cut=cut)[0]
    text, ended = _cut_first_records(begin[:head], spec, rows + 1, cut)
    with _open_temporary_file(text) as copy:
        try:
            table = read_table(copy, spec)
        except EngineError as error:
            error.value = path.name if error.value == copy.name else error.value
            if error.code == "table_empty" and cut:
                raise _build_too_wide_error(head) from error
            raise
    return TableSample(table, table.num_rows if ended else None)


def _cut_first_records(begin: bytes, spec: CsvSpec, count: int, cut: bool) -> tuple[bytes, bool]:
    """Cut out the lines of the first `count` records, and tell whether these are all records.

    Of a file that is cut the last record may be half: it is left out. Bytes that are no text of the encoding stay in:
    what reads them next says where they are.
    """
    end = 0
    records = iter_records(begin, CsvDialect(spec.delimiter, spec.encoding), is_complete=not cut)
    try:
        for number, (_, end) in enumerate(records, start=1):
            if number == count and end < len(begin):
                return begin[:end], False
    except csv.Error:  # a cell beyond the csv module's limits
        return begin[: begin.rfind(b"\n") + 1] if cut else begin, False
    return begin[:end] if cut else begin, not cut


def _sample_whole_lines(begin: bytes, path: Path, spec: CsvSpec, rows: int, cut: bool) -> TableSample:
    """JSON lines as far as they are whole; an Arrow file is read whole, or, where it is longer, has no sample."""
    if cut and not is_json(begin[:4096]):
        raise _build_too_wide_error(len(begin))
    lines = begin[: begin.rfind(b"\n") + 1] if cut else begin
    if cut and not lines:
        raise _build_too_wide_error(len(begin))
    with _open_temporary_file(lines) as copy:
        source = open_table(copy, spec, None)
        table = pa.Table.from_batches(source.batches, source.batches.schema).combine_chunks()
    return TableSample(table.slice(0, rows), None if cut else table.num_rows)


@contextmanager
def _open_temporary_file(data: bytes) -> Iterator[Path]:
    """A file that has no name, so that nothing of it can be left; its path opens it anew each time."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield Path(f"/dev/fd/{file.fileno()}")


def _sample_parquet(path: Path, rows: int, head: int) -> TableSample:
    try:
        with open_native_file(path) as file:
            parquet = pq.ParquetFile(file)
            groups, total = _select_row_groups(parquet.metadata, rows, min(head, file.size()))
            batches, row_count, size = [], 0, 0
            batch_rows = estimate_size(file, rows).batch_rows
            for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=groups):
                batches.append(batch)
                row_count, size = row_count + batch.num_rows, size + batch.nbytes
                if row_count >= rows or size > MAX_SAMPLE_BYTES:
                    break
            table = pa.Table.from_batches(batches, schema=parquet.schema_arrow).slice(0, rows)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise build_broken_parquet_error(path, error) from error
    refuse_duplicate_names(table.column_names)
    if table.num_columns == 0 or table.num_rows == 0:
        return TableSample(read_table(path, CsvSpec()), total)  # which says that it is empty
    return TableSample(normalize_table(table), total)


def _sample_parts(folder: Path, rows: int, head: int) -> TableSample:
    """The first rows over the parts; `head` bytes at most of each."""
    parts = list_parts(folder)
    counts = [count_part_rows(part, format_part_name(part, folder)) for part in parts]
    tables: list[pa.Table] = []
    missing = rows
    for part, count in zip(parts, counts, strict=True):
        if count and missing:
            tables.append(_sample_parquet(part, missing, head).table)
            if tables[-1].num_rows < min(missing, count):
                break  # cut by its size: what follows in the next part would leave a gap
            missing -= tables[-1].num_rows
    if not tables:
        raise build_empty_table_error(Message("The parts have no rows."), folder)
    return TableSample(pa.concat_tables(tables).combine_chunks(), sum(counts))


def _select_row_groups(metadata: "pq.FileMetaData", rows: int, head: int) -> tuple[list[int], int]:
    """The row groups that hold the first rows, if they lie in the first bytes; and the rows of the file."""
    groups: list[int] = []
    row_count = 0
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        chunks = [group.column(number) for number in range(group.num_columns)]
        ends = [
            (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size for chunk in chunks
        ]
        if max(ends, default=0) > head:
            if not groups:
                raise _build_too_wide_error(head)
            break
        groups.append(place)
        row_count += group.num_rows
        if row_count >= rows:
            break
    return groups, metadata.num_rows


def _build_too_wide_error(head: int) -> EngineError:
    return EngineError(
        "sample_too_wide",
        "The first rows do not lie within the first {head:,} bytes of the file: there is no sample of it.",
        head=head,
        field=FIELD,
        limit=f"{head:,} bytes",
        hint=N_("The job itself reads the whole file; or look at more bytes of it."),
    )
