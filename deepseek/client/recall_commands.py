"""The command ``deepseek recall``: what carries a dataset version, a row or a model version, and its recall."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from deepseek.client.commands import (
    Parser,
    add_list_flags,
    build_parser,
    choose_action,
    open_plane,
    parse_count,
    print_document,
    print_fields,
    print_rows,
)
from deepseek.client.device_commands import parse_id
from deepseek.client.references import normalise_version

TYPES = {
    "data": "dataset_version",
    "model": "model_version",
    "run": "run",
    "variant": "variant",
    "job": "job",
    "artifact": "artifact",
}
KINDS = ("dataset_version", "run", "model_version", "variant", "alias", "release", "rollout", "endpoint", "device")
STATES = ("acting", "watching", "completed")
OUTCOMES = ("pending", "returning", "stopping", "clear", "no_previous", "quarantined", "failed", "revoked")
COLUMNS = ("id", "state", "subject", "reason", "started_by", "started_at", "completed_at")
CARRIER_COLUMNS = ("kind", "id", "label", "exact")
DEVICE_COLUMNS = ("device", "name", "outcome", "from_release", "to_release", "assignment", "assignment_state")
ITEM_COLUMNS = ("kind", "label", "outcome", "detail", "at")


def manage_recalls(words: Sequence[str]) -> int:
    """Preview, start, list, show and retry recalls."""
    actions = {
        "preview": _preview_recall,
        "start": _start_recall,
        "ls": _list_recalls,
        "show": _show_recall,
        "retry": _retry_recall,
    }
    description = "Recalls: block what carries a dataset version, a row or a model version, and roll it back."
    return choose_action("recall", words, actions, description)


def _preview_recall(words: Sequence[str]) -> int:
    parser = build_parser("recall preview", "Tell what carries it, and so what a recall would concern.")
    add_subject(parser)
    parser.add_argument("--kind", choices=KINDS, help="list the objects of this kind instead")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    plane, subject = open_plane(arguments), read_subject(arguments)
    if arguments.kind:
        rows = plane.iterate("/recalls/carriers", limit=arguments.limit, kind=arguments.kind, **subject)
        print_rows(rows, CARRIER_COLUMNS, arguments)
        return 0
    preview = plane.get("/recalls/preview", **subject)
    if arguments.json:
        return print_document(preview)
    fields = {"subject": preview["subject"]["label"], **preview["counts"]}
    fields |= {name: preview[name] for name in ("possible", "blocked", "revoked", "devices_installing")}
    states = {f"devices {state}": count for state, count in preview["devices_by_state"].items()}
    return print_fields(fields | states)


def _start_recall(words: Sequence[str]) -> int:
    parser = build_parser(
        "recall start",
        "Block every model version that carries it, revoke its releases, and roll aliases, endpoints and devices\n"
        "back. It needs nobody's approval. The recall is printed as JSON.",
    )
    add_subject(parser)
    parser.add_argument("--reason", required=True, help="stands in the audit trail and on everything it acts on")
    parser.add_argument("--note", default="", help="what is known of the fault")
    parser.add_argument("--exact-only", action="store_true", help="leave alone what only may contain the row")
    help_text = "quarantine devices that have no release to go back to"
    parser.add_argument("--quarantine", action="store_true", help=help_text)
    arguments = parser.parse_args(words)
    body = read_subject(arguments)
    body |= {name: getattr(arguments, name) for name in ("reason", "note", "exact_only", "quarantine")}
    return print_document(open_plane(arguments).post("/recalls", body))


def _list_recalls(words: Sequence[str]) -> int:
    parser = build_parser("recall ls", "List the recalls of the project, newest first.")
    parser.add_argument("--state", choices=STATES, help="only these")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate("/recalls", limit=arguments.limit, state=arguments.state)
    print_rows(rows if arguments.json else map(summarize_recall, rows), COLUMNS, arguments)
    return 0


def _show_recall(words: Sequence[str]) -> int:
    parser = build_parser("recall show", "Show how far a recall has come: what was done, and what still runs it.")
    add_recall(parser)
    parser.add_argument("--items", action="store_true", help="list versions, releases, aliases and endpoints instead")
    parser.add_argument("--devices", action="store_true", help="list its devices instead")
    parser.add_argument("--outcome", choices=OUTCOMES, help="of the devices only these")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    plane, path = open_plane(arguments), f"/recalls/{arguments.recall}"
    if arguments.items:
        print_rows(plane.iterate(f"{path}/items", limit=arguments.limit), ITEM_COLUMNS, arguments)
        return 0
    if arguments.devices or arguments.outcome:
        rows = plane.iterate(f"{path}/devices", limit=arguments.limit, outcome=arguments.outcome)
        print_rows(rows, DEVICE_COLUMNS, arguments)
        return 0
    recall = plane.get(path)
    if arguments.json:
        return print_document(recall)
    progress = recall["progress"]
    fields: dict[str, Any] = {name: summarize_recall(recall)[name] for name in COLUMNS}
    for kind, counts in progress["items"].items():
        if counts:
            fields[kind] = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    devices = [f"{count} {outcome}" for outcome, count in progress["devices"].items() if count]
    fields["devices"] = ", ".join(devices) or "none"
    fields["still running it"] = ", ".join(f"{count} {state}" for state, count in progress["running"].items())
    return print_fields(fields | {f"error of {step}": why for step, why in recall["failed_steps"].items()})


def _retry_recall(words: Sequence[str]) -> int:
    parser = build_parser("recall retry", "Try again what has failed, devices that did not go back too.")
    add_recall(parser)
    parser.add_argument("--reason", default="")
    arguments = parser.parse_args(words)
    path = f"/recalls/{arguments.recall}/retry"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


# -- shared ---------------------------------------------------------------------------------------------------------
def add_subject(parser: Parser) -> None:
    parser.add_argument("type", choices=list(TYPES), help="what is at fault")
    parser.add_argument("id", metavar="ID", help="NAME:vN of data or a model, else the id that lineage has of it")
    help_text = "one row of the data: its number from 1, or COLUMN=VALUE of a CSV table"
    parser.add_argument("--row", metavar="ROW", type=parse_row, help=help_text)


def add_recall(parser: Parser) -> None:
    parser.add_argument("recall", metavar="RECALL", type=parse_id, help="its number, as `deepseek recall ls` has it")


def parse_row(text: str) -> int | str:
    """A number, or COLUMN=VALUE."""
    return text if "=" in text else parse_count(text)


def read_subject(arguments: argparse.Namespace) -> dict[str, Any]:
    """The members of a query or a body that name the subject."""
    name, colon, version = arguments.id.rpartition(":")
    id = f"{name}:{normalise_version(version)}" if colon else arguments.id
    subject = {"type": TYPES[arguments.type], "id": id}
    return subject | ({"row": arguments.row} if arguments.row else {})


def summarize_recall(recall: dict[str, Any]) -> dict[str, Any]:
    """A recall with its subject in one word."""
    subject = recall["subject"]
    return {**recall, "subject": f"{subject['label']} row {subject['row']}" if subject["row"] else subject["label"]}
