"""The command ``deepseek run``: send a script to a plane, follow it, and end as it ends."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from deepseek.client.commands import PATIENCE_SECONDS, Parser, build_parser, open_plane
from deepseek.client.scripts import ScriptRun

EXAMPLE = """\
example:
  deepseek run train.py --data wti-clean:v1 --processes 2 --output model.pt --name try-1 -- --lr 0.1

The script finds its data at $DATA/NAME/, writes what is to be kept below $OUT, and keeps checkpoints in $CHECKPOINT.
Its lines go to standard output as they are. Exit code: 0 succeeded; the script's own, else 1, failed; 130 cancelled
or detached; 2 when nothing was queued because something given is wrong; 1 when the plane does not answer."""
SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def run_script(words: Sequence[str]) -> int:
    """Queue a script with its folder, and follow it."""
    from deepseek.client.terminal import follow_until_ended, tell

    own, arguments_of_script = split_words(words)
    parser = build_run_parser()
    arguments, unknown = parser.parse_known_args(own)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}; what is the script's own goes behind --")
    run = build_run(arguments, arguments_of_script)
    code = run.scan()
    plane = open_plane(arguments)
    for name in code.left_out:
        tell(f"left out: {name} (a link out of the folder, or a repository of its own)")
    job = plane.submit_script(run, code)
    plane.transport.patience = PATIENCE_SECONDS
    tell(f"code: {code.describe()}")
    tell(f"job {job.id}: {job.page}")
    if arguments.detach:
        print(job.id)
        return 0
    wait = job.data.get("wait") or {}
    if wait.get("summary"):
        tell(f"job {job.id}: {wait['summary']}")
    return follow_until_ended(job)


def split_words(words: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """What is before the first `--`, and what is behind it."""
    place = list(words).index("--") if "--" in words else len(words)
    return list(words[:place]), tuple(words[place + 1 :])


def build_run(arguments: argparse.Namespace, arguments_of_script: tuple[str, ...]) -> ScriptRun:
    register = {name: getattr(arguments, f"register_{name}") for name in ("experiment", "dataset", "model")}
    return ScriptRun(
        script=arguments.script,
        args=arguments_of_script,
        data=tuple(arguments.data),
        name=arguments.name,
        nodes=arguments.nodes,
        processes=arguments.processes,
        gpus=arguments.gpus,
        cpus=arguments.cpus,
        memory_bytes=arguments.memory,
        outputs=tuple(arguments.output),
        environment=arguments.environment,
        table=arguments.table,
        register={name: value for name, value in register.items() if value},
        folder=arguments.folder,
    )


def build_run_parser() -> Parser:
    parser = build_parser(
        "run", "Run a script on the plane: its folder is sent, the job followed until it ends.", epilog=EXAMPLE
    )
    parser.usage = "deepseek run SCRIPT [flags] [-- ARGUMENTS OF THE SCRIPT]"
    parser.add_argument("script", metavar="SCRIPT", type=Path, help="the .py or .sh file that starts the work")
    help_text = "folder that is sent (default: that of the script); .gitignore and .deepseekignore are honoured"
    parser.add_argument("--folder", metavar="DIR", type=Path, help=help_text)
    parser.add_argument(
        "--data", metavar="NAME:vN", action="append", default=[], help="a dataset version; any number of times"
    )
    parser.add_argument(
        "--output", metavar="PATH", action="append", default=[], help="the job fails unless $OUT/PATH is there"
    )
    parser.add_argument("--name", default="", help="of the job (default: that of the script)")
    help_text = "a virtual environment or an image that the operator has set up (default: the node's Python)"
    parser.add_argument("--environment", metavar="NAME", default="", help=help_text)
    needs = parser.add_argument_group("needs", "What it takes of a node; what is left out is the plane's default.")
    needs.add_argument("--nodes", metavar="N", type=build_range_parser(1, 64), default=1, help="nodes (default: 1)")
    help_text = "processes on each node, started by torch.distributed.run (default: 1)"
    needs.add_argument("--processes", metavar="N", type=build_range_parser(1, 64), default=1, help=help_text)
    needs.add_argument("--gpus", metavar="N", type=build_range_parser(0, 64), help="GPUs on each node")
    needs.add_argument("--cpus", metavar="N", type=build_range_parser(1, 4096), help="CPUs on each node")
    needs.add_argument("--memory", metavar="SIZE", type=parse_size, help="memory on each node, for instance 8G")
    register = parser.add_argument_group("register", "What becomes of the outputs.")
    register.add_argument("--experiment", dest="register_experiment", metavar="NAME", help="experiment of its run")
    register.add_argument("--register-dataset", metavar="NAME", help="a dataset version of the output table")
    register.add_argument("--register-model", metavar="NAME", help="a model version of the files in $OUT/model")
    help_text = "the output that becomes it (default: the only table among the outputs)"
    register.add_argument("--table", metavar="PATH", default="", help=help_text)
    parser.add_argument("--detach", action="store_true", help="do not follow it: print its number and leave")
    return parser


def build_range_parser(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`, for argparse."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def parse_size(text: str) -> int:
    """`8G`, `512MiB` or a number of bytes."""
    match = re.fullmatch(r"(\d{1,15})([kmgt]?)(?:i?b)?", text.lower(), re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a size; for instance 512M or 8G")
    return int(match[1]) * SIZES[match[2]]
