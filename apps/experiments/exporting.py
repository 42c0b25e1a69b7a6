"""The points of metrics as a CSV file, however many there are: in bounded memory, with no cursor left open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from django.http import StreamingHttpResponse

from apps.experiments.models import Metric
from apps.experiments.reads import batches_of
from apps.jobs.streams import rest_connection

HEAD = ("run", "key", "step", "value", "at")


def csv_response(metrics: Sequence[Metric]) -> StreamingHttpResponse:
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": 'attachment; filename="metrics.csv"',
    }
    return StreamingHttpResponse(lines(metrics), content_type="text/csv; charset=utf-8", headers=headers)


def lines(metrics: Sequence[Metric]) -> Iterator[bytes]:
    yield written([HEAD])
    for metric in metrics:
        for batch in batches_of(metric):
            rest_connection()
            named = metric.run_id, safe(metric.key)
            yield written((*named, step, repr(value), at.isoformat()) for step, value, at in batch)


def written(rows: Iterator[tuple[object, ...]] | list[tuple[str, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="replace")


def safe(text: str) -> str:
    """A name that a spreadsheet would take for a formula is quoted, as OWASP has it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
