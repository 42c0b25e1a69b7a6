"""The command ``deepseek models predict``: queue a batch prediction on a plane, and follow it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from deepseek.client.commands import PATIENCE_SECONDS, Parser, build_parser, open_plane
from deepseek.client.references import parse_reference
from deepseek.client.run_command import build_range_parser

EXAMPLE = """\
example:
  deepseek models predict fuel:v3 fleet:v12 --register fleet-predicted --keep id --probabilities

The plane predicts for every row of the dataset version. Exit code: 0 succeeded; 1 failed; 130 cancelled or detached;
2 when nothing was queued because something given is wrong."""


def predict_table(words: Sequence[str]) -> int:
    """Queue a prediction for a dataset version, and follow it."""
    from deepseek.client.terminal import follow_until_ended, tell

    arguments = build_predict_parser().parse_args(words)
    data = parse_reference(arguments.data, "DATASET:vN", "deepseek data ls")
    plane = open_plane(arguments)
    inputs = plane.dataset(data.name).build_table_inputs(data.version)
    body: dict[str, Any] = {"inputs": inputs, "name": arguments.job_name or f"{arguments.model} on {data}"[:120]}
    if arguments.register:
        body["register"] = {"dataset": arguments.register}
    job = plane.submit("predict", build_spec(arguments), **body)
    plane.transport.patience = PATIENCE_SECONDS
    tell(f"job {job.id}: {job.page}")
    if arguments.detach:
        print(job.id)
        return 0
    return follow_until_ended(job)


def build_spec(arguments: argparse.Namespace) -> dict[str, Any]:
    """The spec of the job: what was given; the rest has its defaults on the plane."""
    names = ("model", "keep", "name", "probabilities", "incomplete", "processes", "partitions")
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, False)}


def build_predict_parser() -> Parser:
    parser = build_parser("models predict", "Predict for every row of a dataset version on the plane.", epilog=EXAMPLE)
    parser.add_argument(
        "model", metavar="MODEL:vN", help="a model version, MODEL:ALIAS, or one form of it as MODEL:vN/FORM"
    )
    parser.add_argument("data", metavar="DATASET:vN", help="a dataset version; `deepseek data ls NAME` lists them")
    parser.add_argument("--register", metavar="NAME", default="", help="dataset that gets the result as a new version")
    parser.add_argument("--keep", metavar="COLUMN", nargs="+", help="columns beside the predictions (default: all)")
    parser.add_argument("--name", metavar="COLUMN", help="column of the predictions (default: prediction)")
    parser.add_argument("--probabilities", action="store_true", help="add a column p_CLASS for each class")
    parser.add_argument(
        "--incomplete", choices=("missing", "refuse"), help="rows that lack an input (default: missing)"
    )
    parser.add_argument("--processes", metavar="N", type=build_range_parser(1, 64), help="processes (default: 1)")
    help_text = "Parquet files of the result (default: as many as the table has)"
    parser.add_argument("--partitions", metavar="N", type=build_range_parser(1, 1000), help=help_text)
    parser.add_argument("--job-name", metavar="NAME", default="", help="display name of the job")
    parser.add_argument("--detach", action="store_true", help="do not follow it: print its number and leave")
    return parser
