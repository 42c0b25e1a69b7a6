"""The command ``deepseek observations``: sources, figures, and batches of predictions and labels out of files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepseek.client.commands import add_list_flags, build_parser, choose_action, open_plane, print_rows
from deepseek.client.errors import ClientError, PlaneRefusal

SOURCE_COLUMNS = ("name", "kind", "task", "sampling_rate", "retention_days", "received_at", "created_at")
GROUPINGS = ("hour", "day", "version", "variant", "source", "hour_version", "day_version")
GROUP_COLUMNS = ("hour", "model", "version", "variant", "source")
FIGURE_COLUMNS = ("predictions", "labelled", "accuracy", "absolute_error", "rmse", "latency_ms")
FILTERS = ("source", "model", "version", "variant", "since", "until")
MAX_BATCH_ROWS = 5_000  # of the plane
MAX_BATCH_BYTES = 900_000  # BODY_LIMIT_BYTES of a plane is 1 MiB unless it says otherwise
COUNTS = ("received", "stored", "duplicates", "sampled_out", "waiting")


class Batch(NamedTuple):
    """Rows of a file that go together, and the line of each."""

    rows: list[dict[str, Any]]
    lines: list[int]


def manage_observations(words: Sequence[str]) -> int:
    """List sources and figures, send predictions and labels."""
    actions = {"sources": _list_sources, "figures": _show_figures, "send": _send_predictions, "label": _send_labels}
    return choose_action(
        "observations", words, actions, "Observations of the project: what was predicted, and what turned out right."
    )


def _list_sources(words: Sequence[str]) -> int:
    parser = build_parser("observations sources", "List the endpoints and devices whose predictions are kept.")
    parser.add_argument("--kind", choices=("endpoint", "device"), help="only these")
    parser.add_argument("--model", default="", help="only those with predictions of this model")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    filters = {"kind": arguments.kind or "", "model": arguments.model}
    rows = open_plane(arguments).iterate("/observations/sources", limit=arguments.limit, **filters)
    print_rows(rows, SOURCE_COLUMNS, arguments)
    return 0


def _show_figures(words: Sequence[str]) -> int:
    parser = build_parser("observations figures", "Counts, accuracy or error, and latency of a period, by group.")
    parser.add_argument("--by", choices=GROUPINGS, default="day", help="groups (default: %(default)s)")
    parser.add_argument("--since", metavar="TIME", help="ISO 8601 with its offset (default: a day before --until)")
    parser.add_argument("--until", metavar="TIME", help="likewise (default: now)")
    parser.add_argument("--source", help="only of this source")
    parser.add_argument("--model", help="only of this model")
    parser.add_argument("--version", metavar="N", help="only of this version of --model")
    parser.add_argument("--variant", help="only of this variant")
    parser.add_argument("--shadow", action="store_true", help="of candidates in shadow instead")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, with totals and classes")
    arguments = parser.parse_args(words)
    query = {name: getattr(arguments, name) for name in FILTERS if getattr(arguments, name)}
    query |= {"by": arguments.by, **({"shadow": "true"} if arguments.shadow else {})}
    answer = open_plane(arguments).get("/observations/figures", **query)
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False, indent=1))
        return 0
    rows = [{**group, **flatten_figures(group["figures"])} for group in answer["groups"]]
    used_columns = [name for name in GROUP_COLUMNS if any(row[name] is not None for row in rows)] or ["hour"]
    rows.append({used_columns[0]: "total", **flatten_figures(answer["total"])})
    print_rows(rows, [*used_columns, *FIGURE_COLUMNS], arguments)
    return 0


def flatten_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """Each figure as one number: of an estimate with its interval, the value."""
    return {name: value["value"] if isinstance(value, dict) else value for name, value in figures.items()}


def _send_predictions(words: Sequence[str]) -> int:
    parser = build_parser(
        "observations send",
        "Send predictions to a source: JSON lines as `deepseek serve --record` writes them (docs/observations.md).\n"
        "A row that the plane has is counted once, so a file may be sent again after a failure.",
    )
    add_file_flags(parser)
    parser.add_argument("--model", help="name of the model, in place of what the rows say")
    arguments = parser.parse_args(words)
    return send_file("/observations/predictions", arguments, {"model": arguments.model} if arguments.model else {})


def _send_labels(words: Sequence[str]) -> int:
    parser = build_parser(
        "observations label",
        'Send labels to a source: JSON lines such as {"id": "p-1", "at": "2026-11-30T10:15:00Z", "label": 57.9}.\n'
        "A label may come before its prediction, and long after.",
    )
    add_file_flags(parser)
    return send_file("/observations/labels", parser.parse_args(words), {})


def add_file_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON lines, one row a line; - reads standard input")
    parser.add_argument("--source", required=True, metavar="NAME", help="endpoint or device that they are of")


def send_file(path: str, arguments: argparse.Namespace, fixed: dict[str, Any]) -> int:
    """Send the rows of a file in batches, and print what became of them as JSON.

    A batch that is refused is not stored; those before it are, and the error names the line.
    """
    plane, totals = open_plane(arguments), dict.fromkeys(COUNTS, 0)
    name = "standard input" if arguments.file == "-" else arguments.file
    for batch in split_batches(read_rows(arguments.file, name)):
        body = {"source": arguments.source, "rows": [{**row, **fixed} for row in batch.rows]}
        try:
            answer = plane.post(path, body)
        except PlaneRefusal as refusal:
            if totals["received"]:
                print(f"deepseek: {totals['received']} rows before were taken", file=sys.stderr)
            raise locate_refusal(refusal, name, batch.lines) from refusal
        totals = {key: totals[key] + answer.get(key, 0) for key in COUNTS}
    print(json.dumps(totals))
    return 0


def read_rows(file: str, name: str) -> Iterator[tuple[int, dict[str, Any], int]]:
    """(line, row, bytes) of each line that is not empty. Raises ClientError."""
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise build_line_error(name, number, str(error)) from None
                if not isinstance(row, dict):
                    raise build_line_error(name, number, "it is no object")
                yield number, row, len(line)
    except OSError as error:
        raise ClientError(
            "file_unreadable",
            f"The file cannot be read: {error.strerror}.",
            field="FILE",
            value=name,
            limit="a file of JSON lines",
            hint="Name another file, or give - and send the rows by standard input.",
        ) from error


def split_batches(rows: Iterable[tuple[int, dict[str, Any], int]]) -> Iterator[Batch]:
    """The rows in batches that a plane takes."""
    batch, size = Batch([], []), 0
    for line, row, length in rows:
        if batch.rows and (len(batch.rows) >= MAX_BATCH_ROWS or size + length > MAX_BATCH_BYTES):
            yield batch
            batch, size = Batch([], []), 0
        batch.rows.append(row)
        batch.lines.append(line)
        size += length
    if batch.rows:
        yield batch


def locate_refusal(refusal: PlaneRefusal, name: str, lines: Sequence[int]) -> PlaneRefusal:
    """The refusal with the line of the file in place of the row of the batch."""
    parts = (refusal.field or "").split("/")
    if len(parts) > 2 and parts[1] == "rows" and parts[2].isdecimal() and int(parts[2]) < len(lines):
        refusal.field = "/".join([f"{name}:{lines[int(parts[2])]}", *parts[3:]])
    return refusal


def build_line_error(name: str, line: int, why: str) -> ClientError:
    return ClientError(
        "malformed_json",
        f"A line is no row: {why}.",
        field=f"{name}:{line}",
        limit="a JSON object on each line",
        hint="Write one row a line, without a comma between them.",
    )
