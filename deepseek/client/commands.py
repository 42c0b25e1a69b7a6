"""The commands that talk to a plane: login, logout, run, jobs, logs, cancel, get, data, models."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from deepseek.client.errors import ClientError
from deepseek.client.references import VersionReference, parse_reference
from deepseek.job import EngineError

PATIENCE_SECONDS = 60.0  # for a plane that restarts, once it has answered
LISTED = 50
FIELD_COLUMNS = ("field", "value")
Parser = argparse.ArgumentParser


def build_parser(name: str, description: str, *, epilog: str = "") -> Parser:
    """A parser with the flags of every command: which plane."""
    parser = argparse.ArgumentParser(
        prog=f"deepseek {name}",
        description=description,
        epilog=epilog or None,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("plane")
    words = "address of the plane (default: DEEPSEEK_URL, else the last login)"
    group.add_argument("--url", default="", help=words)
    words = "PEM file with the site's own certificate authority (default: DEEPSEEK_CA)"
    group.add_argument("--ca", metavar="FILE", default="", help=words)
    return parser


def open_plane(arguments: argparse.Namespace) -> Any:
    """The plane of the flags, of the environment or of the last login."""
    try:
        from deepseek.client.plane import Plane
    except ModuleNotFoundError as error:
        raise build_not_installed_error(error) from error
    return Plane(arguments.url, ca=arguments.ca)


def build_not_installed_error(error: ModuleNotFoundError) -> EngineError:
    return ClientError(
        "package_missing",
        "Talking to a plane needs the package httpx.",
        field="httpx",
        value=f"{error.name} is not installed",
        limit="httpx",
        hint="Install it: python -m pip install httpx",
    )


# -- login ----------------------------------------------------------------------------------------------------------
def log_in(words: Sequence[str]) -> int:
    """Check a token and keep it."""
    from deepseek.client.credentials import Login, check_token, is_clear_text, normalise_url, store_login
    from deepseek.client.terminal import tell

    parser = build_parser(
        "login",
        "Keep a token for a plane, in ~/.config/deepseek/credentials.json (mode 0600).\n"
        "The token is asked for, or read from standard input; it is never an argument.",
    )
    parser.add_argument("address", metavar="URL", help="address of the plane, as a browser shows it")
    arguments = parser.parse_args(words)
    url = normalise_url(arguments.address)
    ca = arguments.ca or os.environ.get("DEEPSEEK_CA", "")
    if sys.stdin.isatty():
        token = getpass.getpass(f"Token for {url}: ")
    else:
        token = sys.stdin.readline()
    try:
        from deepseek.client.plane import check_login
    except ModuleNotFoundError as error:
        raise build_not_installed_error(error) from error
    checked, me = check_login(Login(url, check_token(token.strip(), "token"), ca=str(Path(ca).resolve()) if ca else ""))
    path = store_login(checked)
    if is_clear_text(url):
        tell(f"warning: {url} is not encrypted: whoever is on the network can read the token")
    scopes = ", ".join(me.get("scopes") or ())
    tell(f"logged in to {url} as {me.get('label')}, project {checked.project}; the token may: {scopes}")
    tell(f"stored in {path}")
    return 0


def log_out(words: Sequence[str]) -> int:
    """Forget a token."""
    from deepseek.client.credentials import normalise_url, read_credentials, remove_login
    from deepseek.client.terminal import tell

    parser = argparse.ArgumentParser(
        prog="deepseek logout", description="Forget the token of a plane. Revoke it in the browser, too."
    )
    parser.add_argument("address", metavar="URL", nargs="?", help="address of the plane (default: the last login)")
    address = parser.parse_args(words).address
    url = normalise_url(address) if address else str(read_credentials().get("default") or "")
    if not url or not remove_login(url):
        raise ClientError(
            "no_token", f"There is no token for {url or 'any plane'}.", field="URL", hint="Nothing is left to do."
        )
    tell(f"forgot the token of {url}")
    return 0


# -- jobs -----------------------------------------------------------------------------------------------------------
def list_jobs(words: Sequence[str]) -> int:
    """List jobs."""
    parser = build_parser("jobs", "List the jobs of the project, newest first.")
    states = ("waiting", "queued", "running", "succeeded", "failed", "cancelled")
    parser.add_argument("--state", choices=states, help="only these")
    parser.add_argument("--kind", help="only of this kind, for instance script")
    parser.add_argument("--requester", metavar="NAME", help="only of this person or service account")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    filters = {name: getattr(arguments, name) or "" for name in ("state", "kind", "requester")}
    rows = (job.data for job in plane.jobs(limit=arguments.limit, **filters))
    print_rows(rows, ("id", "state", "kind", "name", "requester", "node", "created_at"), arguments)
    return 0


def show_log(words: Sequence[str]) -> int:
    """Print or follow a job's log."""
    from deepseek.client.terminal import follow_until_ended

    parser = build_parser("logs", "Print the log of a job to standard output, its lines as they are.")
    parser.add_argument("job", metavar="JOB", type=parse_job, help="number of the job")
    words_of_follow = "go on until the job has ended, over restarts of the plane; the exit code is then the job's"
    parser.add_argument("-f", "--follow", action="store_true", help=words_of_follow)
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    job = plane.job(arguments.job)
    plane.transport.patience = PATIENCE_SECONDS
    if arguments.follow:
        return follow_until_ended(job)
    for line in job.log():
        print(line.text)
    return 0


def cancel_job(words: Sequence[str]) -> int:
    """Cancel a job."""
    from deepseek.client.terminal import tell

    parser = build_parser("cancel", "Cancel a job: at once if it has not started, else its worker stops it.")
    parser.add_argument("job", metavar="JOB", type=parse_job, help="number of the job")
    parser.add_argument("--reason", default="", help="for the audit trail and the job's page")
    arguments = parser.parse_args(words)
    job = open_plane(arguments).job(arguments.job).cancel(arguments.reason)
    tell(f"job {job.id}: {'cancelled' if job.state == 'cancelled' else 'its worker is told to stop it'}")
    return 0


def get_outputs(words: Sequence[str]) -> int:
    """Download outputs of a job."""
    parser = build_parser("get", "Download an output of a job, verified by its SHA-256; without OUTPUT, all of them.")
    parser.add_argument("job", metavar="JOB", type=parse_job, help="number of the job")
    parser.add_argument("output", metavar="OUTPUT", nargs="?", help="slot of the output, as its page shows it")
    parser.add_argument("-o", "--out", metavar="DIR", type=Path, default=Path(), help="folder for it (default: here)")
    arguments = parser.parse_args(words)
    job = open_plane(arguments).job(arguments.job)
    if arguments.output is None:
        print_paths(job.download_all(arguments.out))
    else:
        print_paths([job.download(arguments.output, arguments.out)])
    return 0


# -- data and models ------------------------------------------------------------------------------------------------
def manage_data(words: Sequence[str]) -> int:
    """List, download and upload datasets."""
    actions = {"ls": _list_data, "get": _get_data, "put": _put_data}
    return choose_action("data", words, actions, "Datasets of the project: list, download, upload.")


def _list_data(words: Sequence[str]) -> int:
    parser = build_parser("data ls", "List the datasets of the project, or the versions of one.")
    parser.add_argument("name", metavar="NAME", nargs="?", help="a dataset")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    if arguments.name is None:
        columns: tuple[str, ...] = ("name", "versions", "rows", "size", "changed_at", "description")
        print_rows(plane.datasets(limit=arguments.limit), columns, arguments)
        return 0
    rows = (
        {"version": f"{arguments.name}:v{row['number']}", **row} for row in plane.dataset(arguments.name).versions()
    )
    columns = ("version", "rows", "size", "media_type", "created_by", "created_at", "note")
    print_rows(islice(rows, arguments.limit), columns, arguments)
    return 0


def _get_data(words: Sequence[str]) -> int:
    parser = build_parser("data get", "Download the files of a dataset version, verified by their SHA-256.")
    reference, arguments = parse_download_arguments(parser, words, "deepseek data ls")
    print_paths(open_plane(arguments).dataset(reference.name).download(reference.version, arguments.out))
    return 0


def _put_data(words: Sequence[str]) -> int:
    from deepseek.client.terminal import tell

    parser = build_parser(
        "data put",
        "Make a dataset version of a table (CSV, Parquet, JSON lines, Arrow), or of any files or a folder.\n"
        "Equal bytes are the version that there is. The version is printed as NAME:vN.",
    )
    parser.add_argument("name", metavar="NAME", help="the dataset; it is made if there is none")
    parser.add_argument("files", metavar="FILE", nargs="+", help="a table, files, or a folder")
    parser.add_argument("--note", default="", help="a few words on the version")
    parser.add_argument("--delimiter", default="", help="of a CSV file (default: found in it)")
    parser.add_argument("--encoding", default="", help="of a CSV file (default: found in it)")
    arguments = parser.parse_args(words)
    dataset = open_plane(arguments).dataset(arguments.name)
    options = {name: getattr(arguments, name) for name in ("note", "delimiter", "encoding")}
    version, is_new = dataset.upload(*arguments.files, **options)
    if not is_new:
        tell("these bytes are a version already")
    print(f"{arguments.name}:v{version['number']}")
    return 0


# -- shared ---------------------------------------------------------------------------------------------------------
def choose_action(
    name: str, words: Sequence[str], actions: Mapping[str, Callable[[Sequence[str]], int]], description: str
) -> int:
    """The second word of a command, and what follows it; `list` is `ls`."""
    parser = argparse.ArgumentParser(
        prog=f"deepseek {name}",
        description=description,
        epilog=f"Flags: deepseek {name} ACTION --help",
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=list(actions), metavar="ACTION", help=", ".join(actions))
    first = ["ls"] if words[:1] == ["list"] and "ls" in actions else words[:1]
    action = parser.parse_args(first).action
    return actions[action](words[1:])


def parse_download_arguments(
    parser: Parser, words: Sequence[str], listing: str
) -> tuple[VersionReference, argparse.Namespace]:
    """`NAME:vN -o DIR`."""
    parser.add_argument("version", metavar="NAME:vN", help=f"a version; `{listing} NAME` lists them")
    parser.add_argument("-o", "--out", metavar="DIR", type=Path, required=True, help="folder for the files")
    arguments = parser.parse_args(words)
    return parse_reference(arguments.version, "NAME:vN", listing), arguments


def add_list_flags(parser: Parser) -> None:
    words = "rows at most (default: %(default)s)"
    parser.add_argument("--limit", metavar="N", type=parse_count, default=LISTED, help=words)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, with all that the plane tells")


def print_rows(rows: Iterable[dict[str, Any]], columns: Sequence[str], arguments: argparse.Namespace) -> None:
    from deepseek.client.terminal import print_table

    listed = list(rows)
    if arguments.json:
        print(json.dumps(listed, ensure_ascii=False, indent=1))
    else:
        print_table(listed, columns)


def print_document(document: Any) -> int:
    """What the plane answered, as JSON. Returns the exit code 0."""
    print(json.dumps(document, ensure_ascii=False, indent=1))
    return 0


def print_fields(fields: Mapping[str, Any]) -> int:
    """A table of one thing: a line for each field. Returns the exit code 0."""
    from deepseek.client.terminal import print_table

    print_table([{"field": name.replace("_", " "), "value": value} for name, value in fields.items()], FIELD_COLUMNS)
    return 0


def print_paths(paths: Iterable[Path]) -> None:
    for path in paths:
        print(path)


def parse_job(text: str) -> int:
    """`7` or `#7`."""
    number = text.removeprefix("#")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 2**63):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not the number of a job")
    return int(number)


def parse_count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to 100000")
    return int(text)
