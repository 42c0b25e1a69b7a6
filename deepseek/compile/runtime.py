"""The libraries that a compiled model needs beside itself: TVM's runtime, for the machine that it was compiled for.

Those of this machine are in the installed packages. Those of another one come out of wheels in a folder, which
`make site` carries and the installation of a developer fills; nothing is fetched when a job runs.
"""

import os
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path

from deepseek.compile.target import Target
from deepseek.messages import N_, Message

FOLDER = "TARGET_RUNTIMES"
"""The environment variable that names the folder of the wheels."""
DEFAULT_FOLDER = Path(sys.prefix, "share", "deepseek-offline", "runtimes")
LIBRARIES = {"libtvm_ffi.so": ("apache-tvm-ffi", "tvm_ffi"), "libtvm_runtime.so": ("apache-tvm", "tvm")}
"""Library -> the distribution and the package that it comes with, below ``lib``."""
ORT = "onnxruntime"


@dataclass(frozen=True)
class Runtime:
    """Name of a library -> its bytes."""

    libraries: dict[str, bytes]


def find_runtime(target: Target) -> Runtime | Message:
    """The libraries for the target, or why they are not here."""
    if target.is_native:
        return Runtime({name: _read_installed(package, name) for name, (_, package) in LIBRARIES.items()})
    libraries = {}
    for name, (package_name, package) in LIBRARIES.items():
        wheel = next(iter(list_wheels(package_name, target.arch, version(package_name))), None)
        if wheel is None:
            return Message(
                N_(
                    "TVM's runtime for {arch} is not on this machine: {folder} has no wheel of {name} {version} for it."
                ),
                arch=target.arch,
                folder=str(get_folder()),
                name=package_name,
                version=version(package_name),
            )
        try:
            with zipfile.ZipFile(wheel) as archive:
                libraries[name] = archive.read(f"{package}/lib/{name}")
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            return Message(N_("The wheel {name} cannot be read: {why}."), name=wheel.name, why=str(error))
    return Runtime(libraries)


def get_folder() -> Path:
    """Where the wheels of other machines lie."""
    return Path(os.environ.get(FOLDER) or DEFAULT_FOLDER)


def list_wheels(name: str, arch: str, release: str) -> list[Path]:
    """The wheels of one release of a distribution for an instruction set: one, or one for each version of Python."""
    stem = name.replace("-", "_")
    return sorted(get_folder().glob(f"{stem}-{release}-*_{arch}.whl"))


def find_headers() -> Path:
    """The folder of the headers that the loader in C++ includes: the same for every machine."""
    return _find_package("tvm_ffi") / "include"


def list_licenses() -> dict[str, bytes]:
    """Name -> text of the licence files of the libraries; they are the same for every machine."""
    texts = {}
    for name, _ in LIBRARIES.values():
        for file in distribution(name).files or []:
            if file.parent.name == "licenses" and file.name in ("LICENSE", "NOTICE"):
                texts[f"{name}-{file.name}"] = Path(str(file.locate())).read_bytes()
    return texts


def _find_package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None  # noqa: S101  require_tvm has looked
    return Path(str(spec.origin)).parent


def _read_installed(package: str, name: str) -> bytes:
    return (_find_package(package) / "lib" / name).read_bytes()
