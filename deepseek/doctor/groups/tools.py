"""Compilers, emulators, browsers and Git: what some kinds of job start."""

from __future__ import annotations

import re

from deepseek.doctor.conflict_rules import parse_version
from deepseek.doctor.findings import Finding, NotApplicable, failed, passed, warned
from deepseek.doctor.host import Host
from deepseek.doctor.nvidia import probe_torch, require_gpu
from deepseek.doctor.rules import Rule


def check_compiler(host: Host, rule: Rule) -> Finding:
    """A program is compiled and linked; one for this machine is run too."""
    compiler = rule.text("compiler")
    answer = host.probe("compile", compiler, "run" if rule.id == "cc.c" else "link")
    if answer["error"]:
        return failed(f"{compiler} does not make a program: {answer['error']}")
    return passed(f"{compiler} {answer['version']} links a program.")


def check_emulator(host: Host, rule: Rule) -> Finding:
    answer = host.probe("emulate", rule.text("emulator"), rule.text("compiler"))
    if answer["error"]:
        return failed(f"{rule.text('emulator')} does not run an ARM program: {answer['error']}")
    return passed(f"{rule.text('emulator')} runs an ARM program.")


def check_nvcc(host: Host, rule: Rule) -> Finding:
    require_gpu(host)
    match = re.search(r"release (\d+\.\d+)", host.run_tool("nvcc", "--version").stdout)
    built = str(probe_torch(host)["cuda"] or "")
    if match is None or not built:
        raise NotApplicable("nvcc names no release, or torch is built for the CPU only.")
    if parse_version(match[1])[:1] != parse_version(built)[:1]:
        return warned(f"nvcc is of CUDA {match[1]}, torch of {built}: extensions do not load.")
    return passed(f"nvcc is of CUDA {match[1]}, torch of {built}.")


def check_browser(host: Host, rule: Rule) -> Finding:
    versions = {}
    for name in ("chromium", "chromedriver"):
        output = host.run(name, "--version")
        match = re.search(r"(\d{1,5})\.\d{1,5}\.\d", output.stdout)
        if not output.is_missing and match:
            versions[name] = int(match[1])
    claimed = any("browser" in str(name) for name in host.registered.get("extras") or ())
    if not versions and not claimed:
        raise NotApplicable("This node collects nothing with a browser.")
    if len(versions) < 2:
        return failed(f"Only {', '.join(versions) or 'neither'} of chromium and chromedriver is here.")
    if len(set(versions.values())) > 1:
        return failed(f"Chromium is {versions['chromium']}, chromedriver {versions['chromedriver']}.")
    return passed(f"Chromium and chromedriver are {versions['chromium']}.")


def check_git(host: Host, rule: Rule) -> Finding:
    git, lfs = host.run("git", "--version"), host.run("git", "lfs", "version")
    match = re.search(r"(\d{1,5}\.\d{1,5}(?:\.\d{1,5})?)", git.stdout)
    if git.is_missing or match is None:
        return failed("git is not installed.")
    if parse_version(match[1]) < parse_version(rule.text("min_version")):
        return failed(f"git is {match[1]}; at least {rule.text('min_version')} is needed.")
    if lfs.code:
        return warned(f"git is {match[1]}, and git-lfs is not installed: large files stay pointers.")
    return passed(f"git {match[1]} and {lfs.stdout.split()[0].replace('/', ' ')}.")


CHECKS = {
    "cc.c": check_compiler,
    "cc.aarch64": check_compiler,
    "cc.qemu": check_emulator,
    "cc.nvcc": check_nvcc,
    "cc.browser": check_browser,
    "cc.git": check_git,
}
