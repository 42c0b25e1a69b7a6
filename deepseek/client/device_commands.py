"""The command ``deepseek devices``: list devices of a plane, let them in, change them, and assign releases to them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from deepseek.client.commands import (
    add_list_flags,
    build_parser,
    choose_action,
    open_plane,
    parse_count,
    print_document,
    print_fields,
    print_rows,
)
from deepseek.client.errors import ClientError

COLUMNS = ("id", "name", "state", "architecture", "running", "health", "last_seen", "tags")
ASSIGNMENT_COLUMNS = ("id", "device", "release", "state", "step", "code", "signed", "deadline", "created_by")
EVENT_COLUMNS = ("at", "by", "step", "progress", "code", "message")
GROUP_COLUMNS = ("name", "query", "description", "created_by")
STATES = ("active", "quarantined", "revoked")
ASSIGNMENT_STATES = (
    "waiting",
    "assigned",
    "cancelling",
    "succeeded",
    "failed",
    "rolled_back",
    "cancelled",
    "superseded",
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
MAX_HOURS = 366 * 24  # of the plane
NAMESAKES = 200  # revoked devices of one name that are looked through
DEVICE_HELP = "its number, or its name"


def manage_devices(words: Sequence[str]) -> int:
    """List and change devices, and assign releases to them."""
    actions = {
        "ls": _list_devices,
        "show": _show_device,
        "enrol-token": _create_enrolment_token,
        "tag": _tag_device,
        "quarantine": lambda rest: _move_device("quarantine", "Give a device nothing more; it may report.", rest),
        "reinstate": lambda rest: _move_device("reinstate", "End the quarantine of a device.", rest),
        "revoke": lambda rest: _move_device("revoke", "Revoke a device's token, for good; its record stays.", rest),
        "assign": _assign_release,
        "assignments": _list_assignments,
        "cancel": _cancel_assignment,
        "groups": _list_groups,
    }
    return choose_action("devices", words, actions, "Devices of the project: list, let in, change, assign releases.")


def _list_devices(words: Sequence[str]) -> int:
    parser = build_parser("devices ls", "List the devices of the project, newest first.")
    parser.add_argument("--state", choices=STATES, help="only these")
    parser.add_argument("--group", metavar="NAME", help="only those that fit a saved query")
    parser.add_argument("--query", help="only those that fit, for instance \"tag.site = 'berlin'\" (docs/devices.md)")
    parser.add_argument(
        "--seen", choices=("online", "offline", "never"), help="only these; offline: three missed polls"
    )
    parser.add_argument("--architecture", choices=("x86_64", "aarch64"), help="only of this processor")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    filters = {name: getattr(arguments, name) for name in ("state", "group", "query", "seen", "architecture")}
    rows = open_plane(arguments).iterate("/devices", limit=arguments.limit, **filters)
    print_rows(rows if arguments.json else map(summarize_device, rows), COLUMNS, arguments)
    return 0


def _show_device(words: Sequence[str]) -> int:
    parser = build_parser("devices show", "Show one device: what it runs by receipt, and what it says of itself.")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print all that the plane tells as JSON")
    arguments = parser.parse_args(words)
    device = get_device(open_plane(arguments), arguments.device)
    if arguments.json:
        return print_document(device)
    fields = {name: value for name, value in device.items() if name not in ("telemetry", "links", "public_key")}
    telemetry = {f"reported {name}": value for name, value in device["telemetry"].items() if name != "last_seen"}
    return print_fields(
        {
            **fields,
            "running": describe_release(device["running"]),
            "tags": describe_labels(device["tags"]),
            "attributes": describe_labels(device["attributes"]),
            "last_seen": device["telemetry"]["last_seen"],
            **telemetry,
            "reported metrics": describe_labels(telemetry["reported metrics"]),
        }
    )


def _create_enrolment_token(words: Sequence[str]) -> int:
    from deepseek.client.terminal import tell

    parser = build_parser(
        "devices enrol-token",
        "Make a token that lets one device in, or as a gateway's several, and print it; it is not shown again.",
    )
    parser.add_argument("name", metavar="NAME", help="for people: who gets it")
    parser.add_argument("--gateway", action="store_true", help="for several devices, and for hawkBit clients")
    parser.add_argument("--uses", metavar="N", type=parse_count, help="devices that a gateway's token lets in")
    parser.add_argument("--days", metavar="N", type=parse_count, help="until it expires (default: 7)")
    help_text = "what its devices begin with; may be repeated"
    parser.add_argument("--tag", metavar="KEY=VALUE", type=parse_tag, action="append", default=[], help=help_text)
    arguments = parser.parse_args(words)
    body = {"name": arguments.name, "gateway": arguments.gateway, "tags": dict(arguments.tag)}
    body |= {"max_uses": arguments.uses} if arguments.uses else {}
    body |= {"days": arguments.days} if arguments.days else {}
    plane = open_plane(arguments)
    token = plane.post("/enrolment-tokens", body)
    print(token["token"])
    devices = "one device" if token["max_uses"] == 1 else f"{token['max_uses']} devices"
    tell(f"lets in {devices} until {token['expires_at'][:16]}Z; it is shown this once")
    tell("on the device, with the token in a file of mode 0600:")
    tell(f"  deepseek agent --plane {plane.url} --enrol @enrol.token --home /var/lib/deepseek-agent")
    return 0


def _tag_device(words: Sequence[str]) -> int:
    parser = build_parser("devices tag", "Set and remove tags of a device; its others stay. It is printed as JSON.")
    add_device(parser)
    parser.add_argument("tags", metavar="KEY=VALUE", type=parse_tag, nargs="*", help="a tag to set")
    parser.add_argument("--remove", metavar="KEY", action="append", default=[], help="a tag to remove; may be repeated")
    arguments = parser.parse_args(words)
    if not arguments.tags and not arguments.remove:
        parser.error("give KEY=VALUE or --remove KEY")
    plane = open_plane(arguments)
    device = get_device(plane, arguments.device)
    absent = next((key for key in arguments.remove if key not in device["tags"]), None)
    if absent is not None:
        raise ClientError(
            "no_tag",
            f"{device['name']} has no tag {absent!r}.",
            field="--remove",
            value=absent,
            limit=", ".join(device["tags"]) or "none: it has no tags",
            hint="Name a tag that it has.",
        )
    tags = {key: value for key, value in device["tags"].items() if key not in arguments.remove} | dict(arguments.tags)
    return print_document(plane.call("PATCH", build_path(device), {"tags": tags}))


def _move_device(action: str, description: str, words: Sequence[str]) -> int:
    parser = build_parser(f"devices {action}", f"{description} It is printed as JSON.")
    add_device(parser)
    parser.add_argument("--reason", required=True, help="stands in the audit trail")
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    path = f"{build_path(get_device(plane, arguments.device))}/{action}"
    return print_document(plane.post(path, {"reason": arguments.reason}))


# -- assignments and groups -----------------------------------------------------------------------------------------
def _assign_release(words: Sequence[str]) -> int:
    parser = build_parser(
        "devices assign", "Let a device install a release; what it was to install is superseded. Printed as JSON."
    )
    add_device(parser)
    parser.add_argument("release", metavar="RELEASE", type=parse_id, help="its number; `deepseek releases ls` has it")
    help_text = "without a receipt until then it has failed (default: the plane's)"
    parser.add_argument("--hours", metavar="N", type=parse_hours, help=help_text)
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    body = {"release": arguments.release, "reason": arguments.reason}
    body |= {"deadline_seconds": arguments.hours} if arguments.hours else {}
    return print_document(plane.post(f"{build_path(get_device(plane, arguments.device))}/assignments", body))


def _list_assignments(words: Sequence[str]) -> int:
    parser = build_parser("devices assignments", "List assignments, newest first, or what a device reported of one.")
    parser.add_argument("assignment", metavar="NUMBER", type=parse_id, nargs="?", help="list the reports of this one")
    parser.add_argument("--device", metavar="DEVICE", help="only of this device, by its number or name")
    parser.add_argument("--release", metavar="RELEASE", type=parse_id, help="only of this release, by its number")
    parser.add_argument("--state", choices=ASSIGNMENT_STATES, help="only these")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    if arguments.assignment:
        events = plane.get(f"/assignments/{arguments.assignment}")["events"][-arguments.limit :]
        rows = [{**event, "by": "device" if event["by_device"] else "plane"} for event in events]
        print_rows(events if arguments.json else rows, EVENT_COLUMNS, arguments)
        return 0
    device = get_device(plane, arguments.device)["id"] if arguments.device else None
    filters = {"device": device, "release": arguments.release, "state": arguments.state}
    matches = plane.iterate("/assignments", limit=arguments.limit, **filters)
    summaries = ({**row, "release": describe_release(row["release"])} for row in matches)
    print_rows(matches if arguments.json else summaries, ASSIGNMENT_COLUMNS, arguments)
    return 0


def _cancel_assignment(words: Sequence[str]) -> int:
    parser = build_parser(
        "devices cancel", "Take an assignment back; a device that knows of it stops when it polls. Printed as JSON."
    )
    parser.add_argument("assignment", metavar="ASSIGNMENT", type=parse_id, help="its number")
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    path = f"/assignments/{arguments.assignment}/cancel"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


def _list_groups(words: Sequence[str]) -> int:
    parser = build_parser("devices groups", "List the saved queries; `deepseek devices ls --group NAME` lists devices.")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    print_rows(open_plane(arguments).iterate("/device-groups", limit=arguments.limit), GROUP_COLUMNS, arguments)
    return 0


# -- shared ---------------------------------------------------------------------------------------------------------
def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help=DEVICE_HELP)


def get_device(plane: Any, text: str) -> dict[str, Any]:
    """A device by its number or its name; of several of a name the one that is not revoked. Raises ClientError."""
    number = text.removeprefix("#")
    if number.isascii() and number.isdecimal():
        return dict(plane.get(f"/devices/{number}"))
    if NAME.fullmatch(text):
        rows = list(plane.iterate("/devices", query=f"name = '{text}'", limit=NAMESAKES))
        for row in sorted(rows, key=lambda row: row["state"] == "revoked"):
            return dict(row)
    raise ClientError(
        "no_device",
        f"There is no device {text[:100]!r} in the project {plane.project}.",
        field="DEVICE",
        value=text[:100],
        limit="the number or the whole name of a device of this project",
        hint="deepseek devices ls lists them; a token opens one project.",
    )


def build_path(device: dict[str, Any]) -> str:
    return f"/devices/{device['id']}"


def summarize_device(device: dict[str, Any]) -> dict[str, Any]:
    """A device as a line of the list has it."""
    telemetry = device["telemetry"]
    return {
        **device,
        "running": describe_release(device["running"]),
        "health": f"{telemetry['health']}, mismatch" if device["mismatch"] else telemetry["health"],
        "last_seen": telemetry["last_seen"],
        "tags": describe_labels(device["tags"]),
    }


def describe_release(release: dict[str, Any] | None) -> str:
    """`#7 wti-forecast:v3 int8-onnx`."""
    if release is None:
        return ""
    return f"#{release['id']} {release['model']}:v{release['version']} {release['variant']}"


def describe_labels(labels: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def parse_tag(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not KEY=VALUE, for instance site=berlin")
    return key, value


def parse_id(text: str) -> int:
    """`7` or `#7`."""
    number = text.removeprefix("#")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 2**63):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number from 1 on")
    return int(number)


def parse_hours(text: str) -> int:
    """Seconds of `0.5` or `24` hours."""
    if not re.fullmatch(r"\d{1,5}(\.\d{1,4})?", text, re.ASCII) or not 10 <= float(text) * 3600 <= MAX_HOURS * 3600:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of hours up to {MAX_HOURS}")
    return round(float(text) * 3600)
