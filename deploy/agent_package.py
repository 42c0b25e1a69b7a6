"""`make agent`: for each architecture the one folder that a device's agent is installed from, in dist/agent.

Each holds the wheel of the agent, the wheels that it needs for every Python that a device may have, TVM's runtime alone
(without its compiler), the unit and install.sh. Run where an index can be reached; a device reaches none. The wheel of
the agent is written here of the modules that a device needs (deploy/agent_modules.py), so that equal sources give equal
bytes, and no build tool is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.agent_modules import ROOT, list_modules
from deploy.sums import write_sums
from deploy.wheel_file import write_wheel

ARCHITECTURES = ("x86_64", "aarch64")
PYTHONS = ("3.11", "3.12", "3.13")  # of Debian 12, Ubuntu 24.04, Debian 13
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")  # glibc 2.28 or later
REQUIREMENTS = ROOT / "requirements-agent.txt"
FILES = ("install.sh", "deepseek-agent.service", "agent.conf")
TVM, TVM_FFI = "apache-tvm", "apache-tvm-ffi"
TVM_RUNTIME, RUNTIME_PACKAGE, LIBRARY = "deepseek-tvm-runtime", "deepseek_tvm_runtime", "libtvm_runtime.so"
SCRIPTS = {"deepseek": "deepseek.cli:main", "deepseek-agent": "deepseek.device_command:main"}


def build_agent_wheel(folder: Path) -> Path:
    """Write the wheel ``deepseek-agent`` into `folder`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in list_modules().values()}
    return write_wheel(
        folder,
        "deepseek-agent",
        project["version"],
        "py3-none-any",
        files,
        summary="The agent of a device, and the service of its model; not to be installed beside deepseek-offline",
        requires=list_requirements(),
        requires_python=project["requires-python"],
        scripts=SCRIPTS,
    )


def list_requirements() -> list[str]:
    """The lines of requirements-agent.txt."""
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def build_runtime_wheel(tvm_wheel: Path, architecture: str, folder: Path) -> Path:
    """Write TVM's runtime for an architecture, out of the wheel of all of TVM, as a wheel of its own into `folder`."""
    with zipfile.ZipFile(tvm_wheel) as archive:
        files = {f"{RUNTIME_PACKAGE}/lib/{LIBRARY}": archive.read(f"tvm/lib/{LIBRARY}")}
        for name in archive.namelist():
            if "/licenses/" in name and ".dist-info/" in name and not name.endswith("/"):
                files[f"{RUNTIME_PACKAGE}/licenses/{name.partition('/licenses/')[2]}"] = archive.read(name)
    files[f"{RUNTIME_PACKAGE}/__init__.py"] = b'"""TVM\'s runtime library, without its compiler."""\n'
    return write_wheel(
        folder,
        TVM_RUNTIME,
        tvm_wheel.name.split("-")[1],
        f"py3-none-manylinux_2_28_{architecture}",
        files,
        summary="The runtime library of Apache TVM, out of its wheel",
        requires=[f"{TVM_FFI}=={read_constraint(TVM_FFI)}"],
    )


def read_constraint(name: str) -> str:
    """The version of a package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{name}=="))


def download(folder: Path, names: Sequence[str], architecture: str, python: str, *options: str) -> None:
    """Wheels for an architecture and a version of Python, as constraints.txt has them."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    platforms = [part for name in PLATFORMS for part in ("--platform", f"{name}_{architecture}")]
    target = ["--python-version", python, *platforms, "--dest", str(folder.resolve())]
    subprocess.run([*pip, *options, "--constraint", "constraints.txt", *target, *names], cwd=ROOT, check=True)


def fetch_wheels(folder: Path, architecture: str, pythons: Sequence[str]) -> None:
    """Everything that the agent needs on an architecture: resolved once, then what is compiled for each Python."""
    folder.mkdir(parents=True, exist_ok=True)
    first, others = pythons[0], pythons[1:]
    download(folder, [*list_requirements(), f"{TVM_FFI}=={read_constraint(TVM_FFI)}"], architecture, first)
    tag = f"cp{first.replace('.', '')}"
    compiled = [path.name.split("-")[:3] for path in folder.glob("*.whl") if f"-{tag}-{tag}-" in path.name]
    pins = [f"{name.replace('_', '-')}=={release}" for name, release, _ in compiled]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda python: download(folder, pins, architecture, python, "--no-deps"), others))


def find_tvm_wheel(architecture: str, folders: Sequence[Path], scratch: Path) -> Path:
    """The wheel of all of TVM for an architecture: in one of the folders, else downloaded into `scratch`."""
    release = read_constraint(TVM)
    for folder in folders:
        for path in folder.glob(f"{TVM.replace('-', '_')}-{release}-*{architecture}.whl"):
            return path
    download(scratch, [f"{TVM}=={release}"], architecture, PYTHONS[0], "--no-deps")
    return next(scratch.glob(f"*{architecture}.whl"))


def build_folder(out: Path, architecture: str, pythons: Sequence[str], tvm_wheel: Path, agent_wheel: Path) -> None:
    """The folder of one architecture."""
    wheels = out / "wheels"
    fetch_wheels(wheels, architecture, pythons)
    build_runtime_wheel(tvm_wheel, architecture, wheels)
    os.link(agent_wheel, wheels / agent_wheel.name)
    download(wheels, [f"pip=={version('pip')}"], architecture, pythons[0], "--no-deps")
    for name in FILES:
        shutil.copy(ROOT / "deploy/agent" / name, out / name)
    shutil.copy(ROOT / "docs/agent-install.md", out / "README.md")
    released = agent_wheel.name.split("-")[1]
    for name, lines in {"architecture": [architecture], "pythons": pythons, "version": [released]}.items():
        (out / name).write_text("".join(f"{line}\n" for line in lines))
    write_sums(out)


def build_folders(out: Path, sources: Sequence[Path] = (), pythons: Sequence[str] = PYTHONS) -> None:
    """A folder for each architecture. `sources`: where wheels of all of TVM may lie already."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with TemporaryDirectory(dir=out.parent) as scratch, ThreadPoolExecutor(len(ARCHITECTURES)) as pool:
        agent_wheel = build_agent_wheel(Path(scratch))

        def build(architecture: str) -> None:
            tvm_wheel = find_tvm_wheel(architecture, sources, Path(scratch))
            build_folder(out / architecture, architecture, pythons, tvm_wheel, agent_wheel)

        list(pool.map(build, ARCHITECTURES))


def main() -> None:
    out = ROOT / "dist/agent"
    pythons = tuple(sys.argv[1:]) or PYTHONS
    build_folders(out, [ROOT / "dist/wheels", ROOT / "dist/site/runtimes"], pythons)
    for architecture in ARCHITECTURES:
        size = sum(path.stat().st_size for path in (out / architecture).rglob("*") if path.is_file())
        sys.stdout.write(f"To carry to devices of {architecture}: {out / architecture}, {size / 1e6:,.0f} MB\n")


if __name__ == "__main__":
    main()
