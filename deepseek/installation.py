"""What is installed of the engine: all of it, or the part that a device has. Light to import."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from deepseek.job import EngineError

DISTRIBUTIONS = ("deepseek-offline", "deepseek-agent")
"""All of the engine, and what a device has of it (docs/agent-install.md)."""


def get_distribution() -> tuple[str, str]:
    """Name and version of what is installed; the version is ``unknown`` where nothing is, as in a copied folder."""
    for name in DISTRIBUTIONS:
        try:
            return name, version(name)
        except PackageNotFoundError:
            continue
    return DISTRIBUTIONS[0], "unknown"


def has_module(name: str) -> bool:
    """Whether the module `name` is installed. It is not loaded, but the packages that it is in are."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def build_command_error(name: str, installed: Iterable[str]) -> EngineError:
    """The error for a command whose modules are not here."""
    return EngineError(
        "command_missing",
        "The command {name} is no part of this installation.",
        name=name,
        field="COMMAND",
        value=name,
        limit=", ".join(installed),
        hint="A device has few commands; on other machines install deepseek-offline.",
    )
