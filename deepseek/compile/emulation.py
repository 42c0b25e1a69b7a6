"""Running the program of a bundle under qemu, which emulates the processor that the bundle is for."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.compile.bundle import Bundle
from deepseek.compile.compiler import DEFAULT_PATH
from deepseek.compile.target import Target
from deepseek.messages import N_, Message

Floats = npt.NDArray[np.float32]

SECONDS = 900
"""A run that takes longer is stopped."""
_RESULT = re.compile(r"median_ms ([0-9.e+-]+)")


class RunFailed(Exception):
    """A run that gave no outputs; `reason` says why."""

    def __init__(self, reason: Message) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Emulator:
    """The command that runs a program of another machine here, and what it is called in a report."""

    command: tuple[str, ...]
    where: str


def find_emulator(target: Target) -> Emulator | Message:
    """qemu's user-mode emulator for the target and the target's C library, or which of them is not installed."""
    path = os.environ.get("PATH", DEFAULT_PATH)
    names = (f"qemu-{target.arch}", f"qemu-{target.arch}-static")
    matches = next((at for name in names if (at := shutil.which(name, path=path))), None)
    if matches is None:
        return Message(N_("The emulator {name} is not installed (on Debian: apt install qemu-user)."), name=names[0])
    tree = Path("/usr", str(target.triple))
    if not (tree / "lib").is_dir():
        return Message(
            N_("The C library of {arch} is not installed (on Debian: apt install g++-aarch64-linux-gnu)."),
            arch=target.arch,
        )
    return Emulator((matches, "-L", str(tree)), f"{names[0]} (emulated)")


class BundleProgram:
    """The program of a bundle, run under an emulator: rows in, outputs out, as a device would."""

    def __init__(self, bundle: Bundle, emulator: Emulator) -> None:
        self.bundle, self.emulator = bundle, emulator
        self.milliseconds = 0.0  # of the last run, emulated

    def predict(self, rows: npt.NDArray[Any]) -> Floats:
        """Outputs (n, outputs). Raises RunFailed with what the program said."""
        with TemporaryDirectory() as scratch:
            source, answers = Path(scratch, "rows.bin"), Path(scratch, "answers.bin")
            np.ascontiguousarray(rows, rows.dtype if rows.dtype == np.int64 else np.float32).tofile(source)
            command = [
                *self.emulator.command,
                str(self.bundle.program),
                str(self.bundle.folder),
                str(source),
                str(answers),
            ]
            try:
                run = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                raise RunFailed(
                    Message(
                        N_("{count} rows took more than {seconds} s under emulation."), count=len(rows), seconds=SECONDS
                    )
                ) from None
            if run.returncode:
                lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
                raise RunFailed(Message(N_("The program ended with an error: {why}."), why=lines[-1][:300].rstrip(".")))
            result = _RESULT.search(run.stdout)
            self.milliseconds = float(result[1]) if result else 0.0
            return np.fromfile(answers, np.float32).reshape(len(rows), *self.bundle.answer)
