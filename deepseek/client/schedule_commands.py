"""The command ``deepseek schedules``: submit jobs and pipelines again by a cron expression."""

from __future__ import annotations

import json
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
    print_fields,
    print_rows,
)
from deepseek.client.device_commands import parse_id

COLUMNS = ("id", "name", "state", "target", "cron", "timezone", "next_at", "failures", "created_by")
OCCURRENCE_COLUMNS = ("due_at", "outcome", "count", "subject", "reason")
RULES = {"overlap": ("skip", "allow", "cancel"), "catch_up": ("last", "none")}


def manage_schedules(words: Sequence[str]) -> int:
    """List, create, change, pause, resume and delete schedules."""
    actions = {
        "ls": _list_schedules,
        "show": _show_schedule,
        "times": _list_occurrences,
        "preview": _preview,
        "create": _create_schedule,
        "update": _update_schedule,
        "pause": _pause_schedule,
        "resume": _resume_schedule,
        "rm": _delete_schedule,
    }
    return choose_action(
        "schedules", words, actions, "Jobs and pipelines that are submitted again by a cron expression."
    )


def _list_schedules(words: Sequence[str]) -> int:
    parser = build_parser("schedules ls", "List the schedules of the project, or of the plane, newest first.")
    parser.add_argument("--state", choices=("active", "paused"), help="only these")
    add_owner(parser)
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate(build_path(arguments), limit=arguments.limit, state=arguments.state)
    print_rows(rows, COLUMNS, arguments)
    return 0


def _show_schedule(words: Sequence[str]) -> int:
    parser = build_parser("schedules show", "Show one schedule with its next times.")
    add_schedule(parser)
    add_owner(parser)
    parser.add_argument("--json", action="store_true", help="print all that the plane tells as JSON, with the request")
    arguments = parser.parse_args(words)
    schedule = open_plane(arguments).get(build_path(arguments, f"/{arguments.schedule}"))
    if arguments.json:
        return print_document(schedule)
    times = ", ".join(schedule["next_times"]) or "none"
    return print_fields({name: schedule[name] for name in COLUMNS} | {"next times": times})


def _list_occurrences(words: Sequence[str]) -> int:
    parser = build_parser("schedules times", "List what became of the times of a schedule, newest first.")
    add_schedule(parser)
    parser.add_argument("--outcome", choices=("submitted", "skipped", "missed", "failed"), help="only these")
    add_owner(parser)
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    path = build_path(arguments, f"/{arguments.schedule}/occurrences")
    rows = open_plane(arguments).iterate(path, limit=arguments.limit, outcome=arguments.outcome)
    print_rows(rows, OCCURRENCE_COLUMNS, arguments)
    return 0


def _preview(words: Sequence[str]) -> int:
    parser = build_parser("schedules preview", "Print the next times of a cron expression.")
    parser.add_argument("cron", metavar="CRON", help="five fields in one argument, or @daily")
    parser.add_argument("--timezone", default="UTC", metavar="ZONE", help="IANA name (default UTC)")
    arguments = parser.parse_args(words)
    query = {"cron": arguments.cron, "timezone": arguments.timezone}
    for time in open_plane(arguments).get("/schedules/preview", **query)["next_times"]:
        print(time)
    return 0


def _create_schedule(words: Sequence[str]) -> int:
    parser = build_parser(
        "schedules create",
        "Submit a request at every time of a cron expression, with your rights. The schedule is printed as JSON.",
    )
    parser.add_argument("name", metavar="NAME", help="unique in the project")
    parser.add_argument("target", choices=("job", "pipeline"), help="what the request asks for")
    parser.add_argument("cron", metavar="CRON", help="five fields in one argument, or @daily")
    add_fields(parser, required=True)
    arguments = parser.parse_args(words)
    body = {
        "name": arguments.name,
        "target": arguments.target,
        "cron": arguments.cron,
        **read_fields(parser, arguments),
    }
    return print_document(open_plane(arguments).post("/schedules", body))


def _update_schedule(words: Sequence[str]) -> int:
    parser = build_parser(
        "schedules update",
        "Change a schedule; what is left out stays. Who changes the request is who submits from then on.",
    )
    add_schedule(parser)
    parser.add_argument("--name", metavar="NAME", help="unique in the project")
    parser.add_argument("--cron", metavar="CRON", help="five fields in one argument, or @daily")
    add_fields(parser, required=False)
    arguments = parser.parse_args(words)
    changes = {name: getattr(arguments, name) for name in ("name", "cron") if getattr(arguments, name) is not None}
    changes |= read_fields(parser, arguments)
    if not changes:
        parser.error("nothing to change: give --name, --cron, --timezone, --overlap, --catch-up or --request")
    return print_document(open_plane(arguments).call("PATCH", f"/schedules/{arguments.schedule}", changes))


def _pause_schedule(words: Sequence[str]) -> int:
    parser = build_parser("schedules pause", "Submit nothing until it is resumed.")
    add_schedule(parser)
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    path = f"/schedules/{arguments.schedule}/pause"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


def _resume_schedule(words: Sequence[str]) -> int:
    parser = build_parser("schedules resume", "Go on with the first time from now on.")
    add_schedule(parser)
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).post(f"/schedules/{arguments.schedule}/resume", {}))


def _delete_schedule(words: Sequence[str]) -> int:
    parser = build_parser("schedules rm", "Delete a schedule; what it has submitted stays.")
    add_schedule(parser)
    arguments = parser.parse_args(words)
    open_plane(arguments).call("DELETE", f"/schedules/{arguments.schedule}")
    return 0


def add_owner(parser: Parser) -> None:
    parser.add_argument(
        "--of-plane",
        action="store_true",
        help="those of the plane as a whole, with an auditor's token; manage.py schedule changes them",
    )


def build_path(arguments: Any, rest: str = "") -> str:
    """Below the project of the token, or the plane's own."""
    return f"/api/v1/schedules{rest}" if arguments.of_plane else f"/schedules{rest}"


def add_schedule(parser: Parser) -> None:
    parser.add_argument("schedule", type=parse_id, metavar="ID", help="the schedule's number")


def add_fields(parser: Parser, *, required: bool) -> None:
    parser.add_argument(
        "--request", type=Path, required=required, metavar="FILE", help="JSON file: what would be POSTed to queue one"
    )
    parser.add_argument("--timezone", metavar="ZONE", help="IANA name in which the expression is read (default UTC)")
    parser.add_argument("--overlap", choices=RULES["overlap"], help="while the former has not ended (default skip)")
    parser.add_argument(
        "--catch-up", choices=RULES["catch_up"], help="of times missed while the plane was down (default last)"
    )


def read_fields(parser: Parser, arguments: Any) -> dict[str, Any]:
    """The fields that were given, the request as its file holds it. Exit code 2 for one that is no JSON object."""
    names = ("timezone", "overlap", "catch_up")
    fields = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.request is not None:
        try:
            request = json.loads(arguments.request.read_text())
        except (OSError, ValueError) as failure:
            parser.error(f"--request {arguments.request}: {failure}")
        if not isinstance(request, dict):
            parser.error(f"--request {arguments.request}: it holds no JSON object")
        fields["request"] = request
    return fields
