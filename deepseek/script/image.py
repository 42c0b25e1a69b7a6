"""Run a script in the root file system of an image: by a process that the sandbox has put there beforehand."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

IMAGE = "SCRIPT_IMAGE"
"""The variables of the image's config as JSON; of a script without an image it is not set."""
LAUNCHER = "SCRIPT_LAUNCHER"
"""Process of the launcher, the pipe that takes the command, the pipe that tells a failure (workers/images/root.py)."""
JOB_FOLDER = "/job"
"""Where the folder of the attempt is in the image."""
DRIVER_FOLDER = "/nvidia"
"""Where the libraries of the node's GPU driver are in the image, if the node has one (workers/images/root.py)."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageProcess:
    """The script in its image, as far as `execute` needs a subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        """The exit code; negative for the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def terminate(self) -> None:
        """The sandbox may forbid the signal; whoever ends the attempt sends it too."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGTERM)


@dataclass(frozen=True)
class ScriptImage:
    """`variables`: of the image's config. `scratch`: the folder that is JOB_FOLDER in the image."""

    variables: Mapping[str, str]
    scratch: Path

    @property
    def search_path(self) -> str:
        return self.variables.get("PATH") or DEFAULT_PATH

    @property
    def library_path(self) -> str:
        return ":".join(filter(None, (DRIVER_FOLDER, self.variables.get("LD_LIBRARY_PATH"))))

    def locate(self, path: Path) -> str:
        """The path, in the image, of a file below the folder of the attempt."""
        return str(Path(JOB_FOLDER, path.relative_to(self.scratch)))

    def start(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> ImageProcess:
        """Start the command in `folder`. Raises OSError as Popen does, for a program that is not in the image too."""
        pid, taking, failing = map(int, os.environ.pop(LAUNCHER).split(":"))
        request = {"command": list(command), "folder": self.locate(folder), "environment": dict(environment)}
        with os.fdopen(taking, "wb") as pipe:
            pipe.write(json.dumps(request).encode())
        with os.fdopen(failing, "rb") as pipe:
            number = pipe.read()  # ends when the command has taken the place of the launcher
        if number:
            os.waitpid(pid, 0)
            raise OSError(int(number), os.strerror(int(number)), command[0])
        return ImageProcess(pid)


def read_image(scratch: Path) -> ScriptImage | None:
    """The image that this attempt's script runs in, as the worker says in the environment; None: in none."""
    variables = os.environ.get(IMAGE)
    return ScriptImage(json.loads(variables), scratch) if variables else None
