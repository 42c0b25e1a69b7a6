"""The environment of the stock MLflow client and server: not the plane's, which has none of MLflow.

    python tests/mlflow/environment.py FOLDER       makes it, or finds it made

It sees the packages of the interpreter that makes it behind its own (a .pth file), so that torch, numpy, pandas and
some thirty others need not be installed twice; what it needs in another version lies in front.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ASKED = (HERE / "requirements.txt", HERE / "constraints.txt")
LENT = sysconfig.get_path("purelib")


def python_of(folder: Path) -> Path:
    return folder / "bin/python"


def wanted() -> str:
    """What the environment is made of: a change of it makes it anew."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in ASKED) + LENT.encode()).hexdigest()


def make(folder: Path) -> bool:
    """True if there was something to do."""
    made = folder / "made"
    if made.exists() and made.read_text() == wanted():
        return False
    venv.create(folder, with_pip=True, clear=True)
    own = subprocess.run(
        [python_of(folder), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (Path(own) / "lent.pth").write_text(f"{LENT}\n")
    pip = [python_of(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", ASKED[0], "--constraint", ASKED[1]], check=True)
    made.write_text(wanted())
    return True


if __name__ == "__main__":
    begun = time.monotonic()
    if make(Path(sys.argv[1]).resolve()):
        print(f"Made the MLflow client's environment in {time.monotonic() - begun:.0f} s")
