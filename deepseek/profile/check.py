"""Check what is expected of a table, and measure nothing: for who waits for the answer, as a push does."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepseek.job import JSON, EngineError
from deepseek.profile.spec import ProfileSpec
from deepseek.quality.expectations import check_expectations, list_expectation_failures, list_expectation_warnings
from deepseek.tables.sources import open_table

SCHEMA = "plane/expectation-check/v1"
TOLD = ("kind", "text", "columns", "severity", "verdict", "broken", "of", "first", "problem")


def check_table(spec: ProfileSpec, path: Path) -> tuple[dict[str, JSON], list[EngineError]]:
    """What becomes of each expectation on the table at `path`, as JSON; and the errors that do not hold.

    None of these where `on_failure` is report. Memory is bounded as in `run`; what is put aside lies in files without
    a name. Raises EngineError for whatever is wrong with the file, as `run` does.
    """
    try:
        source = open_table(path, spec.csv, Path(tempfile.gettempdir()), nested=True)
        results = check_expectations(source.batches, spec.expectations)
    except EngineError as error:
        if isinstance(error.__cause__, MemoryError):  # of a bound that the caller set: the file may be whole
            raise error.__cause__ from error
        raise
    document: dict[str, JSON] = {
        "schema": SCHEMA,
        "rows": source.rows,
        "expectations": [{name: result[name] for name in TOLD} for result in results],
        "warnings": [*source.notes, *list_expectation_warnings(results)],
    }
    return document, list_expectation_failures(results) if spec.on_failure == "fail" else []


def format_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The document for a person at a terminal."""
    yield f"checked {document['rows']:,} rows; nothing was written"
    for expectation in document["expectations"]:
        yield f"{expectation['verdict']}: {expectation['text']}"
    for warning in document["warnings"]:
        yield f"warning: {warning}"
