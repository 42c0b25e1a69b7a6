"""The command ``deepseek rollouts``: plan a rollout on a plane, request its approval, follow it, stop it, roll it
back."""

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
from deepseek.client.errors import ClientError
from deepseek.client.references import parse_reference

COLUMNS = ("id", "model", "version", "state", "wave", "installed", "failed", "next_step", "created_by")
WAVE_COLUMNS = ("wave", "state", "devices", "controls", "verdict", "looks", "installed", "failed", "deadline_at")
DEVICE_COLUMNS = ("device", "name", "wave", "stage", "code", "attempts", "stratum")
LOOK_COLUMNS = ("wave", "number", "at", "verdict", "final", "reasons")
STATES = (
    "draft",
    "awaiting_approval",
    "approved",
    "running",
    "paused",
    "held",
    "awaiting_decision",
    "rolling_back",
    "rolled_back",
    "completed",
    "aborted",
)
LEFT_OUT = ("links", "waves", "plan", "variants", "devices", "next_step")


def manage_rollouts(words: Sequence[str]) -> int:
    """List, plan, approve, start, stop and roll back rollouts."""
    actions = {
        "ls": _list_rollouts,
        "show": _show_rollout,
        "create": _create_rollout,
        "request": lambda rest: _comment("request-start", "Ask the approvers to let a rollout start.", rest),
        "request-decision": lambda rest: _comment(
            "request-decision", "Ask the approvers to let a rollout that is on hold go on.", rest
        ),
        "approve": lambda rest: _vote("approve", "Approve what a rollout waits for.", rest),
        "reject": lambda rest: _vote("reject", "Reject what a rollout waits for.", rest),
        "start": _start_rollout,
        "pause": lambda rest: _move("pause", "Assign nothing more for now; gates go on.", rest),
        "resume": lambda rest: _move("resume", "End a pause.", rest, is_reason_needed=False),
        "abort": lambda rest: _move("abort", "End a rollout; devices that have the version keep it.", rest),
        "rollback": lambda rest: _move("roll-back", "Let devices go back to what they ran before.", rest, "rollback"),
        "retry": _retry_devices,
        "devices": _list_devices,
        "evidence": _list_evidence,
    }
    return choose_action("rollouts", words, actions, "Rollouts of the project: a version for many devices, in waves.")


def _list_rollouts(words: Sequence[str]) -> int:
    parser = build_parser("rollouts ls", "List the rollouts of the project, newest first.")
    parser.add_argument("--state", choices=STATES, help="only these")
    parser.add_argument("--model", metavar="NAME", help="only of this model")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    filters = {"state": arguments.state, "model": arguments.model}
    rows = open_plane(arguments).iterate("/rollouts", limit=arguments.limit, **filters)
    print_rows(rows if arguments.json else map(summarize_rollout, rows), COLUMNS, arguments)
    return 0


def _show_rollout(words: Sequence[str]) -> int:
    parser = build_parser("rollouts show", "Show one rollout: its waves, counts and verdicts, and what decides next.")
    add_rollout(parser)
    parser.add_argument("--json", action="store_true", help="print all that the plane tells as JSON")
    arguments = parser.parse_args(words)
    rollout = open_plane(arguments).get(f"/rollouts/{arguments.rollout}")
    if arguments.json:
        return print_document(rollout)
    fields = {name: value for name, value in rollout.items() if name not in LEFT_OUT}
    print_fields({**fields, "next": rollout["next_step"]["message"], "until": rollout["next_step"]["at"]})
    rows = [{**wave, **wave["counts"], "wave": wave["position"] + 1} for wave in rollout["waves"]]
    print_rows(rows, WAVE_COLUMNS, arguments)
    return 0


def _create_rollout(words: Sequence[str]) -> int:
    parser = build_parser(
        "rollouts create", "Plan a rollout: a draft, which touches no device. Its blast radius is printed as JSON."
    )
    parser.add_argument("version", metavar="MODEL:vN", help="the version, for instance wti-forecast:v3")
    parser.add_argument("--group", metavar="NAME", help="only devices that fit a saved query")
    parser.add_argument("--query", help="only devices that fit, for instance \"tag.site = 'berlin'\"")
    parser.add_argument("--title", default="", help="for people")
    parser.add_argument("--plan", metavar="FILE", help="JSON with waves, gates, schedule... (docs/rollouts.md)")
    arguments = parser.parse_args(words)
    reference = parse_reference(arguments.version, "MODEL:vN", "deepseek models ls")
    plan = read_plan(arguments.plan) if arguments.plan else {}
    body = {**plan, "model": reference.name, "version": parse_version(reference.version, arguments.version)}
    body |= {name: getattr(arguments, name) for name in ("group", "query", "title") if getattr(arguments, name)}
    plane = open_plane(arguments)
    rollout = plane.post("/rollouts", body)
    preview = plane.get(f"/rollouts/{rollout['id']}/preview")
    return print_document({"id": rollout["id"], "state": rollout["state"], "preview": preview})


def _comment(path: str, description: str, words: Sequence[str]) -> int:
    name = "request" if path == "request-start" else path
    parser = build_parser(f"rollouts {name}", f"{description} It is printed as JSON.")
    add_rollout(parser)
    parser.add_argument("--comment", default="", help="for the approvers")
    arguments = parser.parse_args(words)
    body = {"comment": arguments.comment}
    return print_document(open_plane(arguments).post(f"/rollouts/{arguments.rollout}/{path}", body))


def _vote(decision: str, description: str, words: Sequence[str]) -> int:
    parser = build_parser(f"rollouts {decision}", f"{description} It takes a token with approvals:decide.")
    add_rollout(parser)
    parser.add_argument("--reason", required=True, help="stands in the audit trail")
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    rollout = plane.get(f"/rollouts/{arguments.rollout}")
    number = {"awaiting_approval": rollout["approval"], "awaiting_decision": rollout["decision"]}.get(rollout["state"])
    if number is None:
        raise ClientError(
            "nothing_to_decide",
            f"The rollout {arguments.rollout} is {rollout['state']}.",
            field="ROLLOUT",
            value=str(arguments.rollout),
            limit="awaiting_approval, awaiting_decision",
            hint="deepseek rollouts ls --state awaiting_approval lists what waits.",
        )
    approval = plane.get(f"/approvals/{number}")
    body = {"facts_digest": approval["facts_digest"], "reason": arguments.reason}
    return print_document(plane.post(f"/approvals/{number}/{decision}", body))


def _start_rollout(words: Sequence[str]) -> int:
    parser = build_parser("rollouts start", "Begin the first wave of an approved rollout. It is printed as JSON.")
    add_rollout(parser)
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).post(f"/rollouts/{arguments.rollout}/start", {}))


def _move(path: str, description: str, words: Sequence[str], name: str = "", *, is_reason_needed: bool = True) -> int:
    parser = build_parser(f"rollouts {name or path}", f"{description} It is printed as JSON.")
    add_rollout(parser)
    parser.add_argument("--reason", required=is_reason_needed, default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    body = {"reason": arguments.reason}
    return print_document(open_plane(arguments).post(f"/rollouts/{arguments.rollout}/{path}", body))


def _retry_devices(words: Sequence[str]) -> int:
    parser = build_parser("rollouts retry", "Let devices that failed try again. How many is printed as JSON.")
    add_rollout(parser)
    parser.add_argument("--code", action="append", default=[], help="only those with this failure; may be repeated")
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    body = {"codes": arguments.code, "reason": arguments.reason}
    return print_document(open_plane(arguments).post(f"/rollouts/{arguments.rollout}/retry", body))


def _list_devices(words: Sequence[str]) -> int:
    parser = build_parser("rollouts devices", "List the devices of a rollout: wave, stage, and why one failed.")
    add_rollout(parser)
    parser.add_argument("--stage", help="only these: planned, assigned, installed, failed, skipped, returned...")
    parser.add_argument("--code", help="only those that failed with it")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    filters = {"stage": arguments.stage, "code": arguments.code}
    rows = open_plane(arguments).iterate(f"/rollouts/{arguments.rollout}/devices", limit=arguments.limit, **filters)
    print_rows(rows, DEVICE_COLUMNS, arguments)
    return 0


def _list_evidence(words: Sequence[str]) -> int:
    parser = build_parser("rollouts evidence", "List the looks of the gates with their verdicts, oldest first.")
    add_rollout(parser)
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate(f"/rollouts/{arguments.rollout}/evidence", limit=arguments.limit)
    print_rows(rows if arguments.json else map(summarize_look, rows), LOOK_COLUMNS, arguments)
    return 0


# -- shared ---------------------------------------------------------------------------------------------------------
def add_rollout(parser: Parser) -> None:
    parser.add_argument("rollout", metavar="ROLLOUT", type=parse_id, help="its number")


def summarize_rollout(rollout: dict[str, Any]) -> dict[str, Any]:
    """A rollout as a line of the list has it."""
    wave = None if rollout["wave"] is None else f"{rollout['wave'] + 1} of {len(rollout['waves'])}"
    return {**rollout, **rollout["devices"], "wave": wave, "next_step": rollout["next_step"]["message"]}


def summarize_look(look: dict[str, Any]) -> dict[str, Any]:
    reasons = " ".join(reason["message"] for reason in look["document"]["reasons"])
    return {**look, "wave": look["wave"] + 1, "reasons": reasons}


def parse_version(text: str | None, reference: str) -> int:
    """The number of `v3`. Raises ClientError."""
    number = (text or "").removeprefix("v")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 2**31):
        raise ClientError(
            "no_version",
            f"{reference[:60]!r} names no version.",
            field="MODEL:vN",
            value=reference[:60],
            limit="a model and the number of a version, for instance wti-forecast:v3",
            hint="deepseek models ls lists them.",
        )
    return int(number)


def read_plan(path: str) -> dict[str, Any]:
    """A plan as JSON. Raises ClientError."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClientError(
            "plan_unreadable",
            f"Cannot read {path}: {error}.",
            field="--plan",
            value=path,
            limit="a JSON object (docs/rollouts.md)",
            hint="Name a file with waves, canary, schedule.",
        ) from error
    if not isinstance(document, dict):
        raise ClientError(
            "plan_unreadable", f"{path} holds no object.", field="--plan", value=path, limit="a JSON object", hint=""
        )
    return document
