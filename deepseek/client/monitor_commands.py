"""The commands ``deepseek monitors`` and ``deepseek alarms``: watch models in use, read and acknowledge alarms."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
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

COLUMNS = ("id", "name", "state", "model", "metric", "rule", "limit", "evaluated_until", "owner")
WINDOW_COLUMNS = ("until", "verdict", "count", "value", "low", "high", "line", "version")
DRIFT_COLUMNS = ("until", "verdict", "rows", "drifted", "version", "most_drifted")
ALARM_COLUMNS = ("id", "monitor_name", "model", "cause", "state", "since", "windows", "retraining_state", "reason")
RETRAINING_COLUMNS = (
    "id",
    "alarm",
    "state",
    "created_at",
    "dataset_version",
    "pipeline",
    "version",
    "approval",
    "reason",
)
PLAN_NUMBERS = {
    "weekly_budget": (int, "retrainings that may begin within seven days (default 1)"),
    "min_rows": (int, "labelled answers below which nothing is trained (default 100)"),
    "wait_hours": (int, "labels are awaited for so long (default 24)"),
    "fresh_share": (float, "of the labelled answers, the newest: evaluated on, not trained on (default 0.25)"),
}
METRICS = ("accuracy", "f1", "error")
NUMBERS = {
    "limit": (float, "worse by more than so much is an alarm (default 0.05)"),
    "reference": (float, "default: what the version that answers was registered with"),
    "window_hours": (int, "hours of one window (default 24)"),
    "lag_hours": (int, "labels are waited for so long (default 0)"),
    "min_count": (int, "labelled answers below which nothing is said (default 100)"),
    "silence_hours": (int, "no answer for so long is an alarm (default: it is none)"),
    "cooldown_hours": (int, "after an alarm was closed (default 24)"),
    "drift_alpha": (
        float,
        "of a false alarm on features in a window, and ever of the bound on the risk (default 0.01)",
    ),
}
CHOICES = {
    "rule": (("relative", "absolute"), "how the limit is read (default relative)"),
    "certainty": (("value", "interval"), "what lies beyond the line (default value)"),
    "drift_correction": (("holm", "benjamini_hochberg"), "of the tests of many features (default holm)"),
}


def manage_monitors(words: Sequence[str]) -> int:
    """List, create, change, pause, resume and delete monitors; plan what follows their alarms."""
    actions = {
        "ls": _list_monitors,
        "show": _show_monitor,
        "windows": _list_windows,
        "drift": _list_drift,
        "create": _create_monitor,
        "update": _update_monitor,
        "pause": _pause_monitor,
        "resume": _resume_monitor,
        "rm": _delete_monitor,
        "retrain": _plan_retraining,
        "retrainings": _list_retrainings,
        "retry": _retry_retraining,
    }
    return choose_action("monitors", words, actions, "What models in use answer, compared with a reference.")


def manage_alarms(words: Sequence[str]) -> int:
    """List, show, acknowledge and close alarms."""
    actions = {"ls": _list_alarms, "show": _show_alarm, "ack": _acknowledge_alarm, "close": _close_alarm}
    return choose_action("alarms", words, actions, "What monitors have found to be worse than their line, or silent.")


def _list_monitors(words: Sequence[str]) -> int:
    parser = build_parser("monitors ls", "List the monitors of the project, newest first.")
    parser.add_argument("--state", choices=("active", "paused"), help="only these")
    parser.add_argument("--model", metavar="MODEL", help="only those of this model")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate(
        "/monitors", limit=arguments.limit, state=arguments.state, model=arguments.model
    )
    print_rows(rows, COLUMNS, arguments)
    return 0


def _show_monitor(words: Sequence[str]) -> int:
    parser = build_parser("monitors show", "Show one monitor.")
    add_id(parser, "monitor")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    arguments = parser.parse_args(words)
    monitor = open_plane(arguments).get(f"/monitors/{arguments.monitor}")
    return print_document(monitor) if arguments.json else print_fields(monitor)


def _list_windows(words: Sequence[str]) -> int:
    parser = build_parser("monitors windows", "List what a monitor found in each window, newest first.")
    add_id(parser, "monitor")
    parser.add_argument("--verdict", choices=("good", "worse", "few", "no_reference"), help="only these")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    path = f"/monitors/{arguments.monitor}/windows"
    rows = open_plane(arguments).iterate(path, limit=arguments.limit, verdict=arguments.verdict)
    print_rows(rows, WINDOW_COLUMNS, arguments)
    return 0


def _list_drift(words: Sequence[str]) -> int:
    parser = build_parser(
        "monitors drift", "List how the features of each window compare with the training data, newest first."
    )
    add_id(parser, "monitor")
    parser.add_argument("--verdict", choices=("stable", "moved", "changed", "unknown"), help="only these")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    path = f"/monitors/{arguments.monitor}/drift"
    rows = list(open_plane(arguments).iterate(path, limit=arguments.limit, verdict=arguments.verdict))
    if not arguments.json:
        rows = [{**row, "most_drifted": name_drifted_features(row["features"])} for row in rows]
    print_rows(rows, DRIFT_COLUMNS, arguments)
    return 0


def name_drifted_features(features: Sequence[Mapping[str, Any]]) -> str:
    """The first three that moved or changed."""
    names = [str(row["name"]) for row in features if row.get("verdict") in ("moved", "changed")]
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _create_monitor(words: Sequence[str]) -> int:
    parser = build_parser("monitors create", "Watch a metric of a model from now on. It is printed as JSON.")
    parser.add_argument("name", metavar="NAME", help="unique in the project")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("metric", choices=METRICS)
    parser.add_argument("--source", metavar="NAME", help="one source of observations (default: every one)")
    parser.add_argument("--group", metavar="NAME", help="the devices of a group")
    add_rule(parser)
    arguments = parser.parse_args(words)
    names = ("name", "model", "metric", "source", "group")
    body = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return print_document(open_plane(arguments).post("/monitors", body | read_rule(arguments)))


def _update_monitor(words: Sequence[str]) -> int:
    parser = build_parser("monitors update", "Change a monitor; what is left out stays.")
    add_id(parser, "monitor")
    parser.add_argument("--name", metavar="NAME", help="unique in the project")
    add_rule(parser)
    arguments = parser.parse_args(words)
    changes = read_rule(arguments) | ({"name": arguments.name} if arguments.name is not None else {})
    if not changes:
        parser.error("nothing to change: give --name, --limit or another part of the rule")
    return print_document(open_plane(arguments).call("PATCH", f"/monitors/{arguments.monitor}", changes))


def _pause_monitor(words: Sequence[str]) -> int:
    parser = build_parser("monitors pause", "Evaluate nothing until it is resumed.")
    add_id(parser, "monitor")
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    path = f"/monitors/{arguments.monitor}/pause"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


def _resume_monitor(words: Sequence[str]) -> int:
    parser = build_parser("monitors resume", "Go on with the window that has ended last.")
    add_id(parser, "monitor")
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).post(f"/monitors/{arguments.monitor}/resume", {}))


def _delete_monitor(words: Sequence[str]) -> int:
    parser = build_parser("monitors rm", "Delete a monitor that has opened no alarm.")
    add_id(parser, "monitor")
    arguments = parser.parse_args(words)
    open_plane(arguments).call("DELETE", f"/monitors/{arguments.monitor}")
    return 0


def _plan_retraining(words: Sequence[str]) -> int:
    parser = build_parser("monitors retrain", "Have the model trained again after an alarm, or not any more.")
    add_id(parser, "monitor")
    parser.add_argument("--off", action="store_true", help="train nothing again by itself")
    parser.add_argument("--mode", choices=("append", "replace"), help="after the former rows, or instead of them")
    parser.add_argument(
        "--dataset", metavar="NAME", help='its newest version is the fresh data; "" (default): answers with labels'
    )
    add_numbers(parser, PLAN_NUMBERS)
    arguments = parser.parse_args(words)
    path = f"/monitors/{arguments.monitor}/retraining"
    if arguments.off:
        open_plane(arguments).call("DELETE", path)
        return 0
    names = (*PLAN_NUMBERS, "mode", "dataset")
    body = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return print_document(open_plane(arguments).call("PUT", path, body))


def _list_retrainings(words: Sequence[str]) -> int:
    parser = build_parser("monitors retrainings", "List what the alarms of a monitor had trained, newest first.")
    add_id(parser, "monitor")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate(f"/monitors/{arguments.monitor}/retrainings", limit=arguments.limit)
    print_rows(rows, RETRAINING_COLUMNS, arguments)
    return 0


def _retry_retraining(words: Sequence[str]) -> int:
    parser = build_parser("monitors retry", "Begin a retraining that the budget refused, with your rights.")
    add_id(parser, "retraining")
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).post(f"/retrainings/{arguments.retraining}/retry", {}))


def _list_alarms(words: Sequence[str]) -> int:
    parser = build_parser("alarms ls", "List the alarms of the project, newest first.")
    parser.add_argument("--state", choices=("open", "acknowledged", "closed"), help="only these")
    parser.add_argument("--monitor", type=parse_id, metavar="ID", help="only those of this monitor")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate(
        "/alarms", limit=arguments.limit, state=arguments.state, monitor=arguments.monitor
    )
    print_rows(rows, ALARM_COLUMNS, arguments)
    return 0


def _show_alarm(words: Sequence[str]) -> int:
    parser = build_parser("alarms show", "Print one alarm with its evidence, as JSON.")
    add_id(parser, "alarm")
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).get(f"/alarms/{arguments.alarm}"))


def _acknowledge_alarm(words: Sequence[str]) -> int:
    parser = build_parser("alarms ack", "Say that an alarm was read, and why it is so.")
    add_id(parser, "alarm")
    parser.add_argument("--reason", required=True, help="what was found, or what is done about it")
    return post_reason(parser, words, "acknowledge")


def _close_alarm(words: Sequence[str]) -> int:
    parser = build_parser("alarms close", "End an acknowledged alarm before its monitor finds it over.")
    add_id(parser, "alarm")
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    return post_reason(parser, words, "close")


def post_reason(parser: Parser, words: Sequence[str], action: str) -> int:
    arguments = parser.parse_args(words)
    path = f"/alarms/{arguments.alarm}/{action}"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


def add_id(parser: Parser, name: str) -> None:
    parser.add_argument(name, type=parse_id, metavar="ID", help=f"the {name}'s number")


def add_rule(parser: Parser) -> None:
    add_numbers(parser, NUMBERS)
    for name, (choices, text) in CHOICES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", choices=choices, help=text)
    parser.add_argument(
        "--watches-inputs",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="features against the training data, and the stream of errors (default: yes)",
    )


def add_numbers(parser: Parser, numbers: Mapping[str, tuple[Callable[[str], float], str]]) -> None:
    for name, (kind, text) in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=text)


def read_rule(arguments: Any) -> dict[str, Any]:
    names = (*NUMBERS, *CHOICES, "watches_inputs")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
