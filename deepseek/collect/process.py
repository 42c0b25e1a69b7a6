"""The fetching process, seen from the one that has no network: started, listened to, ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deepseek.collect.spec import CollectSpec
from deepseek.connector import VARIABLE

FETCHER = Path(__file__).with_name("fetcher.py")
PASSED = ("PLANE_JOB", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What of this process's environment the fetcher may see: the worker's mark, by which it ends what is left, and where
a site's own certificates are."""
GRACE_SECONDS = 3.0


def build_environment(folder: Path) -> dict[str, str]:
    """Built from nothing: no proxy, no credential, no switch of a user gets through, and homes are in `folder`."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "SE_OFFLINE": "true",
        "SE_AVOID_STATS": "true",
        "PYTHONUNBUFFERED": "1",
        **{name: os.environ[name] for name in PASSED if name in os.environ},
    }


@contextmanager
def start_fetcher(spec: CollectSpec, allowed: Sequence[str], folder: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of a collection into `folder`; whatever happens, nothing is left running after it."""
    reading, writing = os.pipe()
    home = folder / "home"
    home.mkdir()
    way_out = os.environ.get(VARIABLE)
    connector = int(way_out) if way_out else None
    request = {
        "spec": spec.model_dump(mode="json"),
        "allowed": list(allowed),
        "folder": str(folder),
        "connector": connector,
    }
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", str(FETCHER), str(writing)],
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
            pass_fds=(writing,) if connector is None else (writing, connector),
            cwd=home,
            env=build_environment(home),
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        if process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(json.dumps(request).encode())
        with os.fdopen(reading, "rb") as lines:
            yield (json.loads(line) for line in lines)
            process.wait()
    finally:
        _stop_process(process)


def _has_descriptor(stream: Any) -> bool:
    with suppress(Exception):
        stream.fileno()
        return True
    return False


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    """TERM, then KILL, to the process and all of its session: the driver and the browser are in it."""
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
            if number == signal.SIGKILL:
                return
