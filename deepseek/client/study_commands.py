"""The commands ``deepseek studies``: federated studies, as their coordinator and as a site, and the egress ledger."""

from __future__ import annotations

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
from deepseek.client.transport import quote_part

STUDY_COLUMNS = ("id", "name", "state", "host", "port", "job", "created_by")
SITE_COLUMNS = ("id", "name", "site", "state", "data", "is_certified", "approval", "job")
ROUND_COLUMNS = ("number", "sites_count", "refused_count", "epsilon", "metrics")
LEDGER_COLUMNS = ("study", "site", "round", "kind", "size", "norm", "epsilon", "update_digest", "reason", "at")
MAX_FILE_BYTES = 2 * 2**20


def manage_studies(words: Sequence[str]) -> int:
    """Define, start and stop studies; invite and enrol sites; import, join and leave studies; list what left."""
    actions = {
        "ls": _list_studies,
        "show": _show_study,
        "create": _create_study,
        "invite": _invite_site,
        "enrol": _enrol_site,
        "start": _start_study,
        "stop": _stop_study,
        "rounds": _list_rounds,
        "register": _register_result,
        "joined": _list_joined,
        "import": _import_study,
        "show-joined": _show_joined,
        "bind": _bind_data,
        "request-approval": _request_approval,
        "enrolment-request": _print_request,
        "certify": _certify,
        "join": _join_study,
        "leave": _leave_study,
        "ledger": _list_ledger,
    }
    return choose_action("studies", words, actions, "Sites that train one model; rows stay at their site.")


# -- as the coordinator ---------------------------------------------------------------------------------------------
def _list_studies(words: Sequence[str]) -> int:
    parser = build_parser("studies ls", "List the studies that this plane coordinates, newest first.")
    parser.add_argument("--state", choices=("draft", "open", "running", "completed", "stopped"))
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate("/studies", limit=arguments.limit, state=arguments.state)
    print_rows(rows, STUDY_COLUMNS, arguments)
    return 0


def _show_study(words: Sequence[str]) -> int:
    parser = build_parser("studies show", "Print a study with its document, sites and result, as JSON.")
    add_study(parser)
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).get(f"/studies/{arguments.study}"))


def _create_study(words: Sequence[str]) -> int:
    parser = build_parser("studies create", "Define a study. It is printed as JSON, and never changes.")
    parser.add_argument("name", metavar="NAME", help="unique in the project")
    parser.add_argument("--host", required=True, help="where sites reach the server of the study")
    parser.add_argument("--port", type=int, default=8102, help="of the server (default 8102)")
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the study as JSON: schema, model, rounds, privacy, egress"
    )
    arguments = parser.parse_args(words)
    try:
        document = json.loads(read_file(parser, arguments.file))
    except (ValueError, RecursionError) as fault:
        parser.error(f"{arguments.file} is not JSON: {fault}")
    body = {"name": arguments.name, "host": arguments.host, "port": arguments.port, "document": document}
    return print_document(open_plane(arguments).post("/studies", body))


def _invite_site(words: Sequence[str]) -> int:
    parser = build_parser(
        "studies invite", "Name a site at need, and print the invitation that is carried to its plane."
    )
    add_study(parser)
    parser.add_argument("site", metavar="SITE")
    arguments = parser.parse_args(words)
    plane, path = open_plane(arguments), f"/studies/{arguments.study}"
    if arguments.site not in [site["name"] for site in plane.get(path)["sites"]]:
        plane.post(f"{path}/sites", {"name": arguments.site})
    return print_file(plane.get(f"{path}/sites/{quote_part(arguments.site)}/invitation"))


def _enrol_site(words: Sequence[str]) -> int:
    parser = build_parser("studies enrol", "Sign a site's enrolment request, and print the certificate for its plane.")
    add_study(parser)
    parser.add_argument("site", metavar="SITE")
    parser.add_argument("file", type=Path, metavar="FILE", help="the site's enrolment request")
    arguments = parser.parse_args(words)
    content = read_file(parser, arguments.file)
    plane, path = open_plane(arguments), f"/studies/{arguments.study}/sites/{quote_part(arguments.site)}"
    plane.post(f"{path}/enrol", {"file": content})
    return print_file(plane.get(f"{path}/certificate"))


def _start_study(words: Sequence[str]) -> int:
    parser = build_parser("studies start", "Serve the study to the sites that have joined.")
    add_study(parser)
    parser.add_argument("--join-seconds", type=float, help="how long to wait for the sites")
    parser.add_argument("--round-seconds", type=float, help="after which a round goes on without late sites")
    arguments = parser.parse_args(words)
    options = {"join_seconds": arguments.join_seconds, "round_seconds": arguments.round_seconds}
    body = {name: value for name, value in options.items() if value is not None}
    return print_document(open_plane(arguments).post(f"/studies/{arguments.study}/start", body))


def _stop_study(words: Sequence[str]) -> int:
    parser = build_parser("studies stop", "End a study for good.")
    add_study(parser)
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).post(f"/studies/{arguments.study}/stop", {"reason": arguments.reason}))


def _list_rounds(words: Sequence[str]) -> int:
    parser = build_parser("studies rounds", "List the rounds of a study.")
    add_study(parser)
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate(f"/studies/{arguments.study}/rounds", limit=arguments.limit)
    print_rows(rows, ROUND_COLUMNS, arguments)
    return 0


def _register_result(words: Sequence[str]) -> int:
    parser = build_parser("studies register", "Make the result of a study a model version.")
    add_study(parser)
    parser.add_argument("model", metavar="MODEL", help="gets the version; created at need")
    arguments = parser.parse_args(words)
    return print_document(
        open_plane(arguments).post(f"/studies/{arguments.study}/register", {"model": arguments.model})
    )


# -- as a site ------------------------------------------------------------------------------------------------------
def _list_joined(words: Sequence[str]) -> int:
    parser = build_parser("studies joined", "List the studies that this plane takes part in, newest first.")
    parser.add_argument("--state", choices=("imported", "approved", "running", "completed", "left", "void"))
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    rows = open_plane(arguments).iterate("/site-studies", limit=arguments.limit, state=arguments.state)
    print_rows(rows, SITE_COLUMNS, arguments)
    return 0


def _import_study(words: Sequence[str]) -> int:
    parser = build_parser("studies import", "Take in an invitation. Nothing runs, and nothing leaves.")
    parser.add_argument("file", type=Path, metavar="FILE", help="the invitation")
    arguments = parser.parse_args(words)
    content = read_file(parser, arguments.file)
    return print_document(open_plane(arguments).post("/site-studies", {"file": content}))


def _show_joined(words: Sequence[str]) -> int:
    parser = build_parser("studies show-joined", "Print a study of this site: what runs, and what leaves, as JSON.")
    add_study(parser)
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).get(f"/site-studies/{arguments.study}"))


def _bind_data(words: Sequence[str]) -> int:
    parser = build_parser("studies bind", "Choose the dataset version that the study trains on here.")
    add_study(parser)
    parser.add_argument("data", metavar="NAME:vN")
    arguments = parser.parse_args(words)
    return print_document(open_plane(arguments).post(f"/site-studies/{arguments.study}/data", {"data": arguments.data}))


def _request_approval(words: Sequence[str]) -> int:
    parser = build_parser("studies request-approval", "Ask the approvers of this site whether it takes part.")
    add_study(parser)
    parser.add_argument("--comment", default="", help="for the approvers")
    arguments = parser.parse_args(words)
    path = f"/site-studies/{arguments.study}/approval"
    return print_document(open_plane(arguments).post(path, {"comment": arguments.comment}))


def _print_request(words: Sequence[str]) -> int:
    parser = build_parser("studies enrolment-request", "Print the request that is carried to the coordinator.")
    add_study(parser)
    arguments = parser.parse_args(words)
    return print_file(open_plane(arguments).get(f"/site-studies/{arguments.study}/request"))


def _certify(words: Sequence[str]) -> int:
    parser = build_parser("studies certify", "Import the certificate that the coordinator signed for this site.")
    add_study(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="the certificate")
    arguments = parser.parse_args(words)
    content = read_file(parser, arguments.file)
    return print_document(open_plane(arguments).post(f"/site-studies/{arguments.study}/certificate", {"file": content}))


def _join_study(words: Sequence[str]) -> int:
    parser = build_parser("studies join", "Train here and send updates, as was approved.")
    add_study(parser)
    parser.add_argument("--proxy", default="", metavar="HOST:PORT", help="the site's HTTP proxy")
    arguments = parser.parse_args(words)
    return print_document(
        open_plane(arguments).post(f"/site-studies/{arguments.study}/join", {"proxy": arguments.proxy})
    )


def _leave_study(words: Sequence[str]) -> int:
    parser = build_parser("studies leave", "Leave a study for good; its job is cancelled.")
    add_study(parser)
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    path = f"/site-studies/{arguments.study}/leave"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


def _list_ledger(words: Sequence[str]) -> int:
    parser = build_parser("studies ledger", "List all that ever left for a study, and what was refused.")
    parser.add_argument("--study", metavar="ID", help="number of a study of this site")
    parser.add_argument("--site", help="what the coordinator calls this site")
    parser.add_argument("--round", metavar="N")
    parser.add_argument("--kind", choices=("join", "update", "evaluation", "leave", "refused"))
    parser.add_argument("--since", metavar="DATE", help="YYYY-MM-DD (UTC), included")
    parser.add_argument("--until", metavar="DATE", help="YYYY-MM-DD (UTC), included")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    filters = {name: getattr(arguments, name) for name in ("study", "site", "round", "kind", "since", "until")}
    rows = open_plane(arguments).iterate("/egress-ledger", limit=arguments.limit, **filters)
    print_rows(rows, LEDGER_COLUMNS, arguments)
    return 0


# -- parts ----------------------------------------------------------------------------------------------------------
def add_study(parser: Parser) -> None:
    parser.add_argument("study", type=parse_id, metavar="ID", help="the study's number")


def read_file(parser: Parser, path: Path) -> str:
    """The text of a file; exits with 2 where it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as fault:
        parser.error(f"{path}: {fault}")
    if len(text) > MAX_FILE_BYTES:
        parser.error(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return text


def print_file(document: dict[str, Any]) -> int:
    """The text of a file of a study, as it is carried to another plane."""
    sys.stdout.write(document["file"])
    return 0
