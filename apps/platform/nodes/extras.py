"""What a node may have beyond the core: what only some kinds of job need. Looked for without importing any of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec

from deepseek.partitions.spec import CLUSTER_EXTRA

COLLECT, BROWSER, SCRIPTS, LANGUAGE, ONNX = "collect", "collect-browser", "scripts", "language", "onnx"
FEDERATION = "federation"
SCALE = "scale"  # Dask, which carries the partitions of a table over nodes
CLUSTER = CLUSTER_EXTRA  # knows a Dask cluster of its operator
SERVING = "serving"  # offers to serve models
GANG = "gang"  # may take part in jobs over several nodes; the worker finds it out (workers/isolation.py)
ENGINE_PATH = "/usr/local/bin:/usr/bin:/bin"  # of the process that will run them, whatever the worker's is
CHROMIUM = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")

MISSING = {
    COLLECT: "pip install 'deepseek-offline[collect]', and COLLECT_HOSTS in the worker's environment",
    BROWSER: "the packages chromium and chromium-driver beside deepseek-offline[collect]",
    LANGUAGE: "pip install 'deepseek-offline[language]'",
    FEDERATION: "pip install 'deepseek-offline[federation]'",
    ONNX: "pip install 'deepseek-offline[onnx]'",
    SCALE: "pip install 'deepseek-offline[scale]'",
    CLUSTER: "pip install 'deepseek-offline[scale]', and CLUSTER_ADDRESS in the worker's environment",
    SERVING: "pip install fastapi uvicorn, and ENDPOINT_PORTS in the worker's environment",
    GANG: "root's rights, iproute2 and nftables",
    SCRIPTS: "what its page names under Isolation, or SCRIPT_SANDBOX=off in its environment",
}
"""What gives a node each of them."""


def describe_remedy(extra: str) -> str:
    """What gives a node the extra, in words; of the environment of a script its setting."""
    kind, _, name = extra.partition(":")
    if kind == SCRIPTS and name:
        return f"an environment {name} in SCRIPT_ENVIRONMENTS that its page lists as usable"
    return MISSING.get(extra, extra)


def name_environment_extra(name: str) -> str:
    """The extra of a node that has the environment of this name for scripts."""
    return f"{SCRIPTS}:{name}"


def detect_extras(
    collect_hosts: Sequence[str], *, runs_scripts: bool = False, environments: Sequence[str] = ()
) -> list[str]:
    """The extras of this machine, sorted. A node whose own list of hosts is empty collects nothing.

    `runs_scripts`: whether it may run code of users; `environments`: the names of the environments it has for them.
    """
    extras = [SCRIPTS, *map(name_environment_extra, environments)] if runs_scripts else []
    if find_spec("transformers") and find_spec("peft"):
        extras.append(LANGUAGE)
    if find_spec("onnx") and find_spec("onnxscript") and find_spec("onnxruntime"):
        extras.append(ONNX)
    if find_spec("nvflare") and find_spec("opacus"):
        extras.append(FEDERATION)
    if find_spec("distributed"):
        extras.append(SCALE)
    if collect_hosts and find_spec("scrapy") and find_spec("selenium"):
        extras.append(COLLECT)
        if any(is_executable(name) for name in CHROMIUM) and is_executable("chromedriver"):
            extras.append(BROWSER)
    return sorted(extras)


def is_executable(program: str) -> bool:
    return os.access(program, os.X_OK) if "/" in program else shutil.which(program, path=ENGINE_PATH) is not None
