"""Measurements of Python and its packages. Whatever is heavy is imported inside."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS = "deepseek-offline"
MAX_HASHED_BYTES = 256 << 10
MAX_FEED_BYTES = 512 << 20

# The model y = x + x for one float32 vector, opset 13: what `onnx.helper` writes, without needing it here.
ADD_MODEL = base64.b64decode("CAg6NwoOCgF4CgF4EgF5IgNBZGQSA2FkZFoPCgF4EgoKCAgBEgQKAggDYg8KAXkSCgoICAESBAoCCANCBAoAEA0=")


def describe_python() -> dict[str, Any]:
    """Version, whether it is a virtual environment, and which of its folders others may write."""
    folders = {sys.prefix, *(path for path in sys.path if path.endswith("site-packages"))}
    writable = []
    for folder in sorted(folders):
        try:
            mode = os.stat(folder).st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            writable.append(folder)
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "version": version,
        "prefix": sys.prefix,
        "is_virtual": sys.prefix != sys.base_prefix,
        "writable_by_others": writable,
    }


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def list_wheel_tags() -> dict[str, Any]:
    """The platform tags of what deepseek-offline needs, as their wheels name them."""
    tags: set[str] = set()
    for item in iterate_ours():
        lines = (item.read_text("WHEEL") or "").splitlines()
        tags.update(line.partition(":")[2].strip() for line in lines if line.startswith("Tag:"))
    return {"tags": sorted(tags)}


def iterate_ours() -> Iterator[Distribution]:
    """deepseek-offline and all that it requires without an extra, each once."""
    from packaging.requirements import InvalidRequirement, Requirement

    names, done = [OURS], set()
    while names:
        name = normalise(names.pop())
        if name in done:
            continue
        done.add(name)
        try:
            item = distribution(name)
        except PackageNotFoundError:
            continue
        yield item
        for text in item.requires or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                names.append(requirement.name)


def check_requirements() -> dict[str, Any]:
    """Requirements that are not met: of what deepseek-offline needs, and of anything else that is installed."""
    from packaging.requirements import InvalidRequirement, Requirement

    ours = {normalise(item.name) for item in iterate_ours()}
    installed = {normalise(item.name): item.version for item in distributions() if item.name}
    unmet: dict[bool, list[str]] = {True: [], False: []}
    for item in distributions():
        for text in item.requires or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            version, is_ours = installed.get(normalise(requirement.name)), normalise(item.name) in ours
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                unmet[is_ours].append(f"{item.name} needs {requirement}, {version or 'nothing'} is installed")
    return {"count": len(installed), "ours": sorted(set(unmet[True])), "others": sorted(set(unmet[False]))}


def compare_pins(path: str = "") -> dict[str, Any]:
    """Installed versions against `name==version` lines of a constraints file."""
    files = [Path(path)] if path else [Path(sys.prefix) / "share" / OURS / "constraints.txt", Path("constraints.txt")]
    file = next((each for each in files if each.is_file()), None)
    if file is None:
        return {
            "not_applicable": f"There is no file of constraints ({' or '.join(map(str, files))}): set PIP_CONSTRAINT."
        }
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", file.read_text(), re.MULTILINE))
    pinned = {normalise(name): version for name, version in pins.items()}
    installed = {normalise(item.name): item.version for item in distributions() if item.name}
    both = pinned.keys() & installed.keys()
    wrong = [
        f"{name} {installed[name]} for {pinned[name]}"
        for name in sorted(both)
        if installed[name].partition("+")[0] != pinned[name].partition("+")[0]
    ]
    return {"path": str(file), "count": len(both), "wrong": wrong}


def verify_records(budget: str) -> dict[str, Any]:
    """Installed files of deepseek-offline and its requirements against their RECORD: the hash of small ones while the
    budget of seconds lasts, the size of all."""
    deadline = time.monotonic() + float(budget)
    answer: dict[str, Any] = {"files": 0, "hashed": 0, "changed": [], "scripts": [], "absent": []}
    for item in iterate_ours():
        for file in item.files or ():
            if file.hash is None or file.size is None or file.suffix == ".pyc":  # Python writes those anew
                continue
            path = file.locate()
            try:
                size = os.stat(path).st_size
            except OSError:
                answer["absent"].append(str(file))
                continue
            answer["files"] += 1
            is_changed = size != file.size
            if not is_changed and size <= MAX_HASHED_BYTES and time.monotonic() < deadline:
                digest = hashlib.new(file.hash.mode, Path(str(path)).read_bytes(), usedforsecurity=False).digest()
                is_changed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value
                answer["hashed"] += 1
            if is_changed:  # a script's first line changes with the folder of its environment
                answer["scripts" if "bin" in file.parts[:-1] else "changed"].append(str(file))
    return answer


def test_torch() -> dict[str, Any]:
    """What torch is built for, and the error of a small gradient against its formula."""
    import torch

    x = torch.linspace(-2, 2, 64, dtype=torch.float64, requires_grad=True)
    (torch.tanh(x) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    y = torch.tanh(x.detach())
    error = (x.grad - 2 * y * (1 - y * y)).abs().max().item() if x.grad is not None else float("inf")
    backends = [name for name in ("gloo", "nccl", "mpi") if getattr(torch.distributed, f"is_{name}_available")()]
    is_available = torch.cuda.is_available()
    gpus = range(torch.cuda.device_count() if is_available else 0)
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "cuda_available": is_available,
        "gpus": len(gpus),
        "capabilities": ["sm_{}{}".format(*torch.cuda.get_device_capability(index)) for index in gpus],
        "arch_list": torch.cuda.get_arch_list() if is_available else [],
        "backends": backends,
        "error": error,
    }


def test_onnxruntime() -> dict[str, Any]:
    if find_spec("onnxruntime") is None:
        return {"not_applicable": "onnxruntime is not installed."}
    import numpy
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    answer = {"version": onnxruntime.__version__, "right": False, "error": "", "providers": []}
    try:
        session = onnxruntime.InferenceSession(ADD_MODEL, providers=["CPUExecutionProvider"])
        values = numpy.array([1, 2, 3], dtype=numpy.float32)
        answer["right"] = bool((session.run(None, {"x": values})[0] == values + values).all())
        answer["providers"] = session.get_providers()
    except Exception as error:  # noqa: BLE001  whatever its native code throws is the answer
        answer["error"] = str(error)[:200]
    return answer


def describe_tvm() -> dict[str, Any]:
    if find_spec("tvm") is None:
        return {"not_applicable": "apache-tvm is not installed."}
    import tvm
    from tvm.target import codegen

    return {
        "version": tvm.__version__,
        "ffi": distribution("apache-tvm-ffi").version,
        "llvm": codegen.llvm_version_major(allow_none=True),
    }


def find_missing_modules(*names: str) -> dict[str, Any]:
    return {"absent": [name for name in names if find_spec(name) is None]}


def iterate_records(path: str) -> Iterator[dict[str, Any]]:
    """OSV records of a JSON list, of a file of JSON lines, or of every .json file of a folder."""
    at = Path(path)
    if at.is_dir():
        for file in sorted(at.glob("*.json")):
            yield json.loads(file.read_text(encoding="utf-8"))
        return
    if at.stat().st_size > MAX_FEED_BYTES:
        raise ValueError(f"it is larger than {MAX_FEED_BYTES} bytes")
    text = at.read_text(encoding="utf-8").lstrip()
    if text.startswith("["):
        yield from json.loads(text)
    else:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())


def find_vulnerabilities(path: str) -> dict[str, Any]:
    """Installed packages that OSV records of PyPI name, by version or by range."""
    installed = {normalise(item.name): item.version for item in distributions() if item.name}
    count, newest, vulnerable = 0, "", set()
    try:
        for record in iterate_records(path):
            count += 1
            newest = max(newest, str(record.get("modified", "")))
            for affected in () if record.get("withdrawn") else record.get("affected", ()):
                package = affected.get("package", {})
                name = normalise(str(package.get("name", "")))
                if package.get("ecosystem") == "PyPI" and name in installed and _is_affected(affected, installed[name]):
                    vulnerable.add(f"{record.get('id')} in {name} {installed[name]}")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return {"unmeasured": f"The vulnerability feed {path} cannot be read: {error}."}
    return {"records": count, "newest": newest, "vulnerable": sorted(vulnerable)}


def _is_affected(affected: dict[str, Any], version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    if version in affected.get("versions", ()):
        return True
    try:
        ours = Version(version)
        for each in affected.get("ranges", ()):
            if each.get("type") != "ECOSYSTEM":
                continue
            inside = False
            for event in each.get("events", ()):
                if "introduced" in event and (event["introduced"] == "0" or ours >= Version(event["introduced"])):
                    inside = True
                if "fixed" in event and ours >= Version(event["fixed"]):
                    inside = False
                if "last_affected" in event and ours > Version(event["last_affected"]):
                    inside = False
            if inside:
                return True
    except InvalidVersion:
        return False
    return False


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read; the rest is room."""

    _fields_ = [
        ("modes", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_char * 256),
    ]


def describe_clock() -> dict[str, Any]:
    """Whether something keeps the kernel's clock, and by how much it may be wrong."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        return {"unmeasured": f"adjtimex: {os.strerror(ctypes.get_errno())}."}
    return {"synchronized": not timex.status & 0x40 and state != 5, "max_error_ms": timex.maxerror / 1000}


def list_open_secrets(home: str, *patterns: str) -> dict[str, Any]:
    """Files of secrets that their group or others may read."""
    count, readable = 0, []
    for pattern in patterns:
        for path in sorted(Path(home).glob(pattern))[:1000]:
            try:
                status = path.lstat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                count += 1
                if status.st_mode & 0o077:
                    readable.append(f"{path} ({stat.S_IMODE(status.st_mode):04o})")
    return {"count": count, "open": readable}


PROBES = {
    "python": describe_python,
    "wheel_tags": list_wheel_tags,
    "requirements": check_requirements,
    "pins": compare_pins,
    "records": verify_records,
    "torch": test_torch,
    "onnxruntime": test_onnxruntime,
    "tvm": describe_tvm,
    "modules": find_missing_modules,
    "vulnerabilities": find_vulnerabilities,
    "clock": describe_clock,
    "secret_files": list_open_secrets,
}
