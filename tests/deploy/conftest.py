from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

SLOW = {"wheel", "cable", "proof"}
"""Fixtures that build, install or start whole hosts. They bring database and broker of their own, so of the two runs
of the suite one is enough."""


def pytest_collection_modifyitems(items):
    again = os.environ.get("DATABASE_URL", "").startswith("postgres")
    for item in items:
        if "tests/deploy" in str(item.path) and SLOW & set(getattr(item, "fixturenames", ())):
            # Else each process would build a wheel of its own. What joins a network to this machine's runs not beside
            # the browser: Chromium gives every request up when an address comes or goes.
            item.add_marker(pytest.mark.xdist_group("browser" if "cable" in item.fixturenames else "deploy"))
            if again:
                item.add_marker(
                    pytest.mark.skip(reason="brings its own services: done in the run without DATABASE_URL")
                )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Our own wheel, built from a copy of what the repository ships: a build leaves folders behind."""
    copy, out = tmp_path_factory.mktemp("source") / "plane", tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", str(out), str(copy)], check=True)
    return next(out.glob("*.whl"))


def need_namespaces(*programs: str) -> None:
    """Skip, with the reason, where a test cannot have namespaces of its own or lacks a program."""
    if os.getuid() != 0:
        pytest.skip("needs root: it makes namespaces, mounts and users of its own")
    try_out = ["unshare", "--net", "--mount", "--pid", "--fork", "--propagation", "private", "true"]
    if shutil.which("unshare") is None or subprocess.run(try_out, capture_output=True).returncode:
        pytest.skip("this kernel, or the container around the tests, lets nobody make namespaces")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: .ci/run installs it")
