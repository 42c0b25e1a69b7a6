"""The command ``deepseek bundle``: what travels between planes without a network (docs/transfer.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepseek.bundles import command
from deepseek.bundles.spec import DEFAULT_VOLUME_BYTES
from deepseek.bundles.writer import write_durably
from deepseek.client.bundle_transfer import CHUNK_BYTES, download_bundle, send_bundle, wait_for_state
from deepseek.client.commands import Parser, build_parser, choose_action, open_plane, parse_count, print_fields
from deepseek.client.terminal import tell

WAIT_SECONDS = 3600


def manage_bundles(words: Sequence[str]) -> int:
    """Keys and signatures on this machine; inventory, build and apply on a plane."""
    actions = {
        "keygen": command.create_personal_key,
        "inventory": _export_inventory,
        "build": _build_bundle,
        "sign": command.sign_bundle,
        "verify": command.verify_folder,
        "apply": _apply_bundle,
    }
    return choose_action("bundle", words, actions, "Bundles: what travels between planes without a network.")


def _export_inventory(words: Sequence[str]) -> int:
    parser = build_parser("bundle inventory", "Write what the project on this plane has, for the plane that builds.")
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, required=True)
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    with plane.transport.stream(plane.build_path("/bundle-inventory")) as answer:
        content = b"".join(answer.iter_bytes(CHUNK_BYTES))
    write_durably(arguments.out, content)
    print(arguments.out)
    return 0


def _build_bundle(words: Sequence[str]) -> int:
    parser = build_parser(
        "bundle build",
        "Build a bundle for the plane of an inventory, and download it into FOLDER. Run it again after a break with\n"
        "--bundle NUMBER: what is in the folder already is not sent again.",
    )
    help_text = "data/NAME:v1, model/NAME:v1, run/ID, image/NAME:TAG, package/FILE, advisories, conflicts"
    parser.add_argument("contents", metavar="CONTENT", nargs="*", help=help_text)
    parser.add_argument("-o", "--out", metavar="FOLDER", type=Path, required=True)
    parser.add_argument("--inventory", metavar="FILE", type=Path, help="of the target: deepseek bundle inventory")
    parser.add_argument("--bundle", metavar="NUMBER", type=parse_count, help="download one that was built before")
    help_text = "bytes of a volume at most (default: %(default)s)"
    parser.add_argument("--volume-bytes", metavar="N", type=parse_count, default=DEFAULT_VOLUME_BYTES, help=help_text)
    add_wait(parser)
    arguments = parser.parse_args(words)
    if not arguments.bundle and not (arguments.contents and arguments.inventory):
        parser.error("name what it is to carry, and --inventory FILE; or --bundle NUMBER")
    plane = open_plane(arguments)
    number = arguments.bundle
    if not number:
        inventory = plane.upload(arguments.inventory, media_type="application/json")
        body = {"contents": arguments.contents, "inventory": inventory, "volume_bytes": arguments.volume_bytes}
        number = plane.post("/bundles", body)["id"]
        tell(f"bundle {number}: after a break go on with --bundle {number}")
    wait_for_state(plane, f"/bundles/{number}", ("queued",), arguments.wait, tell)
    manifest = download_bundle(plane, number, arguments.out, tell)
    command.print_manifest(manifest)
    return 0


def _apply_bundle(words: Sequence[str]) -> int:
    parser = build_parser(
        "bundle apply",
        "Send a signed bundle into the quarantine of this plane, have it checked, and ask the approvers to apply it.\n"
        "Run it again after a break: what is there already is not sent again.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--comment", default="", help="for the approvers")
    parser.add_argument("--check-only", action="store_true", help="ask for no approval yet")
    add_wait(parser)
    arguments = parser.parse_args(words)
    plane = open_plane(arguments)
    row = send_bundle(plane, arguments.folder, tell)
    path = f"/received-bundles/{row['id']}"
    row = wait_for_state(plane, path, ("checking",), arguments.wait, tell)
    for change in row["preview"].get("rows", []):
        print(f"{change['change']:8} {change['kind']} {change['name']} {change['detail']}".rstrip())
    fields = {"bundle": row["id"], "state": row["state"], "scan": row["scan"].get("verdict", "")}
    if row["state"] == "checked" and not arguments.check_only:
        fields["approval"] = plane.post(f"{path}/apply", {"comment": arguments.comment})["approval"]
    return print_fields(fields)


def add_wait(parser: Parser) -> None:
    help_text = "seconds to wait for the plane's worker (default: %(default)s)"
    parser.add_argument("--wait", metavar="SECONDS", type=parse_count, default=WAIT_SECONDS, help=help_text)
