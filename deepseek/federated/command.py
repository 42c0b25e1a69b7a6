"""``deepseek federation-server``, ``federation-site`` and ``verify-ledger``: a study by hand, with no plane."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from deepseek.federated.errors import FederationError
from deepseek.federated.ledger import read_ledger
from deepseek.federated.spec import FederationServerSpec, FederationSiteSpec
from deepseek.job import Result
from deepseek.messages import N_

Spec = TypeVar("Spec", bound=BaseModel)


def coordinate_study(words: Sequence[str]) -> int:
    """Run the server of a study until its rounds are done; returns the exit code."""
    parser = build_parser("federation-server", "coordinate a federated study")
    parser.add_argument("--weights", type=Path, help="a safetensors file with the weights to begin from")
    arguments = parser.parse_args(list(words))
    spec = read_spec(arguments.spec, FederationServerSpec)
    from deepseek.console import ConsoleReport
    from deepseek.federated.server import run

    inputs = {"home": arguments.home} | ({"weights": arguments.weights} if arguments.weights else {})
    show_result(run(spec, inputs=inputs, out=arguments.output, report=ConsoleReport()), arguments.output)
    return 0


def take_part(words: Sequence[str]) -> int:
    """Run a site of a study on a table until the study is done; returns the exit code."""
    parser = build_parser("federation-site", "take part in a federated study with the rows of a table")
    parser.add_argument("table", type=Path, help="a CSV or Parquet file")
    arguments = parser.parse_args(list(words))
    spec = read_spec(arguments.spec, FederationSiteSpec)
    from deepseek.console import ConsoleReport
    from deepseek.federated.site import run

    inputs = {"home": arguments.home, "table": arguments.table}
    show_result(run(spec, inputs=inputs, out=arguments.output, report=ConsoleReport()), arguments.output)
    return 0


def verify_ledger(words: Sequence[str]) -> int:
    """Verify an egress ledger and print what left. Returns the exit code: 0, or 1 for one that does not verify; 2 is
    that of a file that cannot be read, or of wrong arguments."""
    parser = argparse.ArgumentParser("deepseek verify-ledger", description="Verify the egress ledger of a site.")
    parser.add_argument("ledger", type=Path, help="the file of JSON lines")
    parser.add_argument("--public-key", help="base64 of the site's key; without it the first entry names it")
    arguments = parser.parse_args(list(words))
    data = read_file(arguments.ledger)
    try:
        entries = read_ledger(data, public_key=arguments.public_key)
    except FederationError as fault:
        print(f"{arguments.ledger}: {fault}", file=sys.stderr)
        return 1
    for entry in entries:
        figures = f"norm {entry.norm:.4g}" if entry.norm is not None else entry.reason
        spent = f"  epsilon {entry.epsilon:.3f}" if entry.epsilon is not None else ""
        print(f"{entry.created_at}  round {entry.round:3}  {entry.kind:10} {entry.bytes:9,} bytes  {figures}{spent}")
    print(f"{len(entries)} entries verified")
    return 0


def build_parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"deepseek {name}", description=f"{description[0].upper()}{description[1:]}.")
    parser.add_argument("spec", type=Path, help="the spec of the job, a JSON file (docs/federation.md)")
    parser.add_argument("--home", type=Path, required=True, help="folder of credentials, ledger and state")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results, not there yet")
    return parser


def read_spec(path: Path, model: type[Spec]) -> Spec:
    """The spec in the file. Raises EngineError for the first field that is wrong."""
    from deepseek.flags import convert_errors

    try:
        return model.model_validate_json(read_file(path))
    except ValidationError as error:
        raise convert_errors(error)[0] from error


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FederationError(
            "input_unreadable",
            N_("The file {name} cannot be read: {reason}."),
            field="input",
            value=str(path),
            limit="a file",
            hint=N_("Name a file that is there and may be read."),
            name=path.name,
            reason=error.strerror or "",
        ) from None


def show_result(result: Result, out: Path) -> None:
    print(json.dumps({"out": str(out), **result.summary}, indent=1))
