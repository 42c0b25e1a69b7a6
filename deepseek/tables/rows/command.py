"""Answer one query of a table's rows for a parent that has the files: python -m deepseek.tables.rows.command.

The query and the ranges of the files come on standard input, requests and the answer go to standard output, both in
the messages of range_file.py. What is wrong with the query or the table is {"errors": [...]}.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

import pyarrow as pa

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.rows.blocks import RowSource
from deepseek.tables.rows.pages import read_page
from deepseek.tables.rows.parquet_rows import ParquetRows
from deepseek.tables.rows.query import RowQuery, parse_query
from deepseek.tables.rows.range_file import RangeFile, read_message, redirect_prints, write_answer
from deepseek.tables.rows.text_rows import TextRows, parse_place

BEFORE_CELLS = re.compile(r"(, got \d+|Failed to parse string|invalid value)\b.*")


def main() -> int:
    redirect_prints()
    query = parse_query(json.loads(read_message()))
    try:
        answer = answer_query(query)
    except EngineError as error:
        answer = {"errors": [error.as_dict()]}
    except MemoryError:  # also that of pyarrow: it is no fault of the table
        raise
    except (pa.ArrowException, ArithmeticError, LookupError, RecursionError, ValueError, OSError) as error:
        answer = {"errors": [build_broken_error(error).as_dict()]}
    write_answer(answer)
    return 0


def answer_query(query: RowQuery) -> dict[str, Any]:
    files: list[Any] = [RangeFile(number, file.size) for number, file in enumerate(query.files)]
    source: RowSource
    if query.files[0].format == "parquet":
        source = ParquetRows(files, [file.rows for file in query.files])
        start = parse_place(query.after)[0]
    else:
        source = TextRows(files, query.files, query.names, "" if query.sort else query.after)
        start = source.start
    return read_page(source, query, start)


def build_broken_error(error: Exception) -> EngineError:
    """The error without the cells that pyarrow quotes in it: some of them may be hidden from the reader."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return EngineError(
        "table_unreadable",
        "The table cannot be read: {first_line}",
        first_line=BEFORE_CELLS.sub(r"\1", first_line),
        field="file",
        hint=N_("Download the file and compare its SHA-256; or profile the version, which names the row."),
    )


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # pyarrow may still hold the files: the interpreter would not leave in order
