"""What a Parquet file takes in memory, estimated from its footer, page headers and dictionaries before rows are read.

The footer tells sizes as they are encoded. A dictionary-encoded column may be decoded to any size: a text of 1 MB that
stands once in the file and 3,000 times in the table. So its longest text is looked up, and batches are cut to fit.
Page headers: https://parquet.apache.org/docs/file-format/data-pages/ in Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepseek.memory import get_allowed_bytes
from deepseek.messages import Message
from deepseek.tables.memory_limits import (
    BASE_BYTES,
    BATCH_BYTES,
    count_row_group_copies,
    refuse_large_row_group,
    refuse_large_table,
    refuse_many_columns,
    refuse_too_large,
)

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
OFFSET_BYTES = 4  # of each text, beside its bytes
HEADER_BYTES = 32_768  # read for one page header; pyarrow keeps statistics of up to 4 KiB each in it
ROWS_PER_COUNT = 65_536
COPIES_PER_BATCH = 8  # of a batch while it is decoded, checked and measured, as its peak shows: 130 MB for one of 16 MB
DATA_PAGES, DICTIONARY_PAGE = (0, 3), 2


@dataclass(frozen=True)
class ParquetSize:
    """`batch_rows`: so many rows take about BATCH_BYTES decoded. `working_bytes`: what reading batches of them takes.

    `decoded_bytes`: an upper bound of the whole table of `rows` rows, decoded; `row_bytes`: of its longest rows.
    """

    rows: int
    batch_rows: int
    working_bytes: int
    decoded_bytes: int
    row_bytes: int


@dataclass(frozen=True)
class ChunkPages:
    """Bytes of a column chunk's pages when decompressed."""

    dictionary: int
    largest: int
    data: int


def estimate_size(file: pa.NativeFile, max_rows: int) -> ParquetSize:
    """Estimate what reading the open file takes; `max_rows`: of a batch. Raises EngineError ``too_many_columns``,
    ``table_too_large`` where not even its dictionaries fit, and what pyarrow does for a broken file.
    """
    parquet = pq.ParquetFile(file)
    metadata, schema = parquet.metadata, parquet.schema
    refuse_many_columns(len(schema.names))
    texts = [schema.column(n).path for n in range(len(schema.names)) if schema.column(n).physical_type == "BYTE_ARRAY"]
    encoded = pq.ParquetFile(file, read_dictionary=texts) if texts else parquet
    batch_rows, working, decoded, longest_row = max_rows, 0, 0, 0
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        if not group.num_rows:
            continue
        chunks = [group.column(number) for number in range(group.num_columns)]
        pages = [measure_pages(file, chunk) for chunk in chunks]
        page_bytes = sum(page.dictionary + page.largest for page in pages)
        refuse_too_large(
            2 * page_bytes, Message("Ask for so much memory, or write the Parquet file with smaller pages.")
        )
        longest = find_longest_texts(encoded, place, texts) if any(page.dictionary for page in pages) and texts else {}
        size = 0
        for number, (chunk, page) in enumerate(zip(chunks, pages, strict=True)):
            column = schema.column(number)
            if column.physical_type == "BYTE_ARRAY":
                width = longest.get(column.path, 0) if page.dictionary else 0
                size += chunk.num_values * (width + OFFSET_BYTES) + page.data
            else:
                size += chunk.num_values * (WIDTHS.get(column.physical_type) or column.length)
        row = max(1, size // group.num_rows)
        batch_rows = min(batch_rows, max(1, BATCH_BYTES // row))
        working = max(working, 2 * page_bytes + COPIES_PER_BATCH * max(row, min(size, BATCH_BYTES)))
        decoded += size
        longest_row = max(longest_row, row)
    return ParquetSize(metadata.num_rows, batch_rows, working, decoded, longest_row)


def refuse_large_parquet(file: pa.NativeFile) -> None:
    """Raise EngineError ``table_too_large`` where the whole table, decoded, takes more than the run may.

    It counts twice: its columns are made contiguous.
    """
    size = estimate_size(file, ROWS_PER_COUNT)
    if 2 * size.decoded_bytes + BASE_BYTES > get_allowed_bytes():
        refuse_large_table(2 * count_decoded_bytes(file, size.rows))


def refuse_large_row_groups(file: pa.NativeFile, size: ParquetSize, rows: int) -> None:
    """Raise EngineError ``table_too_large`` where it cannot be written again in row groups of `rows` rows."""
    copies = count_row_group_copies(size.rows > rows)
    if copies * min(size.decoded_bytes, rows * size.row_bytes) + BASE_BYTES > get_allowed_bytes():
        refuse_large_row_group(copies * count_decoded_bytes(file, rows))


def find_longest_texts(encoded: pq.ParquetFile, place: int, texts: Sequence[str]) -> dict[str, int]:
    """The longest text in the dictionaries of a row group, by the path of its column.

    Reads one row of the columns that hold the paths `texts` and of no other: each costs a page.
    """
    lengths: dict[str, int] = {}
    # The name of a column may itself hold dots, so that any beginning of a path may be one.
    beginnings = {name for path in texts for name in accumulate(path.split("."), "{}.{}".format)}
    columns = [name for name in encoded.schema_arrow.names if name in beginnings]
    for batch in encoded.iter_batches(batch_size=1, row_groups=[place], columns=columns):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for path, dictionary in iter_dictionaries(name, column):
                longest = pc.max(pc.binary_length(dictionary)).as_py() or 0
                lengths[path] = max(lengths.get(path, 0), longest)
        break
    return lengths


def iter_dictionaries(path: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The dictionaries of a column, also of those within lists and objects, each with the path of its own column."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield path, column.dictionary
    elif pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from iter_dictionaries(f"{path}.{kind.field(number).name}", column.field(number))
    elif pa.types.is_map(kind):
        yield from iter_dictionaries(f"{path}.key_value.key", column.keys)
        yield from iter_dictionaries(f"{path}.key_value.value", column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from iter_dictionaries(f"{path}.list.{kind.value_field.name}", column.values)


def count_decoded_bytes(file: pa.NativeFile, rows: int) -> int:
    """Bytes of `rows` rows in a row, decoded, where they take most: exact for flat text columns.

    Their dictionaries are not expanded for it: only the lengths of their texts are looked up.
    """
    schema = pq.ParquetFile(file).schema
    columns = [schema.column(number) for number in range(len(schema.names))]
    texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    encoded = pq.ParquetFile(file, read_dictionary=texts)
    most = size = count = 0
    for batch in encoded.iter_batches(batch_size=ROWS_PER_COUNT):
        size += sum(compute_decoded_bytes(column) for column in batch.columns)
        count += batch.num_rows
        most = max(most, size)
        if count >= rows:
            size = count = 0
    return most


def compute_decoded_bytes(column: pa.Array) -> int:
    """Bytes of an array whose dictionary, if it has one, is written out."""
    if not pa.types.is_dictionary(column.type) or not len(column.dictionary):
        return int(column.nbytes)
    if not (pa.types.is_string(column.type.value_type) or pa.types.is_binary(column.type.value_type)):
        return int(column.nbytes)
    lengths = pc.cast(pc.binary_length(column.dictionary), pa.int64())
    return int(pc.sum(pc.take(lengths, column.indices)).as_py() or 0) + OFFSET_BYTES * len(column)


def cut_batch(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts of at most BATCH_BYTES decoded, or of one row: halved until they fit."""
    size = sum(compute_decoded_bytes(column) for column in batch.columns)
    if size <= BATCH_BYTES or batch.num_rows < 2:
        yield batch
        return
    half = batch.num_rows // 2
    yield from cut_batch(batch.slice(0, half))
    yield from cut_batch(batch.slice(half))


# -- page headers -----------------------------------------------------------------------------------------------------
def measure_pages(file: pa.NativeFile, chunk: pq.ColumnChunkMetaData) -> ChunkPages:
    """The pages of a chunk by their headers; where these cannot be read, the chunk counts as one page."""
    chunk_bytes = chunk.total_uncompressed_size
    starts = [chunk.data_page_offset, *([chunk.dictionary_page_offset] if chunk.dictionary_page_offset else [])]
    place, end = min(starts), min(starts) + chunk.total_compressed_size
    dictionary = largest = data = 0
    try:
        while place < end:
            kind, page_bytes, packed_bytes, length = read_page_header(
                file.read_at(min(HEADER_BYTES, end - place), place)
            )
            place += length + packed_bytes
            largest = max(largest, page_bytes)
            if kind == DICTIONARY_PAGE:
                dictionary = max(dictionary, page_bytes)
            elif kind in DATA_PAGES:
                data += page_bytes
    except (IndexError, ValueError):
        return ChunkPages(chunk_bytes if chunk.has_dictionary_page else 0, chunk_bytes, chunk_bytes)
    return ChunkPages(dictionary, largest, data)


def read_page_header(data: bytes) -> tuple[int, int, int, int]:
    """Type, bytes decompressed, bytes compressed, and the length of the header itself.

    Raises IndexError or ValueError where it is none. Its first three fields are 32-bit integers, in this order.
    """
    place, numbers = 0, []
    for _ in range(3):
        if data[place] != 0x15:  # the next field by its number, a 32-bit integer
            raise ValueError("no page header")
        number, place = read_varint(data, place + 1)
        numbers.append((number >> 1) ^ -(number & 1))
    if min(numbers) < 0:
        raise ValueError("a negative size")
    return numbers[0], numbers[1], numbers[2], skip_struct(data, place, depth=0)


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned integer in groups of 7 bits, and the place behind it."""
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
        if shift > 63:
            raise ValueError("a number that does not end")


def skip_struct(data: bytes, place: int, depth: int) -> int:
    """The place behind the fields of a struct that begin at `place`."""
    while True:
        head = data[place]
        place += 1
        if head == 0:
            return place
        if not head >> 4:  # the field's number is written out
            _, place = read_varint(data, place)
        place = skip_value(data, place, head & 0x0F, depth)


def skip_value(data: bytes, place: int, kind: int, depth: int) -> int:
    """The place behind a value of one of Thrift's compact types that occur in page headers."""
    if kind in (1, 2):  # true and false are types of their own
        return place
    if kind == 3:
        return place + 1
    if kind in (4, 5, 6):
        return read_varint(data, place)[1]
    if kind == 7:
        return place + 8
    if kind == 8:
        length, place = read_varint(data, place)
        return place + length
    if kind == 12 and depth < 8:
        return skip_struct(data, place, depth + 1)
    raise ValueError(f"a field of type {kind}")
