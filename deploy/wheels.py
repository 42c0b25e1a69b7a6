"""`make wheels`: everything that a host without an index installs from, in dist/wheels, and what it is made of.

Run where an index can be reached, on the platform and Python version of the hosts. Beside the wheels stand
SHA256SUMS (`sha256sum --check` reads it), manifest.json and the constraints, so that one folder is all there is to
carry. `make site` adds what a site configures: compose file, units, proxy configuration and what operators read; in
`runtimes` what a worker packs with models compiled for aarch64 (docs/edge.md), and ONNX Runtime for such devices; in
`agent` what devices install (docs/agent-install.md). `--runtimes FOLDER` only fills that folder with the first.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.agent_package import build_folders, download
from deploy.sums import compute_sha256, write_sums

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = (
    "requirements.txt",
    "requirements-s3.txt",
    "requirements-collect.txt",
    "requirements-labelling.txt",
    "requirements-federation.txt",
    "requirements-language.txt",
    "requirements-ldap.txt",
    "requirements-onnx.txt",
    "requirements-pkcs11.txt",
    "requirements-scale.txt",
)
RUNTIMES = ("apache-tvm", "apache-tvm-ffi")
DEVICE, DEVICE_PYTHON, DEVICE_RUNTIME = "aarch64", "3.11", "onnxruntime"
BUILDERS = ("__pycache__", "*.py")  # what makes the folder, and is not carried
LINKER = "ziglang"  # compiles models where a host has no C compiler
SITE = (
    "docker-compose.yml",
    "Dockerfile",
    ".dockerignore",
    "docs/install.md",
    "docs/operations.md",
    "docs/container-images.md",
    "docs/packages.md",
    "docs/releases.md",
    "docs/settings.md",
    "docs/git.md",
    "docs/collecting.md",
    "docs/edge.md",
    "docs/agent-install.md",
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


def download_runtimes(folder: Path) -> None:
    """Wheels for aarch64, as constraints.txt has them; they are carried and unpacked, never installed here."""
    folder.mkdir(parents=True, exist_ok=True)
    download(folder, RUNTIMES, DEVICE, DEVICE_PYTHON, "--no-deps")


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
            {
                "name": name,
                "version": version,
                "file": path.name,
                "bytes": path.stat().st_size,
                "sha256": compute_sha256(path),
            }
        )
    python, machine = platform.python_version(), f"{platform.system()} {platform.machine()}"
    return {"commit": commit(), "python": python, "platform": machine, "wheels": wheels}


def make_site(wheels: Path, site: Path) -> None:
    """The one folder to carry; the wheels are linked, not copied."""
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(wheels, site / "wheels", copy_function=os.link)
    shutil.copytree(ROOT / "deploy", site / "deploy", ignore=shutil.ignore_patterns(*BUILDERS))
    for name in SITE:
        (site / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, site / name)
    download_runtimes(site / "runtimes")
    build_folders(site / "agent", [wheels, site / "runtimes"])
    for path in (site / "agent" / DEVICE / "wheels").glob(f"{DEVICE_RUNTIME}-*.whl"):
        os.link(path, site / "runtimes" / path.name)
    write_sums(site)


def main() -> None:
    out = ROOT / "dist/wheels"
    if sys.argv[1:2] == ["--runtimes"]:
        download_runtimes(Path(sys.argv[2]))
        return
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
