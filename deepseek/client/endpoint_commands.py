"""The command ``deepseek endpoints``: list, create, change, try, suspend, resume and delete endpoints of a plane."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
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
from deepseek.job import EngineError

COLUMNS = ("name", "state", "model", "alias", "version", "variant", "replicas_per_node", "reason")
REPLICA_COLUMNS = ("node", "slot", "url", "asks_for_token", "state", "version", "error")

OK, FAILED = 200, 1


def manage_endpoints(words: Sequence[str]) -> int:
    """List, create and change endpoints."""
    actions = {
        "ls": _list_endpoints,
        "show": _show_endpoint,
        "create": _create_endpoint,
        "set": _change_endpoint,
        "suspend": lambda rest: _move_endpoint("suspend", rest),
        "resume": lambda rest: _move_endpoint("resume", rest),
        "rm": _delete_endpoint,
        "token": _rotate_token,
        "predict": _try_endpoint,
    }
    return choose_action("endpoints", words, actions, "Endpoints of the project: list, create, change, try, end.")


def _list_endpoints(words: Sequence[str]) -> int:
    parser = build_parser("endpoints ls", "List the endpoints of the project.")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    print_rows(open_plane(arguments).iterate("/endpoints", limit=arguments.limit), COLUMNS, arguments)
    return 0


def _show_endpoint(words: Sequence[str]) -> int:
    parser = build_parser("endpoints show", "List the servers of an endpoint, with their addresses.")
    parser.add_argument("name", metavar="NAME")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    print_rows(open_plane(arguments).get(build_path(arguments.name))["replicas"], REPLICA_COLUMNS, arguments)
    return 0


def _create_endpoint(words: Sequence[str]) -> int:
    parser = build_parser(
        "endpoints create", "Let nodes serve what an alias of a model points to. The endpoint is printed as JSON."
    )
    parser.add_argument("name", metavar="NAME", help="of the endpoint, and of its observations")
    parser.add_argument("--model", required=True, metavar="MODEL[@ALIAS]", help="what it follows (alias: production)")
    parser.add_argument("--variant", help="the form of each version that is served (default: as trained)")
    add_serving_flags(parser)
    arguments = parser.parse_args(words)
    model, _, alias = arguments.model.partition("@")
    body = {"name": arguments.name, "model": model, **({"alias": alias} if alias else {}), **read_serving(arguments)}
    return print_document(open_plane(arguments).post("/endpoints", body))


def _change_endpoint(words: Sequence[str]) -> int:
    parser = build_parser("endpoints set", "Change an endpoint; what is left out stays.")
    parser.add_argument("name", metavar="NAME")
    add_serving_flags(parser)
    parser.add_argument("--variant", help="the form of each version that is served")
    parser.add_argument("--no-shadow", action="store_true", help="no candidate in shadow any more")
    arguments = parser.parse_args(words)
    body = {**read_serving(arguments), **({"shadow": None} if arguments.no_shadow else {})}
    return print_document(open_plane(arguments).call("PATCH", build_path(arguments.name), body))


def _move_endpoint(action: str, words: Sequence[str]) -> int:
    parser = build_parser(f"endpoints {action}", f"{action.title()} an endpoint.")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--reason", default="", help="stands in the audit trail")
    arguments = parser.parse_args(words)
    path = f"{build_path(arguments.name)}/{action}"
    return print_document(open_plane(arguments).post(path, {"reason": arguments.reason}))


def _delete_endpoint(words: Sequence[str]) -> int:
    parser = build_parser("endpoints rm", "Delete an endpoint. Its observations stay.")
    parser.add_argument("name", metavar="NAME")
    arguments = parser.parse_args(words)
    open_plane(arguments).call("DELETE", build_path(arguments.name))
    return 0


def _rotate_token(words: Sequence[str]) -> int:
    parser = build_parser(
        "endpoints token",
        "Make a token for the clients of the endpoint and print it; it replaces a former one, and is not shown again.",
    )
    parser.add_argument("name", metavar="NAME")
    arguments = parser.parse_args(words)
    print(open_plane(arguments).post(f"{build_path(arguments.name)}/token")["token"])
    return 0


def _try_endpoint(words: Sequence[str]) -> int:
    parser = build_parser(
        "endpoints predict", "Send one request to a server of the endpoint, through the plane, and print its answer."
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("features", metavar="FEATURES", help="JSON: one example, or a list of them; - reads it")
    arguments = parser.parse_args(words)
    features = read_features(arguments.features)
    answer = open_plane(arguments).post(f"{build_path(arguments.name)}/predict", {"features": features})
    print(json.dumps(answer["body"], ensure_ascii=False))
    if answer["status"] != OK:
        print(f"deepseek: the server answered with status {answer['status']}", file=sys.stderr)
        return FAILED
    return 0


def read_features(text: str) -> Any:
    """The features of a request. Raises EngineError for what is no JSON."""
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise EngineError(
            "malformed_json",
            f"The features are no JSON: {error}.",
            field="FEATURES",
            value=text[:60],
            limit="JSON, such as '[1.5, 2.0]'",
            hint="Quote them for the shell, or give - and send them by standard input.",
        ) from None


def add_serving_flags(parser: Parser) -> None:
    parser.add_argument("--node", action="append", metavar="NODE", help="a node that serves it; may be repeated")
    parser.add_argument("--replicas", type=int, metavar="N", help="servers on each node (default: 1)")
    parser.add_argument("--shadow", type=int, metavar="N", help="a version that sees the traffic and is not returned")
    parser.add_argument("--shadow-rate", type=float, metavar="RATE", help="share of the traffic it sees (default: 1)")
    parser.add_argument("--sampling-rate", type=float, metavar="RATE", help="share of predictions kept (default: 0)")


def read_serving(arguments: argparse.Namespace) -> dict[str, Any]:
    values = {
        "nodes": arguments.node,
        "replicas": arguments.replicas,
        "variant": arguments.variant,
        "shadow": build_shadow(arguments),
        "sampling_rate": arguments.sampling_rate,
    }
    return {name: value for name, value in values.items() if value is not None}


def build_shadow(arguments: argparse.Namespace) -> dict[str, Any] | None:
    if arguments.shadow is None:
        return None
    rate = {} if arguments.shadow_rate is None else {"rate": arguments.shadow_rate}
    return {"version": arguments.shadow, **rate}


def build_path(name: str) -> str:
    from deepseek.client.transport import quote_part

    return f"/endpoints/{quote_part(name)}"
