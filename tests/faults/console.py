"""A Python in the settings of a plane, which runs snippets one after another: Django starts once for all of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Console:
    """`run(code)` returns what the snippet printed; AssertionError with the traceback of one that failed."""

    def __init__(self, environment: Mapping[str, str], *, prefix: Sequence[str] = ()) -> None:
        more = {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.faults.console"],
            env={**environment, **more},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> str:
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the console has ended"
        printed, fault = json.loads(answer)
        assert not fault, fault
        return printed

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def main() -> None:
    import django

    django.setup()
    from django.db import connections

    for line in sys.stdin:
        printed, fault = io.StringIO(), ""
        try:
            with redirect_stdout(printed):
                exec(json.loads(line), {"__name__": "snippet"})
        except Exception:
            fault = traceback.format_exc()
        finally:
            connections.close_all()
        print(json.dumps([printed.getvalue(), fault]), flush=True)


if __name__ == "__main__":
    main()
