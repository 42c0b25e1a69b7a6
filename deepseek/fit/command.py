"""``deepseek fit COMMAND [INPUT ...] ...``: what a training would need of memory, by part, without training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from deepseek.fit.facts import read_facts
from deepseek.fit.families import FAMILIES, estimate_memory
from deepseek.fit.memory import MemoryEstimate
from deepseek.job import EngineError
from deepseek.messages import N_


def show_estimate(words: list[str]) -> int:
    """Print the breakdown and return the exit code. Raises EngineError for a spec or a table that does not hold."""
    from pydantic import ValidationError

    from deepseek.cli import COMMANDS
    from deepseek.flags import add_flags, convert_errors, read_spec

    names = [name for name in COMMANDS if name.replace("-", "_") in FAMILIES]
    if not words or words[0] not in names:
        _build_parser(names).parse_args(words)  # which leaves by itself
    command = COMMANDS[words[0]]
    module, _, attribute = command.spec.partition(":")
    model = getattr(import_module(module), attribute)
    parser = _build_parser(names)
    add_flags(parser, model, command.flags, command.left_out)
    arguments = parser.parse_intermixed_args(words)
    try:
        spec = read_spec(model, arguments)
    except ValidationError as error:
        raise convert_errors(error)[0] from error
    kind = words[0].replace("-", "_")
    facts = read_facts(kind, check_inputs(arguments.inputs, command.slots), spec)
    estimate = estimate_memory(kind, spec, facts, nodes=arguments.nodes, gpus=arguments.gpus)
    if estimate is None:
        raise EngineError(
            "wrong_inputs",
            "Nothing is known of the model: its folder is the first input.",
            field="inputs",
            value="none",
            limit=", ".join(command.slots),
            hint=N_("Give the inputs of the training in their order, or leave the last ones out."),
        )
    _print(estimate, as_json=arguments.json)
    return 0


def check_inputs(paths: list[Path], slots: Sequence[str]) -> list[Path]:
    """The paths, of which the first ones may be given alone. Raises EngineError for more than there are slots."""
    if len(paths) <= len(slots):
        return paths
    raise EngineError(
        "wrong_inputs",
        "The command takes {slots}; {count} inputs are given.",
        slots=", ".join(slots),
        count=len(paths),
        field="inputs",
        value=str(len(paths)),
        limit=", ".join(slots),
        hint=N_("Give the inputs of the training in their order, or leave the last ones out."),
    )


def _build_parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek fit",
        description="What a training would need of memory, by part, without training.",
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=names, metavar="COMMAND", help=", ".join(names))
    parser.add_argument(
        "inputs",
        nargs="*",
        type=Path,
        metavar="INPUT",
        help="its inputs in their order; left out: as if there were none",
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="nodes that share the work (default: 1)")
    parser.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs of each node (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _print(estimate: MemoryEstimate, *, as_json: bool) -> None:
    gpu = estimate.gpu.as_dict() if estimate.gpu else None
    if as_json:
        print(json.dumps({"host": estimate.host.as_dict(), "gpu": gpu, "examples": estimate.examples}, indent=1))
        return
    for name, size in estimate.host.as_dict().items():
        on_gpu = f"  GPU {gpu[name] / 1e6:12,.1f} MB" if gpu else ""
        print(f"{name:12}{size / 1e6:12,.1f} MB{on_gpu}")
