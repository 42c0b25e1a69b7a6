"""The flags of ``deepseek agent``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from deepseek.agent.errors import AgentError
from deepseek.agent.options import DEFAULT_SERVE, AgentOptions
from deepseek.agent.plane.enrolment import read_token
from deepseek.client.credentials import normalise_url

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
MAX_ATTRIBUTES, MAX_ATTRIBUTE_CHARACTERS = 50, 128
"""What the plane takes of a device: more characters and its enrolment would be refused."""
MAX_SIMULATED = 100_000


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek agent",
        description="Keep this device at the release that its plane assigns, and serve its model (docs/agent.md).",
        epilog="also: deepseek agent install FOLDER --home DIR; deepseek agent status --home DIR",
        allow_abbrev=False,
    )
    parser.add_argument("--plane", metavar="URL", default="", help="address of the plane (default: where it enrolled)")
    words = "enrolment token, or @FILE with it; needed once"
    parser.add_argument("--enrol", metavar="TOKEN", default="", help=words)
    add_home(parser)
    words = "name of the device in its project (default: the host's)"
    parser.add_argument("--name", type=parse_name, help=words)
    words = "what the device says of itself, for instance site=berlin; may be repeated"
    parser.add_argument("--attribute", metavar="KEY=VALUE", action="append", default=[], help=words)
    words = "seconds between two polls (default: what the plane says)"
    parser.add_argument("--poll", metavar="SECONDS", type=NumberBetween(0.05, 86_400), help=words)
    parser.add_argument("--ca", metavar="FILE", default="", help="PEM file with the site's own certificate authority")
    add_serving(parser)
    parser.add_argument("--once", action="store_true", help="poll, finish what is to be done, and leave")
    words = "run so many devices in this process, each with a home folder below --home"
    parser.add_argument("--simulate", metavar="N", type=parse_count, default=0, help=words)
    words = "of simulated devices: JSON lines with features and label, which they answer (default: their samples)"
    parser.add_argument("--traffic", metavar="FILE", type=Path, help=words)
    words = "seconds between two answers of a simulated device (default: %(default)g)"
    parser.add_argument("--traffic-seconds", metavar="S", type=NumberBetween(0.1, 86_400), default=60.0, help=words)
    return parser


def build_install_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek agent install",
        description="Install a release from a folder that was carried here, with no connection to the plane.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="with release.json, keys.json and the files")
    add_home(parser)
    words = "of the plane's first list of keys; needed on a device that has never enrolled"
    parser.add_argument("--fingerprint", metavar="SHA256", default="", help=words)
    words = "seconds to wait for an agent that runs (default: %(default)g)"
    parser.add_argument("--wait", metavar="SECONDS", type=NumberBetween(1, 86_400), default=600.0, help=words)
    add_serving(parser)
    return parser


def build_status_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek agent status", description="Print what the agent last knew of itself.", allow_abbrev=False
    )
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", metavar="DIR", type=Path, required=True, help="folder of this device's state")


def add_serving(parser: argparse.ArgumentParser) -> None:
    words = f"where the model answers (default: {DEFAULT_SERVE[0]}:{DEFAULT_SERVE[1]})"
    parser.add_argument("--serve", metavar="HOST:PORT", type=parse_address, default=DEFAULT_SERVE, help=words)
    words = "seconds for which a new version is watched, and rolled back if it fails (default: %(default)g)"
    parser.add_argument("--watch", metavar="SECONDS", type=NumberBetween(0, 86_400), default=60.0, help=words)
    words = "refuse releases that name no provenance, as those from before there was any"
    parser.add_argument("--require-provenance", action="store_true", help=words)


def read_options(arguments: argparse.Namespace) -> AgentOptions:
    """The options that the flags name. Raises AgentError and ClientError for one at fault."""
    return AgentOptions(
        home=arguments.home.absolute(),
        plane=normalise_url(arguments.plane, "--plane") if arguments.plane else "",
        enrolment_token=read_token(arguments.enrol) if arguments.enrol else "",
        name=arguments.name or "",
        attributes=parse_attributes(arguments.attribute),
        ca=arguments.ca,
        poll_seconds=arguments.poll,
        watch_seconds=arguments.watch,
        start_seconds=0.0 if arguments.once else AgentOptions.start_seconds,
        is_once=arguments.once,
        is_provenance_required=arguments.require_provenance,
        host=arguments.serve[0],
        port=arguments.serve[1],
    )


def parse_attributes(words: list[str]) -> dict[str, str]:
    """KEY=VALUE of each word. Raises AgentError ``bad_attribute``."""
    attributes: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        fits = sign and key and key not in attributes and max(len(key), len(value)) <= MAX_ATTRIBUTE_CHARACTERS
        if not fits or not word.isprintable() or len(attributes) >= MAX_ATTRIBUTES:
            raise AgentError(
                "bad_attribute",
                f"{word[:100]!r} is no attribute, or one too many.",
                field="--attribute",
                value=word[:100],
                limit=f"KEY=VALUE, each key once, up to {MAX_ATTRIBUTES}, {MAX_ATTRIBUTE_CHARACTERS} characters each",
                hint="Give for instance --attribute site=berlin.",
            )
        attributes[key] = value
    return attributes


def parse_name(text: str) -> str:
    """A name of a device, for argparse."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:100]!r} is not up to 100 letters, digits, dots, hyphens, underscores")
    return text


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT, for argparse; an address of IPv6 in brackets."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return host, int(port)


def parse_count(text: str) -> int:
    """How many devices, for argparse."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_SIMULATED):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_SIMULATED}")
    return int(text)


class NumberBetween:
    """A number from `low` to `high`, for argparse."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not self.low <= number <= self.high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {self.low:g} to {self.high:g}")
        return number
