"""Run a command beside a PostgreSQL and a Redis of its own: `python -m tests.services COMMAND...`.

Where both are set, DATABASE_URL and BROKER_URL of the environment are taken instead. Both servers are deleted at the
end, so neither waits for the disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.services import POSTGRES_FLAGS, Postgres, Redis

CARELESS = [*POSTGRES_FLAGS, "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


def main(command: list[str]) -> int:
    if os.environ.get("DATABASE_URL") and os.environ.get("BROKER_URL"):
        return subprocess.run(command, check=False).returncode
    postgres = Postgres(flags=CARELESS)
    try:
        with tempfile.TemporaryDirectory() as folder:
            redis = Redis(Path(folder) / "redis")
            addresses = {"DATABASE_URL": postgres.url("postgres"), "BROKER_URL": redis.url(0)}
            try:
                return subprocess.run(command, env=os.environ | addresses, check=False).returncode
            finally:
                redis.stop(hard=True)
    finally:
        postgres.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
