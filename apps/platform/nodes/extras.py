"""What a node may have beyond the core: what only some kinds of job need. Looked for without importing any of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec

COLLECT, BROWSER = "collect", "collect-browser"
GANG = "gang"  # may take part in jobs over several nodes; the worker finds it out (workers/isolation.py)
ENGINE_PATH = "/usr/local/bin:/usr/bin:/bin"  # of the process that will run them, whatever the worker's is
CHROMIUM = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")

MISSING = {
    COLLECT: "pip install 'deepseek-offline[collect]', and COLLECT_HOSTS in the worker's environment",
    BROWSER: "the packages chromium and chromium-driver beside deepseek-offline[collect]",
    GANG: "root's rights, iproute2 and nftables",
}
"""What gives a node each of them."""


def detect_extras(collect_hosts: Sequence[str]) -> list[str]:
    """The extras of this machine, sorted. A node whose own list of hosts is empty collects nothing."""
    extras = []
    if collect_hosts and find_spec("scrapy") and find_spec("selenium"):
        extras.append(COLLECT)
        if any(is_executable(name) for name in CHROMIUM) and is_executable("chromedriver"):
            extras.append(BROWSER)
    return sorted(extras)


def is_executable(program: str) -> bool:
    return os.access(program, os.X_OK) if "/" in program else shutil.which(program, path=ENGINE_PATH) is not None
