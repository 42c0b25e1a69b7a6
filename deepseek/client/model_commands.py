"""The command ``deepseek models``: list and download models, and predict with one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from deepseek.client.commands import (
    add_list_flags,
    build_parser,
    choose_action,
    open_plane,
    parse_download_arguments,
    print_paths,
    print_rows,
)
from deepseek.client.predict_commands import predict_table


def manage_models(words: Sequence[str]) -> int:
    """List and download models, and predict with one."""
    actions = {"ls": _list_models, "get": _get_model, "predict": predict_table}
    return choose_action("models", words, actions, "Models of the project: list, download, predict for a dataset.")


def _list_models(words: Sequence[str]) -> int:
    parser = build_parser("models ls", "List the models of the project, or the versions of one.")
    parser.add_argument("name", metavar="NAME", nargs="?", help="a model")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    if arguments.name is None:
        columns: tuple[str, ...] = ("name", "versions", "production", "changed_at", "description")
        print_rows(plane.models(limit=arguments.limit), columns, arguments)
        return 0
    rows = (
        {**row, "version": f"{arguments.name}:v{row['number']}", "aliases": ", ".join(row["aliases"])}
        for row in plane.model(arguments.name).versions()
    )
    columns = ("version", "aliases", "task", "target", "created_by", "created_at", "note")
    print_rows(islice(rows, arguments.limit), columns, arguments)
    return 0


def _get_model(words: Sequence[str]) -> int:
    parser = build_parser(
        "models get",
        "Download a model version into a folder that `deepseek evaluate`, `quantize`, `compile` and `serve` take.",
    )
    words_of_variant = "one of several forms, for instance int8 (default: the one that was trained)"
    parser.add_argument("--variant", default="", help=words_of_variant)
    reference, arguments = parse_download_arguments(parser, words, "deepseek models ls")
    plane = open_plane(arguments)
    paths = plane.model(reference.name).download(reference.version, arguments.out, variant=arguments.variant)
    print_paths(paths)
    return 0
