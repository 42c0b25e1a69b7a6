"""The command ``deepseek environment``: show, compare and rebuild environments."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.environments.comparison import compare_environments
from deepseek.environments.inventory import collect_environment
from deepseek.environments.rebuild import rebuild_environment
from deepseek.job import EngineError
from deepseek.messages import N_

HERE = "here"
MAX_BYTES = 16 << 20


def manage_environment(words: Sequence[str]) -> int:
    """Show, compare or rebuild; the exit code: 1 of a comparison that found differences."""
    parser = argparse.ArgumentParser("deepseek environment", description="The environment of a machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    show = actions.add_parser("show", help="print this machine's environment as JSON")
    show.add_argument("-o", "--output", type=Path, help="write it to a file")
    diff = actions.add_parser("diff", help="compare two environments; exit code 1: they differ")
    sides = "here, a file, node:NAME, node:NAME@DATE or run:ID (of the plane that you are logged in to)"
    diff.add_argument("left", help=sides)
    diff.add_argument("right", help=sides)
    diff.add_argument("--json", action="store_true")
    restore = actions.add_parser("restore", help="rebuild a Python environment from a document and a package index")
    restore.add_argument("environment", help="a file, restored/environments.json of a snapshot, or as for diff")
    restore.add_argument("--node", default="", help="which node, where the file holds several")
    restore.add_argument("--into", type=Path, required=True, help="a folder that does not exist yet")
    restore.add_argument("--index-url", required=True, help="the package index of the plane: https://HOST/simple")
    restore.add_argument("--python", default=sys.executable, help="the interpreter to build it with")
    arguments = parser.parse_args(words)
    return {"show": run_show, "diff": run_diff, "restore": run_restore}[arguments.action](arguments)


def run_show(arguments: argparse.Namespace) -> int:
    text = json.dumps(collect_environment(), indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


def run_diff(arguments: argparse.Namespace) -> int:
    (left, left_partial), (right, right_partial) = load_side(arguments.left), load_side(arguments.right)
    partial = ("packages",) if left_partial or right_partial else ()
    comparison = compare_environments(left, right, partial=partial)
    if arguments.json:
        rows = [
            {"section": d.section, "name": d.name, "left": d.left, "right": d.right} for d in comparison.differences
        ]
        document = {"differences": rows, "equal": comparison.equal, "unreported": list(comparison.unreported)}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        for row in comparison.differences:
            sys.stdout.write(f"{row.section:9} {row.name:32} {row.left or '-':24} {row.right or '-'}\n")
        unreported = f"; one side says nothing of {', '.join(comparison.unreported)}" if comparison.unreported else ""
        sys.stdout.write(f"{len(comparison.differences)} differ, {comparison.equal} are equal{unreported}\n")
    return 1 if comparison.differences else 0


def run_restore(arguments: argparse.Namespace) -> int:
    document, is_partial = load_side(arguments.environment, arguments.node)
    if is_partial:
        raise EngineError(
            "environment_malformed",
            "The record of a run names only some of its packages: an environment cannot be rebuilt from it.",
            field="environment",
            hint=N_("Name its node and the day: node:NAME@DATE."),
        )
    version = document.get("python", {}).get("version", "")
    if version and version.rpartition(".")[0] != f"{sys.version_info[0]}.{sys.version_info[1]}":
        print_line(f"The environment had Python {version}: name such an interpreter with --python.")
    left = rebuild_environment(document, arguments.into, arguments.index_url, python=arguments.python, say=print_line)
    for row in left:
        print_line(f"{row.name}: {row.left or 'not there'} before, {row.right or 'not there'} now")
    print_line(f"{arguments.into} holds the environment{', with these differences' if left else ''}.")
    return 1 if left else 0


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")


def load_side(side: str, node: str = "") -> tuple[dict[str, Any], bool]:
    """A document, and whether it names only some packages."""
    if side == HERE:
        return dict(collect_environment()), False
    if side.startswith(("node:", "run:")):
        return fetch_side(side), side.startswith("run:")
    document = read_file(Path(side))
    if "packages" not in document:
        if not node or not isinstance(document.get(node), dict):
            raise EngineError(
                "environment_malformed",
                "The file holds no environment of this node.",
                field="--node",
                value=node[:100],
                limit=", ".join(sorted(document))[:300],
                hint=N_("Name one of its nodes with --node."),
            )
        document = document[node]
    return document, False


def read_file(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
        document = json.loads(path.read_text())
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as failure:
        why = failure.strerror if isinstance(failure, OSError) else str(failure)
        raise EngineError(
            "environment_unreadable",
            "{path} cannot be read: {why}.",
            path=str(path)[:200],
            why=str(why)[:200],
            field="environment",
            hint=N_("Name a file that `deepseek environment show` wrote, or one of a snapshot."),
        ) from None
    return document


def fetch_side(side: str) -> dict[str, Any]:
    """The document of a node or a run, of the plane that this machine is logged in to."""
    from deepseek.client.plane import Plane

    with Plane() as plane:
        answer = plane.transport.call("GET", "/api/v1/environments", of=side)
    return dict(answer["environment"])
