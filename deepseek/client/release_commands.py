"""The command ``deepseek releases``: issue, list and revoke releases for devices, and export one for a device that has
no network."""

from __future__ import annotations

import argparse
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
    print_paths,
    print_rows,
)
from deepseek.client.device_commands import parse_id
from deepseek.client.references import parse_reference

COLUMNS = (
    "id",
    "model",
    "version",
    "variant",
    "architecture",
    "sequence",
    "state",
    "has_samples",
    "created_by",
    "created_at",
)
KEY_COLUMNS = ("id", "state", "created_at", "revoked_at", "revocation_reason")
ENVELOPES = ("envelope", "provenance")
LEFT_OUT = ("links", "files", *ENVELOPES)


def manage_releases(words: Sequence[str]) -> int:
    """List, issue, revoke and export releases."""
    actions = {
        "ls": _list_releases,
        "show": _show_release,
        "samples": _make_samples,
        "issue": _issue_release,
        "revoke": _revoke_release,
        "keys": _list_keys,
        "export": _export_release,
    }
    return choose_action("releases", words, actions, "Releases of the project: what devices may install, signed.")


def _list_releases(words: Sequence[str]) -> int:
    parser = build_parser("releases ls", "List the releases of the project, newest first.")
    parser.add_argument("--model", metavar="NAME", help="only of this model")
    parser.add_argument("--state", choices=("issued", "revoked"), help="only these")
    parser.add_argument("--architecture", choices=("any", "x86_64", "aarch64"), help="only of this one")
    add_list_flags(parser)
    arguments = parser.parse_args(words)
    filters = {name: getattr(arguments, name) for name in ("model", "state", "architecture")}
    rows = open_plane(arguments).iterate("/releases", limit=arguments.limit, **filters)
    print_rows(rows, COLUMNS, arguments)
    return 0


def _show_release(words: Sequence[str]) -> int:
    parser = build_parser("releases show", "Show one release with its files.")
    add_release(parser)
    parser.add_argument(
        "--json", action="store_true", help="print all that the plane tells as JSON, with the envelopes"
    )
    arguments = parser.parse_args(words)
    release = open_plane(arguments).get(f"/releases/{arguments.release}")
    if arguments.json:
        return print_document(release)
    files = {f"file {file['name']}": f"{file['size']} B, sha256 {file['sha256']}" for file in release["files"]}
    return print_fields({name: value for name, value in release.items() if name not in LEFT_OUT} | files)


def _make_samples(words: Sequence[str]) -> int:
    from deepseek.client.terminal import follow_until_ended, tell

    parser = build_parser(
        "releases samples", "Make the rows by which a device checks a variant: a job, which is followed to its end."
    )
    add_variant(parser)
    parser.add_argument("--detach", action="store_true", help="do not follow it: print its number and leave")
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    job = plane.job(plane.post("/releases/samples", read_variant(plane, arguments))["id"])
    if arguments.detach:
        print(job.id)
        return 0
    tell(f"job {job.id}: {job.page}")
    return follow_until_ended(job)


def _issue_release(words: Sequence[str]) -> int:
    parser = build_parser(
        "releases issue",
        "Sign that devices may install a variant of an approved version. The release is printed as JSON.\n"
        "To go back to an older version, issue a new release of it.",
    )
    add_variant(parser)
    parser.add_argument("--without-samples", action="store_true", help="devices then only open the model")
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    body = {**read_variant(plane, arguments), "without_samples": arguments.without_samples}
    return print_without_envelope(plane.post("/releases", body))


def _revoke_release(words: Sequence[str]) -> int:
    parser = build_parser(
        "releases revoke",
        "Let no device install a release any more; those that run it go on. The release is printed as JSON.",
    )
    add_release(parser)
    parser.add_argument("--reason", required=True, help="stands in the audit trail")
    arguments = parser.parse_args(words)
    path = f"/releases/{arguments.release}/revoke"
    return print_without_envelope(open_plane(arguments).post(path, {"reason": arguments.reason}))


def _list_keys(words: Sequence[str]) -> int:
    from deepseek.client.release_export import fetch_release_keys
    from deepseek.client.terminal import tell

    parser = build_parser("releases keys", "List the keys that sign releases, and tell the fingerprint of the plane.")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, with the fingerprint and lists")
    arguments = parser.parse_args(words)
    answer = fetch_release_keys(open_plane(arguments))
    if arguments.json:
        return print_document(answer)
    print_rows(answer["keys"], KEY_COLUMNS, arguments)
    tell(f"fingerprint: {answer['fingerprint'] or 'none: the first release makes the first key'}")
    return 0


def _export_release(words: Sequence[str]) -> int:
    from deepseek.client.terminal import tell

    parser = build_parser(
        "releases export",
        "Write a release into a folder that is carried to a device without a network: release.json, keys.json,\n"
        "provenance.json and the files. Signatures and digests are checked; the folder appears whole or not at all.",
    )
    add_release(parser)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder that does not exist, or is empty")
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    from deepseek.client.release_export import export_release

    exported = export_release(plane, arguments.release, arguments.folder)
    print_paths(exported.paths)
    tell("on the device; take the fingerprint there by another way than the folder:")
    command = f"deepseek agent install {arguments.folder.name or 'FOLDER'} --home /var/lib/deepseek-agent"
    tell(f"  {command} --fingerprint {exported.fingerprint}")
    return 0


# -- shared ---------------------------------------------------------------------------------------------------------
def add_release(parser: Parser) -> None:
    parser.add_argument(
        "release", metavar="RELEASE", type=parse_id, help="its number, as `deepseek releases ls` has it"
    )


def add_variant(parser: Parser) -> None:
    help_text = "a version, by its number or an alias; `deepseek models ls MODEL` lists them"
    parser.add_argument("version", metavar="MODEL:VERSION", help=help_text)
    help_text = "form of the version (default: the first that a device can serve without torch)"
    parser.add_argument("--variant", default="", help=help_text)


def read_variant(plane: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """The members of a body that name a variant."""
    reference = parse_reference(arguments.version, "MODEL:VERSION", "deepseek models ls")
    number = plane.model(reference.name).version(reference.version)["number"]
    return {"model": reference.name, "version": number, "variant": arguments.variant}


def print_without_envelope(release: dict[str, Any]) -> int:
    return print_document({name: value for name, value in release.items() if name not in ENVELOPES})
