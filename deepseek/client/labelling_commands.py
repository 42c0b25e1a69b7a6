"""The commands ``deepseek labelling``: connections, schemas, labelling projects, their tasks and results."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.client.commands import (
    Parser,
    add_list_flags,
    build_parser,
    choose_action,
    open_plane,
    print_document,
    print_rows,
)
from deepseek.client.device_commands import parse_id

COLUMNS = ("id", "name", "state", "level", "source", "tasks_count", "agreement_value", "result", "failure")
TASK_COLUMNS = ("number", "row", "state", "violations", "decided_by")
SERVER_COLUMNS = ("name", "url", "state", "version", "failure")
TASK_STATES = ("open", "agreed", "disputed", "returned", "adjudicated", "skipped")
TEXTS = {
    "source": "NAME:vN of a dataset",
    "source_file": "path in the version, where it has several files",
    "text_column": "of the file (default text)",
    "parent": "labelling project of the level before, whose agreed tasks go on",
    "prelabels": "MODEL:vN of entities that pre-labels the tasks",
}


def manage_labelling(words: Sequence[str]) -> int:
    """List, create, synchronize, publish, train on and close labelling projects; connect servers; save schemas."""
    actions = {
        "ls": _list_projects,
        "show": _show_project,
        "create": _create_project,
        "tasks": _list_tasks,
        "adjudicate": _adjudicate_task,
        "sync": _synchronize,
        "publish": _publish,
        "train": _train,
        "close": _close,
        "servers": _list_servers,
        "connect": _connect,
        "schema": _save_schema,
    }
    return choose_action("labelling", words, actions, "What people mark on a Label Studio.")


def _list_projects(words: Sequence[str]) -> int:
    parser = build_parser("labelling ls", "List the labelling projects, newest first.")
    parser.add_argument("--state", choices=("preparing", "importing", "labelling", "failed", "closed"))
    parser.add_argument("--level", choices=("basic", "semantic", "domain"))
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    narrow = {"state": arguments.state, "level": arguments.level}
    rows = open_plane(arguments).iterate("/labelling/projects", limit=arguments.limit, **narrow)
    print_rows(rows, COLUMNS, arguments)
    return 0


def _show_project(words: Sequence[str]) -> int:
    parser = build_parser("labelling show", "Print one labelling project with its progress and agreement, as JSON.")
    add_project(parser)
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).get(f"/labelling/projects/{arguments.labelling}"))


def _create_project(words: Sequence[str]) -> int:
    parser = build_parser("labelling create", "Have a dataset version labelled. It is printed as JSON.")
    parser.add_argument("name", metavar="NAME", help="unique in the project")
    parser.add_argument("--server", required=True, metavar="NAME", help="a connection")
    parser.add_argument("--schema", required=True, metavar="NAME:vN")
    for name, text in TEXTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="NAME", help=text)
    parser.add_argument("--order", choices=("source", "uncertainty"), help="of the tasks (default source)")
    parser.add_argument("--group", action="append", metavar="NAME", help="annotators who share their marks; may repeat")
    parser.add_argument("--overlap", type=float, metavar="SHARE", help="of the tasks that every group marks")
    parser.add_argument("--bar", type=float, metavar="ALPHA", help="agreement that a result needs")
    arguments = parser.parse_args(words)
    names = ("name", "server", "schema", *TEXTS, "order", "overlap", "bar")
    body: dict[str, Any] = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.group:
        body["groups"] = arguments.group
    return print_document(open_plane(arguments).post("/labelling/projects", body))


def _list_tasks(words: Sequence[str]) -> int:
    parser = build_parser("labelling tasks", "List the tasks of a labelling project.")
    add_project(parser)
    parser.add_argument("--state", choices=TASK_STATES, help="only these")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    path = f"/labelling/projects/{arguments.labelling}/tasks"
    print_rows(
        open_plane(arguments).iterate(path, limit=arguments.limit, state=arguments.state), TASK_COLUMNS, arguments
    )
    return 0


def _adjudicate_task(words: Sequence[str]) -> int:
    parser = build_parser("labelling adjudicate", "Decide what a task is marked as.")
    add_project(parser)
    parser.add_argument("task", type=parse_id, metavar="NUMBER", help="the task's number, from 1")
    parser.add_argument("marks", metavar="JSON", help='{"spans": [{"start": 0, "end": 3, "label": "PERSON"}]}')
    parser.add_argument("--note", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    try:
        marks = json.loads(arguments.marks)
    except ValueError as fault:
        parser.error(f"the marks are not JSON: {fault}")
    path = f"/labelling/projects/{arguments.labelling}/tasks/{arguments.task}/adjudicate"
    return print_document(open_plane(arguments).post(path, {"marks": marks, "note": arguments.note}))


def _synchronize(words: Sequence[str]) -> int:
    return post_action(build_parser("labelling sync", "Read every task from the server again."), words, "sync", {})


def _publish(words: Sequence[str]) -> int:
    parser = build_parser("labelling publish", "Make a dataset version of what is agreed, within seconds.")
    add_project(parser)
    parser.add_argument("dataset", metavar="DATASET", help="gets the version; created at need")
    arguments = parser.parse_args(words)
    path = f"/labelling/projects/{arguments.labelling}/result"
    return print_document(open_plane(arguments).post(path, {"dataset": arguments.dataset}))


def _train(words: Sequence[str]) -> int:
    return post_action(build_parser("labelling train", "Queue a training on the newest result."), words, "train", {})


def _close(words: Sequence[str]) -> int:
    parser = build_parser("labelling close", "End a labelling project; what was marked stays.")
    add_project(parser)
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    path = f"/labelling/projects/{arguments.labelling}/close"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


def _list_servers(words: Sequence[str]) -> int:
    parser = build_parser("labelling servers", "List the connections to Label Studio.")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    print_rows(open_plane(arguments).iterate("/labelling/servers", limit=arguments.limit), SERVER_COLUMNS, arguments)
    return 0


def _connect(words: Sequence[str]) -> int:
    parser = build_parser("labelling connect", "Add a connection. The token is asked for, or read from a pipe.")
    parser.add_argument("name", metavar="NAME", help="unique in the project")
    parser.add_argument("url", metavar="URL", help="http(s)://host[:port], which the operator allows")
    arguments = parser.parse_args(words)
    token = getpass.getpass("Token of Label Studio: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    body = {"name": arguments.name, "url": arguments.url, "token": token}
    return print_document(open_plane(arguments).post("/labelling/servers", body))


def _save_schema(words: Sequence[str]) -> int:
    parser = build_parser(
        "labelling schema", "Save a schema (JSON) or a labelling interface (XML) as the next version."
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("file", type=Path, metavar="FILE")
    arguments = parser.parse_args(words)
    try:
        text = arguments.file.read_text(encoding="utf-8").strip()
        document = {"config": text} if text.startswith("<") else {"document": json.loads(text)}
    except (OSError, ValueError) as fault:
        parser.error(f"{arguments.file}: {fault}")
    return print_document(open_plane(arguments).post("/labelling/schemas", {"name": arguments.name, **document}))


def post_action(parser: Parser, words: Sequence[str], action: str, body: dict[str, Any]) -> int:
    add_project(parser)
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).post(f"/labelling/projects/{arguments.labelling}/{action}", body))


def add_project(parser: Parser) -> None:
    parser.add_argument("labelling", type=parse_id, metavar="ID", help="the labelling project's number")
