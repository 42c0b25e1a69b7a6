"""Rebuilding a Python environment: a fresh virtual environment, every package at its version, from one index alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deepseek.environments.comparison import EnvironmentDifference, compare_environments, read_section
from deepseek.job import EngineError
from deepseek.messages import N_

LISTING = """
import json, re, sys
from importlib.metadata import distributions
print(json.dumps({re.sub(r"[-_.]+", "-", d.name).lower(): d.version for d in distributions() if d.name}))
"""
PACKAGE = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,99}")
MAX_OUTPUT = 2000
NETRC = Path("~/.netrc").expanduser()


def rebuild_environment(
    document: Mapping[str, Any],
    folder: Path,
    index_url: str,
    *,
    python: str = sys.executable,
    say: Callable[[str], None] = lambda _text: None,
) -> tuple[EnvironmentDifference, ...]:
    """Make `folder` a virtual environment with the packages of the document; what still differs afterwards.

    The pip of `python` (22.3 or newer) runs isolated from its settings, with this index and no other. It chooses no
    dependencies: every package that was there is named. The folder is removed again where a package cannot be had.
    Raises EngineError.
    """
    packages = validate_packages(document)
    validate_index(index_url)
    if folder.exists() and any(folder.iterdir()):
        raise EngineError(
            "environment_folder_exists",
            "The folder is not empty.",
            field="folder",
            value=str(folder)[:200],
            hint=N_("Name a new one: an environment is rebuilt, never changed."),
        )
    interpreter = folder / "bin" / "python"
    say(f"{len(packages)} packages from {urlsplit(index_url).hostname}.")
    try:
        run([python, "-m", "venv", "--without-pip", str(folder)])
        requirements = folder / "requirements.txt"
        requirements.write_text("".join(f"{name}=={version}\n" for name, version in sorted(packages.items())))
        install = [python, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python", str(interpreter)]
        where = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--index-url", index_url]
        run([*install, "install", *where, "--requirement", str(requirements)])
        found = json.loads(run([str(interpreter), "-I", "-c", LISTING]))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return compare_environments({"packages": packages}, {"packages": found}).differences


def validate_packages(document: Mapping[str, Any]) -> dict[str, str]:
    """The packages of a document, safe to hand to pip. Raises EngineError `environment_malformed`."""
    packages = read_section(document, "packages")
    wrong = next((n for n, v in packages.items() if not PACKAGE.fullmatch(n) or not VERSION.fullmatch(v)), None)
    if not packages or wrong is not None:
        raise EngineError(
            "environment_malformed",
            "This is no environment that can be rebuilt: it lists no packages, or one of another form.",
            field="packages",
            value=None if wrong is None else wrong[:100],
            limit="name and version of each package",
            hint=N_("Take the environment of a node from a snapshot, or from GET /api/v1/environments."),
        )
    return packages


def validate_index(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError(
            "environment_index_invalid",
            "This is no address of a package index.",
            field="--index-url",
            value=url[:200],
            limit="http://HOST/simple",
            hint=N_("Name the index of the plane: https://plane.example/simple."),
        )


def run(command: list[str]) -> str:
    """Run a program with an environment built from nothing, so that no setting adds another index or proxy."""
    environment = {"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null", "PYTHONNOUSERSITE": "1", "LANG": "C.UTF-8"}
    if NETRC.is_file():  # a token for the index, which would show in a process list as part of the address
        environment["NETRC"] = str(NETRC)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        raise EngineError(
            "environment_rebuild_failed",
            "The environment cannot be rebuilt: {why}",
            why=" ".join(lines)[:MAX_OUTPUT] or f"exit status {done.returncode}",
            field="packages",
            hint=N_("Import what is missing into the package index of the plane, and run it again."),
        )
    return done.stdout
