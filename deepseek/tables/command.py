"""Read one CSV file from standard input, for a process that reads none itself: python -m deepseek.tables.command.

`inspect DELIMITER ENCODING` or `dialect DELIMITER ENCODING`; answers one JSON object, or {"errors": [...]} with exit
code 2 for what is wrong with the file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from deepseek.tables.csv_dialect import CsvDialect, find_dialect
from deepseek.tables.csv_faults import CsvError
from deepseek.tables.csv_records import CsvInspection, inspect_csv

CHUNK_BYTES = 1 << 18
READERS: dict[str, Callable[..., CsvInspection | CsvDialect]] = {"inspect": inspect_csv, "dialect": find_dialect}


def read_stdin_chunks() -> Iterator[bytes]:
    while chunk := sys.stdin.buffer.read(CHUNK_BYTES):
        yield chunk


def main(what: str, delimiter: str, encoding: str) -> int:
    try:
        result = READERS[what](read_stdin_chunks(), delimiter=delimiter, encoding=encoding)
    except CsvError as error:
        json.dump({"errors": [error.as_dict()]}, sys.stdout)
        return 2
    json.dump(asdict(result), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
