"""Memory limits of tables: raise named errors before the process is killed for its memory."""

from __future__ import annotations

from deepseek.job import EngineError
from deepseek.memory import get_allowed_bytes
from deepseek.messages import N_, Message

FIELD = "inputs/table"
MIB = 2**20
BASE_BYTES = 64 * MIB
"""The libraries that read tables, without a table: 37 to 53 MB measured."""
BATCH_BYTES = 16 * MIB
"""A batch is cut to about so many bytes, however many rows that is."""
MAX_COLUMNS = 16_384
MAX_JSON_KEYS = 4_096
"""Different keys in a table of JSON lines: each is a cell in every row, so n rows that share none take n * n cells."""
MAX_JSON_DEPTH = 64
MAX_RECORD_BYTES = 64 * MIB
"""Of one row of text: what reads it holds it several times."""


def count_row_group_copies(several: bool) -> int:
    """How often a row group is in memory while it is written: in batches, as a table, and the one before it."""
    return 3 if several else 2


def refuse_too_large(needed: int, hint: str) -> None:
    """Raise EngineError ``table_too_large`` if `needed` bytes beside the libraries are more than the run may take."""
    needed, allowed = needed + BASE_BYTES, get_allowed_bytes()
    if needed <= allowed:
        return
    enough = -(-needed // MIB) * MIB
    raise EngineError(
        "table_too_large",
        "The table takes about {needed:,.0f} MiB of memory; {allowed:,.0f} MiB are allowed. "
        "Submit it with needs.memory_bytes of at least {enough}.",
        needed=needed / MIB,
        allowed=allowed / MIB,
        enough=enough,
        field=FIELD,
        value=str(needed),
        limit=str(allowed),
        hint=hint,
    )


def refuse_large_table(needed: int) -> None:
    """The same for a table that is held whole."""
    refuse_too_large(
        needed, Message("Ask for so much memory, or give it fewer rows or columns: this step holds the whole table.")
    )


def refuse_large_row_group(needed: int) -> None:
    """The same for as many rows as are written to a Parquet file at once."""
    refuse_too_large(
        needed,
        Message("Ask for so much memory, or give it shorter texts or fewer columns: 131,072 rows are written at once."),
    )


def refuse_many_columns(count: int) -> None:
    """Raise EngineError ``too_many_columns`` for a table of more columns than can be measured one by one."""
    if count > MAX_COLUMNS:
        raise EngineError(
            "too_many_columns",
            "The table has {count:,} columns; {max_columns:,} are read at most.",
            count=count,
            max_columns=MAX_COLUMNS,
            field=FIELD,
            value=str(count),
            limit=str(MAX_COLUMNS),
            hint=N_("Leave out columns, or turn them into rows with one column for the name and one for the value."),
        )
