"""One CSV file from standard input, read in a child of the web process: what `csv_reading` starts. No Django.

`inspect DELIMITER ENCODING` or `dialect DELIMITER ENCODING`; answers one JSON object, or {"errors": [...]} with exit
code 2 for what is wrong with the file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

from apps.datasets.inspection import inspect_csv
from apps.datasets.sniffing import find_dialect
from apps.errors import Invalid

CHUNK = 1 << 18
READERS = {"inspect": inspect_csv, "dialect": find_dialect}


def chunks() -> Iterator[bytes]:
    while chunk := sys.stdin.buffer.read(CHUNK):
        yield chunk


def main(what: str, delimiter: str, encoding: str) -> int:
    try:
        found = READERS[what](chunks(), delimiter=delimiter, encoding=encoding)
    except Invalid as error:
        json.dump({"errors": error.errors}, sys.stdout)
        return 2
    json.dump(asdict(found), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
