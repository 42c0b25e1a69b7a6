"""Python: the interpreter, what is installed in it, and whether its libraries compute."""

from __future__ import annotations

import re
from datetime import date

from deepseek.doctor.conflict_rules import parse_version
from deepseek.doctor.findings import Finding, NotApplicable, Unmeasured, failed, grade, passed, warned
from deepseek.doctor.groups.system import read_today
from deepseek.doctor.host import HEAVY_SECONDS, Host
from deepseek.doctor.nvidia import probe_torch, require_gpu
from deepseek.doctor.rules import Rule

PIP_FILES = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf", "/root/.config/pip/pip.conf", "/root/.pip/pip.conf")


def check_version(host: Host, rule: Rule) -> Finding:
    version = str(host.probe("python")["version"])
    if parse_version(version) < parse_version(rule.text("min_version")):
        return failed(f"Python is {version}; at least {rule.text('min_version')} is needed.")
    tested = rule.texts("tested")
    is_tested = version.rpartition(".")[0] in tested
    return (
        passed(f"Python is {version}.")
        if is_tested
        else warned(f"Python is {version}; tested are {', '.join(tested)}.")
    )


def check_environment(host: Host, rule: Rule) -> Finding:
    answer = host.probe("python")
    if answer["writable_by_others"]:
        return failed(f"Others may write {', '.join(answer['writable_by_others'][:3])}: they can change what jobs run.")
    if not answer["is_virtual"]:
        return warned(f"Python runs from {answer['prefix']}, which is no virtual environment.")
    return passed(f"{answer['prefix']} is a virtual environment that only its owner writes.")


def list_indexes(host: Host) -> list[tuple[str, str]]:
    """(where it is set, address) of every package index that pip or uv would ask."""
    indexes = []
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL"):
        indexes += [(name, url) for url in host.environment.get(name, "").split()]
    for path in PIP_FILES:
        for line in (host.read(path) or "").splitlines():
            if match := re.match(r"\s*(?:extra-)?index-url\s*=\s*(\S+)", line):
                indexes.append((path, match[1]))
    return indexes


def check_index(host: Host, rule: Rule) -> Finding:
    indexes = list_indexes(host)
    if not indexes:
        if host.environment.get("PIP_NO_INDEX"):
            return passed("pip asks no index (PIP_NO_INDEX).")
        return warned("No index is set: pip would ask the public one.")
    outside = [f"{url} in {where}" for where, url in indexes if re.search("|".join(rule.texts("outside_hosts")), url)]
    if outside:
        return failed(f"An index outside is set: {', '.join(outside)}.")
    urls = {url for _, url in indexes}
    if len(urls) > 1:
        return warned(f"Several indexes are set: {', '.join(sorted(urls))}; a name could come from either.")
    url = urls.pop()
    answer = host.probe("fetch", url.rstrip("/") + "/")
    if answer["status"] != 200:
        return failed(f"The index {url} does not answer: {answer['error'] or answer['status']}.")
    return passed(f"The index {url} answers and is the only one.")


def check_pins(host: Host, rule: Rule) -> Finding:
    path = host.environment.get("PIP_CONSTRAINT") or rule.text("constraints")
    answer = host.probe("pins", path)
    if answer["wrong"]:
        return warned(
            f"{len(answer['wrong'])} packages differ from {answer['path']}: {', '.join(answer['wrong'][:6])}."
        )
    return passed(f"{answer['count']} packages are as {answer['path']} pins them.")


def check_requirements(host: Host, rule: Rule) -> Finding:
    answer = host.probe("requirements", seconds=HEAVY_SECONDS)
    if answer["ours"]:
        return failed(f"Not met: {'; '.join(answer['ours'][:5])}.")
    if answer["others"]:
        return warned(f"Not met, of packages that deepseek-offline does not need: {'; '.join(answer['others'][:5])}.")
    return passed(f"The requirements of {answer['count']} packages are met.")


def check_records(host: Host, rule: Rule) -> Finding:
    answer = host.probe("records", f"{rule.number('budget_seconds'):g}", seconds=HEAVY_SECONDS)
    if answer["changed"]:
        return failed(f"Changed since they were installed: {', '.join(answer['changed'][:5])}.")
    why = f"{answer['hashed']} of {answer['files']} installed files have their hash, the others their size"
    if answer["scripts"]:
        return warned(f"{why}; scripts that differ: {', '.join(answer['scripts'][:5])}.")
    if answer["absent"]:
        return warned(f"{why}; missing: {', '.join(answer['missing'][:5])}.")
    return passed(f"{why}.")


def check_torch_cuda(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    answer = probe_torch(host)
    if not answer["cuda"]:
        return failed(f"torch {answer['version']} is built for the CPU only.")
    if not answer["cuda_available"]:
        return failed(f"torch {answer['version']} for CUDA {answer['cuda']} sees no GPU.")
    foreign = [arch for arch in answer["capabilities"] if not is_supported(arch, answer["arch_list"])]
    if foreign:
        return failed(
            f"torch {answer['version']} has no kernels for {', '.join(foreign)}: {', '.join(answer['arch_list'])}."
        )
    return passed(f"torch {answer['version']} for CUDA {answer['cuda']} sees {answer['gpus']} GPUs.")


def is_supported(capability: str, arch_list: list[str]) -> bool:
    """Whether kernels for `sm_86` are there: of its own kind, of an older one of the same major, or as PTX."""
    major, minor = int(capability[3:-1]), int(capability[-1])
    for arch in arch_list:
        kind, _, number = arch.rstrip("af").partition("_")
        of_major, of_minor = int(number[:-1]), int(number[-1])
        if kind == "compute" and (of_major, of_minor) <= (major, minor):
            return True
        if kind == "sm" and of_major == major and of_minor <= minor:
            return True
    return False


def check_torch_cpu(host: Host, rule: Rule) -> Finding:
    answer = probe_torch(host)
    if answer["error"] > rule.number("max_error"):
        return failed(f"A gradient of torch {answer['version']} is wrong by {answer['error']:.2g}.")
    return passed(f"torch {answer['version']} computes a forward and a backward pass on the CPU.")


def check_torch_distributed(host: Host, rule: Rule) -> Finding:
    answer = probe_torch(host)
    backends = list(rule.texts("backends")) + (rule.texts("gpu_backends") if answer["cuda_available"] else [])
    lacking = [name for name in backends if name not in answer["backends"]]
    if lacking:
        return failed(f"torch.distributed lacks {', '.join(lacking)}.")
    return passed(f"torch.distributed has {', '.join(answer['backends'])}.")


def check_onnxruntime(host: Host, rule: Rule) -> Finding:
    answer = host.probe("onnxruntime", seconds=HEAVY_SECONDS)
    if not answer["right"]:
        return failed(f"ONNX Runtime {answer['version']} gives a wrong result: {answer['error']}")
    return passed(f"ONNX Runtime {answer['version']} runs a session on {', '.join(answer['providers'])}.")


def check_tvm(host: Host, rule: Rule) -> Finding:
    answer = host.probe("tvm", seconds=HEAVY_SECONDS)
    if not answer["llvm"]:
        return failed(f"TVM {answer['version']} is built without LLVM: nothing can be compiled.")
    pinned = rule.text("ffi_series")
    if not str(answer["ffi"]).startswith(pinned):
        return warned(f"TVM {answer['version']} with its ffi {answer['ffi']}; {pinned} is tested.")
    return passed(f"TVM {answer['version']} has LLVM {answer['llvm']} and ffi {answer['ffi']}.")


def check_extras(host: Host, rule: Rule) -> Finding:
    claimed = [str(name).partition(":")[0] for name in host.registered.get("extras") or ()]
    if not claimed:
        raise NotApplicable("The node is not registered with any extra, or the plane was not asked.")
    needs = {row.split()[0]: row.split()[1:] for row in rule.texts("modules")}
    names = sorted({name for extra in claimed for name in needs.get(extra, [])})
    missing = host.probe("modules", *names)["absent"] if names else []
    if missing:
        return failed(f"Registered with {', '.join(sorted(set(claimed)))}, and missing: {', '.join(missing)}.")
    return passed(f"What {', '.join(sorted(set(claimed)))} need is installed.")


def check_vulnerabilities(host: Host, rule: Rule) -> Finding:
    path = rule.text("feed")
    if not path:
        raise NotApplicable("No vulnerability feed is named: set [py.vulns] feed to a file of OSV records.")
    answer = host.probe("vulnerabilities", path, seconds=HEAVY_SECONDS)
    try:
        age = (read_today(host) - date.fromisoformat(answer["newest"][:10])).days
    except ValueError:
        raise Unmeasured(f"The feed {path} has no record with a date.") from None
    if answer["vulnerable"]:
        return failed(f"{len(answer['vulnerable'])} known vulnerabilities: {', '.join(answer['vulnerable'][:5])}.")
    why = f"No installed package is in {answer['records']} records, the newest {age} days old."
    return grade(age, why, warn=rule.number("warn_days"), fail=rule.number("fail_days"))


CHECKS = {
    "py.version": check_version,
    "py.venv": check_environment,
    "py.index": check_index,
    "py.pins": check_pins,
    "py.check": check_requirements,
    "py.record": check_records,
    "py.torch_cuda": check_torch_cuda,
    "py.torch_cpu": check_torch_cpu,
    "py.torch_dist": check_torch_distributed,
    "py.onnxruntime": check_onnxruntime,
    "py.tvm": check_tvm,
    "py.extras": check_extras,
    "py.vulns": check_vulnerabilities,
}
