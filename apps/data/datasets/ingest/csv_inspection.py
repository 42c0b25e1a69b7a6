"""Inspect a CSV file of any size during a request: small files in this process, larger ones in a bounded child.

Parsing is linear, at some 3 to 40 MB a second, and holds the GIL: a file of a gigabyte would slow every other request
of this process for minutes. The child has its own interpreter, memory limit and time limit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from apps.core.errors import Invalid, Unavailable
from apps.data.datasets import bounded_process
from apps.data.datasets.versions.manifest import check_dialect, check_dialect_options
from deepseek.messages import N_, restore_message
from deepseek.tables.csv_dialect import CsvDialect, find_dialect
from deepseek.tables.csv_faults import DELIMITER_FIELD, CsvError
from deepseek.tables.csv_records import CsvInspection, inspect_csv

MODULE = "deepseek.tables.command"
INLINE_BYTES = 1 << 20  # read in this process: at most a third of a second
SECONDS = 30  # for any file, and
BYTES_PER_SECOND = 500_000  # for a long one: the slowest that is read takes 3 MB a second
MEMORY_BYTES = 1 << 30  # of addresses
MAX_CHILDREN = 8  # children of this process
SLOT_WAIT_SECONDS = 15.0  # for a turn

slots = threading.BoundedSemaphore(MAX_CHILDREN)


def inspect_file(chunks: Iterable[bytes], size: int, dialect: CsvDialect) -> CsvInspection:
    """Rows and columns of a file of `size` bytes. Raises Invalid for a broken file, and as inspect_in_child."""
    check_dialect(dialect.delimiter, dialect.encoding)
    if size > INLINE_BYTES:
        return CsvInspection(**inspect_in_child("inspect", chunks, size, dialect.delimiter, dialect.encoding))
    try:
        return inspect_csv(chunks, delimiter=dialect.delimiter, encoding=dialect.encoding)
    except CsvError as error:
        raise convert_engine_error(error.as_dict()) from None


def find_file_dialect(chunks: Iterable[bytes], size: int, delimiter: str, encoding: str) -> CsvDialect:
    """What is "auto", found in the file; raises Invalid where it leaves that open (find_dialect), and as ask_child."""
    check_dialect_options(delimiter, encoding)
    if size > INLINE_BYTES:
        return CsvDialect(**inspect_in_child("dialect", chunks, size, delimiter, encoding))
    try:
        return find_dialect(chunks, delimiter, encoding)
    except CsvError as error:
        raise convert_engine_error(error.as_dict()) from None


def convert_engine_error(error: Mapping[str, Any]) -> Invalid:
    """Convert an error of the engine into an error about the fields of a request."""
    field = "delimiter" if error["field"] == DELIMITER_FIELD else "file"
    hint = restore_message(error, "hint") or None
    return Invalid(restore_message(error), field=field, code=error["code"], limit=error["limit"], hint=hint)


def inspect_in_child(command: str, chunks: Iterable[bytes], size: int, delimiter: str, encoding: str) -> dict[str, Any]:
    """Inspect in a bounded child. Raises Invalid for a broken file, or one that takes too much time or memory."""
    limits = bounded_process.ProcessLimits(SECONDS + size // BYTES_PER_SECOND, MEMORY_BYTES, 0)
    with wait_for_reader_slot():
        answer = bounded_process.stream_to_module(MODULE, (command, delimiter, encoding), chunks, limits=limits)
    if answer.document is not None:
        return dict(answer.document)
    if answer.errors:
        raise convert_engine_error(answer.errors[0])
    raise build_fault_error(answer.fault, limits)


def wait_for_reader_slot() -> AbstractContextManager[None]:
    busy = Unavailable(
        "Other tables are being read at this moment.",
        code="checks_busy",
        limit=MAX_CHILDREN,
        hint=N_("Try again in a moment."),
    )
    return bounded_process.take_slot(slots, SLOT_WAIT_SECONDS, busy)


def build_fault_error(
    fault: bounded_process.ProcessFault | None, limits: bounded_process.ProcessLimits
) -> Invalid | Unavailable:
    if fault is bounded_process.ProcessFault.TIME:
        return Invalid(
            "Reading the table took longer than {seconds} s, and was stopped.",
            seconds=limits.seconds,
            code="csv_too_slow",
            field="file",
            limit=f"{limits.seconds} s",
            hint=N_("Send it as Parquet, or in several files."),
        )
    if fault is bounded_process.ProcessFault.MEMORY:
        most = f"{limits.memory >> 20} MiB"
        return Invalid(
            "Reading the table takes more than {most} of memory.",
            most=most,
            code="csv_too_much_memory",
            field="file",
            limit=most,
            hint=N_("Check that it is a table with rows, and that no row is too long."),
        )
    return Unavailable(
        "The table could not be read on this host; the log of the web process says why.",
        code="csv_unread",
        hint=N_("Try again; if it stays so, tell the operator."),
    )
