"""`make wheels`: everything that a host without an index installs from, in dist/wheels, and what it is made of.

Run where an index can be reached, on the platform and Python version of the hosts. Beside the wheels stand
SHA256SUMS (`sha256sum --check` reads it), manifest.json and the constraints, so that one folder is all there is to
carry. `make site` adds what a site configures: compose file, units, proxy configuration and what operators read.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = (
    "requirements.txt",
    "requirements-s3.txt",
    "requirements-collect.txt",
    "requirements-language.txt",
    "requirements-onnx.txt",
)
LINKER = "ziglang"  # compiles models where a host has no C compiler
SITE = (
    "docker-compose.yml",
    "Dockerfile",
    ".dockerignore",
    "docs/install.md",
    "docs/operations.md",
    "docs/settings.md",
    "docs/git.md",
    "docs/collecting.md",
    "docs/language-models.md",
    "docs/versions.md",
)


def build(out: Path) -> None:
    """Download or build a wheel of everything, our own included; one pip command, so that all of it fits together."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools packs what an earlier build left there
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    files = [part for name in REQUIREMENTS for part in ("--requirement", name)]
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    wanted = [*files, LINKER, "."]
    subprocess.run([*pip, "--constraint", "constraints.txt", "--wheel-dir", str(out), *wanted], cwd=ROOT, check=True)
    shutil.copy(ROOT / "constraints.txt", out)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit() -> str:
    """The commit these wheels were made of, `+changes` behind it if the tree held more; empty outside a repository."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return f"{found}+changes" if found and changed.strip() else found


def describe(out: Path) -> dict[str, object]:
    """Name, version, size and digest of every wheel."""
    wheels = []
    for path in sorted(out.glob("*.whl")):
        name, version = path.name.split("-")[:2]
        wheels.append(
            {"name": name, "version": version, "file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        )
    python, machine = platform.python_version(), f"{platform.system()} {platform.machine()}"
    return {"commit": commit(), "python": python, "platform": machine, "wheels": wheels}


def write_sums(folder: Path) -> None:
    """SHA256SUMS of every file below the folder, the names as `sha256sum --check` in that folder wants them."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "SHA256SUMS"]
    lines = (f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files)
    (folder / "SHA256SUMS").write_text("".join(lines))


def make_site(wheels: Path, site: Path) -> None:
    """The one folder to carry; the wheels are linked, not copied."""
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(wheels, site / "wheels", copy_function=os.link)
    shutil.copytree(ROOT / "deploy", site / "deploy", ignore=shutil.ignore_patterns("__pycache__", "wheels.py"))
    for name in SITE:
        (site / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, site / name)
    write_sums(site)


def main() -> None:
    out = ROOT / "dist/wheels"
    if "--site-only" not in sys.argv:
        build(out)
        made = describe(out)
        (out / "manifest.json").write_text(json.dumps(made, indent=1) + "\n")
        write_sums(out)
        size = sum(path.stat().st_size for path in out.iterdir())
        sys.stdout.write(f"{len(list(out.glob('*.whl')))} wheels, {size / 1e6:,.0f} MB, in {out}\n")
    if "--wheels-only" not in sys.argv:
        make_site(out, ROOT / "dist/site")
        sys.stdout.write(f"To carry: {ROOT / 'dist/site'}\n")


if __name__ == "__main__":
    main()
