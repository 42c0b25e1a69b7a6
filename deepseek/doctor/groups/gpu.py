"""GPUs and their driver: present, loaded, allowed and set up as registered."""

from __future__ import annotations

from deepseek.doctor.conflict_rules import parse_version
from deepseek.doctor.findings import Finding, failed, passed, warned
from deepseek.doctor.groups.memory import render_size
from deepseek.doctor.host import HEAVY_SECONDS, Host
from deepseek.doctor.nvidia import MODULE_VERSION, probe_torch, read_gpu_document, read_gpus, require_gpu
from deepseek.doctor.rules import Rule

MIB = 1 << 20


def check_count(host: Host, rule: Rule) -> Finding:
    on_bus = len(require_gpu(host))
    registered = len(host.registered.get("gpus") or ()) or int(rule.number("expected"))
    listed = len(read_gpus(host))
    why = f"{on_bus} GPUs are on the PCI bus, the driver lists {listed}"
    if listed != on_bus:
        return failed(f"{why}.")
    if registered and listed != registered:
        return failed(f"{why}; {registered} are registered.")
    return passed(f"{why}.")


def check_model(host: Host, rule: Rule) -> Finding:
    names = [gpu.text("product_name") for gpu in read_gpus(host)]
    registered = [str(gpu.get("name", "")) for gpu in host.registered.get("gpus") or ()]
    if registered and sorted(names) != sorted(registered):
        return failed(f"The GPUs are {', '.join(names)}; registered are {', '.join(registered)}.")
    if len(set(names)) > 1:
        return warned(f"The GPUs differ: {', '.join(names)}. A job over several is as slow as the slowest.")
    return passed(f"{len(names)} x {names[0]}.")


def check_driver(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    version = host.read(MODULE_VERSION)
    if version is None:
        return failed("The kernel module nvidia is not loaded.")
    if parse_version(version) < parse_version(rule.text("min_version")):
        return failed(f"The driver is {version}; at least {rule.text('min_version')} is needed.")
    output = host.run("nvidia-smi", "-q", "-x", seconds=12)
    if output.code:
        return failed(f"The driver {version} is loaded, and nvidia-smi fails: {output.describe_failure()}")
    return passed(f"The driver {version} is loaded and answers.")


def check_nouveau(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    loaded = [name for name in rule.texts("modules") if host.has(f"/sys/module/{name}")]
    if loaded:
        return failed(f"Loaded beside or instead of NVIDIA's driver: {', '.join(loaded)}.")
    return passed("No other driver holds the GPUs.")


def check_device_nodes(host: Host, rule: Rule) -> Finding:
    count = len(require_gpu(host))
    names = [*rule.texts("control_nodes"), *(f"nvidia{index}" for index in range(count))]
    nodes = host.probe("device_nodes", *(f"/dev/{name}" for name in names))["nodes"]
    bad = [f"{path}: {problem}" for path, problem in nodes.items() if problem]
    if bad:
        return failed(f"Not usable by this user: {'; '.join(bad)}.")
    return passed(f"{len(nodes)} device nodes can be opened, and no cgroup refuses them.")


def check_nvml(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    library, module = str(host.probe("nvml")["version"]), host.read(MODULE_VERSION) or "not loaded"
    if library != module:
        return failed(
            f"The library NVML is {library}, the kernel module {module}: the driver was changed without a reboot."
        )
    return passed(f"NVML loads and is {library}, as the kernel module.")


def check_libcuda(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    answer = host.probe("libcuda", seconds=HEAVY_SECONDS)
    if answer["status"]:
        return failed(f"libcuda loads, and cuInit gives error {answer['status']}.")
    return passed(f"libcuda loads from {answer['path']} and sees {answer['devices']} GPUs.")


def check_cuda_minimum(host: Host, rule: Rule) -> Finding:
    offered = read_gpu_document(host).findtext("cuda_version") or ""
    built = str(probe_torch(host)["cuda"] or "")
    why = f"The driver offers CUDA {offered or 'nothing'}; torch is built for {built or 'CPU only'}"
    if parse_version(offered) < parse_version(rule.text("min_version")):
        return failed(f"{why}; at least {rule.text('min_version')} is needed.")
    if not built:
        return failed(f"{why}: it cannot use the GPU.")
    # Since CUDA 11 a driver of the same major version runs what a newer minor was built for.
    if parse_version(offered)[:1] < parse_version(built)[:1]:
        return failed(f"{why}: the driver is too old.")
    return (
        warned(f"{why}: kernels are compiled anew.")
        if parse_version(offered) < parse_version(built)
        else passed(f"{why}.")
    )


def check_forward_compatibility(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    answer, module = host.probe("libcuda", seconds=HEAVY_SECONDS), host.read(MODULE_VERSION) or ""
    path, version = str(answer["path"]), str(answer["library_version"])
    if "/compat/" not in path:
        return passed(f"libcuda is the driver's own ({path}).")
    if parse_version(version) <= parse_version(module):
        return failed(f"{path} is of {version}, older than the driver {module}: it hides the newer one.")
    return warned(f"{path} of {version} stands in for the driver {module}.")


def check_memory(host: Host, rule: Rule) -> Finding:
    sizes = {gpu.name: (gpu.number("fb_memory_usage/total") or 0) * MIB for gpu in read_gpus(host)}
    small = [f"{name} {render_size(size)}" for name, size in sizes.items() if size < rule.number("min_bytes")]
    if small:
        return failed(f"Less than {render_size(rule.number('min_bytes'))}: {', '.join(small)}.")
    return passed(f"{', '.join(f'{name} {render_size(size)}' for name, size in sizes.items())}.")


def check_persistence(host: Host, rule: Rule) -> Finding:
    off = [gpu.name for gpu in read_gpus(host) if gpu.text("persistence_mode") != "Enabled"]
    if off:
        return warned(f"Persistence mode is off on {', '.join(off)}: the first job after a pause waits for the driver.")
    return passed("Persistence mode is on.")


def check_mode(host: Host, rule: Rule) -> Finding:
    problems = []
    for gpu in read_gpus(host):
        mig, pending = gpu.text("mig_mode/current_mig"), gpu.text("mig_mode/pending_mig")
        compute = gpu.text("compute_mode")
        if mig and mig != rule.text("mig_mode"):
            problems.append(f"{gpu.name} has MIG {mig}, {rule.text('mig_mode')} is expected")
        if pending != mig:
            problems.append(f"{gpu.name} changes MIG to {pending} at its next reset")
        if compute not in rule.texts("compute_modes"):
            problems.append(f"{gpu.name} has the compute mode {compute}")
    return failed(f"{'; '.join(problems)}.") if problems else passed("MIG and compute mode are as expected.")


CHECKS = {
    "gpu.count": check_count,
    "gpu.model": check_model,
    "gpu.driver": check_driver,
    "gpu.nouveau": check_nouveau,
    "gpu.devnodes": check_device_nodes,
    "gpu.nvml": check_nvml,
    "gpu.libcuda": check_libcuda,
    "gpu.cuda_min": check_cuda_minimum,
    "gpu.compat": check_forward_compatibility,
    "gpu.memory": check_memory,
    "gpu.persistence": check_persistence,
    "gpu.mode": check_mode,
}
