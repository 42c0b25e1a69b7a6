"""`python -m tests.deploy.aarch64_python FOLDER`: Debian's Python for aarch64, unpacked into a folder, for qemu-user.

The packages come by apt with a state of its own: nothing is installed, and this machine takes no other architecture.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
CONFIGURATION = """
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""


def fetch_python(folder: Path) -> None:
    """Fill `folder` with ``root``, a tree of the packages and of what they need."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(CONFIGURATION.format(folder=folder))
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    get = ["apt-get", "--quiet=2", "--option", "APT::Sandbox::User=root"]
    for words in (["update"], ["install", "--download-only", "--yes", "--no-install-recommends", *PACKAGES]):
        subprocess.run([*get, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(folder / "root")], check=True)
    if not (folder / "root/lib").exists():  # where /lib is a link to /usr/lib, the package of that link is not unpacked
        (folder / "root/lib").symlink_to("usr/lib")


def find_command(folder: Path) -> list[str]:
    """The words before those of that Python, run under qemu."""
    root = folder / "root"
    python = next(
        path for path in sorted(root.glob("usr/bin/python3.*")) if path.name.removeprefix("python3.").isdigit()
    )
    return ["qemu-aarch64", "-L", str(root), str(python)]


if __name__ == "__main__":
    fetch_python(Path(sys.argv[1]).absolute())
