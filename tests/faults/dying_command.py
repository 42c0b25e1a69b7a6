"""A command of the plane that dies by kill -9 at a chosen place: when a function is called for the n-th time.

    python -m tests.faults.dying_command MODULE:NAME[.NAME] COUNT WORDS...

Nothing of the command itself is replaced but the one call, so that neither a slow machine nor a fast one misses the
moment. Children are not killed: they have to notice by themselves.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_dying(environment: Mapping[str, str], place: str, count: int, *words: str) -> None:
    """Run `manage.py WORDS` until it dies there. AssertionError where it ended otherwise."""
    command = [sys.executable, "-m", "tests.faults.dying_command", place, str(count), *words]
    more = {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env={**environment, **more}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == -signal.SIGKILL, f"{place} was not reached: {done.stdout}{done.stderr}"


def die_at(place: str, count: int) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    function, calls = getattr(owner, name), itertools.count(1)

    @functools.wraps(function)
    def die_or_call(*words, **options):
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*words, **options)

    setattr(owner, name, die_or_call)


def main(place: str, count: str, *words: str) -> None:
    import django
    from django.core.management import execute_from_command_line

    os.umask(0o077)
    django.setup()
    die_at(place, int(count))
    execute_from_command_line(["manage.py", *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
