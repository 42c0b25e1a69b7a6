"""``deepseek-doctor``: check that this machine can do the jobs of a plane, and why not."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepseek.doctor.conflict_rules import load_builtin_rules, merge_rules
from deepseek.doctor.conflicts import SITE_FILE, load_site_rules
from deepseek.doctor.execution import run_checks
from deepseek.doctor.host import Host, LiveSource
from deepseek.doctor.replay import RecordingSource, open_captured, select_environment
from deepseek.doctor.report import (
    build_document,
    compute_exit_code,
    render_html,
    render_json,
    render_list,
    render_text,
)
from deepseek.doctor.rules import LEVELS, Rule, load_rules
from deepseek.installation import get_distribution
from deepseek.job import EngineError

AT_FAULT = 2
FORMATS = ("text", "json", "html")
SITE_KEYS = "/etc/deepseek/conflict-keys.txt"

EPILOG = """\
exit codes: 0 nothing to do; 1 warnings, or something could not be measured; 2 a flag, an id or a file is at fault;
3 a check failed. What is not applicable here counts as nothing to do.

  deepseek-doctor                          seconds: looks, and loads nothing
  deepseek-doctor --level 2                two minutes: measures disks, CPU, links
  deepseek-doctor gpu os.conflicts         a group of ids, and one check
  deepseek-doctor --format html > node.html
  deepseek-doctor --plane https://plane.example --send   to the node's page; DEEPSEEK_TOKEN is the node's token"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return run(arguments)
    except EngineError as error:
        print(f"deepseek-doctor: {error}", file=sys.stderr)
        for name in ("field", "value", "limit", "hint"):
            if text := getattr(error, name, None):
                print(f"  {name}: {text}", file=sys.stderr)
        return AT_FAULT
    except KeyboardInterrupt:
        print("deepseek-doctor: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek-doctor",
        description="Check the 127 things that jobs of a plane need of this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="checks such as gpu.xid, or the first word of several")
    parser.add_argument("--list", action="store_true", help="print what there is to check, and leave")
    parser.add_argument("--level", type=int, choices=LEVELS, default=1, help="1 seconds, 2 minutes, 3 longer")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of what is printed (default: text)")
    parser.add_argument(
        "--verbose", "-v", action="store_true", help="in text: every check, not only what is not in order"
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="a site's thresholds (DEEPSEEK_DOCTOR_SETTINGS)")
    parser.add_argument("--plane", metavar="URL", help="the plane that this node works for (DEEPSEEK_URL)")
    parser.add_argument("--node", metavar="NAME", help="its name there (NODE_NAME; default: the host's name)")
    parser.add_argument(
        "--registered", type=Path, metavar="FILE", help="JSON: how the plane knows this node, instead of asking it"
    )
    parser.add_argument("--send", action="store_true", help="send the report to the plane; needs the node's token")
    parser.add_argument(
        "--conflicts", type=Path, metavar="FILE", help=f"signed conflict rules of the site ({SITE_FILE})"
    )
    parser.add_argument("--conflict-keys", type=Path, metavar="FILE", help=f"who may sign them ({SITE_KEYS})")
    parser.add_argument("--root", type=Path, default=Path("/"), help="read files below this folder, such as /host")
    parser.add_argument("--capture", type=Path, metavar="DIR", help="also write what is read into a new folder")
    parser.add_argument("--replay", type=Path, metavar="DIR", help="examine a captured folder, not this machine")
    return parser


def run(arguments: argparse.Namespace) -> int:
    settings = arguments.settings or _find_file(os.environ.get("DEEPSEEK_DOCTOR_SETTINGS", ""))
    rules = load_rules(settings)
    ids = choose_checks(rules, arguments.ids)
    if arguments.list:
        sys.stdout.write(render_list([rules[check_id] for check_id in ids], arguments.format))
        return 0
    if arguments.plane:
        os.environ["DEEPSEEK_URL"] = arguments.plane  # the probes read it, and conflict rules of no other plane
    host = open_host(arguments)
    host.conflict_rules = load_conflict_rules(arguments, host.registered)
    start = time.monotonic()
    results = run_checks(host, rules, ids, arguments.level)
    facts = describe_run(arguments, time.monotonic() - start)
    if arguments.format == "json":
        sys.stdout.write(render_json(results, facts))
    elif arguments.format == "html":
        sys.stdout.write(render_html(results, facts))
    else:
        sys.stdout.write(render_text(results, facts, is_verbose=arguments.verbose or bool(arguments.ids)))
    sys.stdout.flush()
    if arguments.send:
        from deepseek.doctor.sending import send_report

        print(send_report(facts["node"], build_document(results, facts)), file=sys.stderr)
    return compute_exit_code(results)


def choose_checks(rules: dict[str, Rule], words: Sequence[str]) -> list[str]:
    """The ids that the words name, in the order of the report. Raises EngineError ``unknown_check``."""
    if not words:
        return list(rules)
    for word in words:
        if word not in rules and not any(check_id.partition(".")[0] == word for check_id in rules):
            raise EngineError(
                "unknown_check",
                "There is no check {name}.",
                name=word[:80],
                field="ID",
                value=word[:80],
                limit="an id such as gpu.xid, or its first word",
                hint="deepseek-doctor --list prints them.",
            )
    return [check_id for check_id in rules if check_id in words or check_id.partition(".")[0] in words]


def open_host(arguments: argparse.Namespace) -> Host:
    """The machine to examine. Raises EngineError for a folder that is not there."""
    if arguments.replay:
        if not (arguments.replay / "commands").is_dir():
            raise _build_folder_error("--replay", arguments.replay, "a folder that --capture has made")
        return open_captured(arguments.replay)
    if not arguments.root.is_dir():
        raise _build_folder_error("--root", arguments.root, "a folder")
    url = os.environ.get("DEEPSEEK_URL", "")
    environment = select_environment(os.environ)
    host = Host(LiveSource(arguments.root), environment=environment, plane_url=url)
    if arguments.registered:
        host.registered = read_registration(arguments.registered)
    elif url and os.environ.get("DEEPSEEK_TOKEN"):
        from deepseek.doctor.sending import fetch_registration

        host.registered = fetch_registration(get_node_name(arguments))
    if arguments.capture:
        if arguments.capture.exists():
            raise _build_folder_error("--capture", arguments.capture, "a folder that does not exist yet")
        arguments.capture.mkdir(parents=True)
        (arguments.capture / "environment.json").write_text(json.dumps(environment, indent=1) + "\n")
        (arguments.capture / "registered.json").write_text(json.dumps(dict(host.registered), indent=1) + "\n")
        host.source = RecordingSource(host.source, arguments.capture)
    return host


def read_registration(path: Path) -> dict[str, Any]:
    """The node as the plane lists it. Raises EngineError ``bad_registration`` for a file that holds no JSON object."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = None
    if isinstance(document, dict):
        return document
    raise EngineError(
        "bad_registration",
        "{path} holds no JSON object.",
        path=str(path),
        field="--registered",
        value=str(path),
        limit="what GET /api/v1/doctor/nodes/NAME/registration answers",
        hint="Name another file, or leave it out.",
    )


def _build_folder_error(flag: str, path: Path, limit: str) -> EngineError:
    return EngineError(
        "bad_folder",
        "{path} cannot be used.",
        path=str(path),
        field=flag,
        value=str(path),
        limit=limit,
        hint="Name another.",
    )


def load_conflict_rules(arguments: argparse.Namespace, registered: Mapping[str, Any]) -> list[Any]:
    """Ours, with those that the plane has imported and those of the site's signed file here."""
    builtin = load_builtin_rules()["rules"]
    path = arguments.conflicts or _find_file(SITE_FILE)
    keys = arguments.conflict_keys or _find_file(SITE_KEYS)
    site = [*registered.get("conflicts", ()), *(load_site_rules(path, keys) if path else [])]
    return merge_rules(builtin, site)


def _find_file(path: str) -> Path | None:
    return Path(path) if path and Path(path).is_file() else None


def get_node_name(arguments: argparse.Namespace) -> str:
    return str(arguments.node or os.environ.get("NODE_NAME") or socket.gethostname())


def describe_run(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    return {
        "host": socket.gethostname() if not arguments.replay else arguments.replay.name,
        "node": get_node_name(arguments),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "level": arguments.level,
        "seconds": round(seconds, 2),
        "software": " ".join(get_distribution()),
    }


if __name__ == "__main__":
    raise SystemExit(main())
