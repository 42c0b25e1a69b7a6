"""The text's `pip install deepseek-offline ...` on a host that reaches the plane and nothing else (prove_index.py)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import parse_email
from packaging.requirements import Requirement

from tests.deploy.compose import ROOT
from tests.deploy.conftest import need_namespaces
from tests.package_files import build_wheel, write_sums


@pytest.fixture(scope="module")
def proof(wheel, tmp_path_factory) -> dict:
    """Our own wheel, and empty ones by the names of what it needs: the installation is of the index, not of PyTorch."""
    need_namespaces("ip", "nsenter")
    folder = tmp_path_factory.mktemp("wheels")
    shutil.copy(wheel, folder)
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata, _ = parse_email(archive.read(member))
    for requirement in map(Requirement, metadata["requires_dist"]):
        if requirement.marker is None:
            lowest = next(each.version for each in requirement.specifier if each.operator in (">=", "=="))
            build_wheel(folder, requirement.name, lowest)
    work = Path(tempfile.mkdtemp(prefix="plane-index-"))
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    command = [*apart, sys.executable, str(ROOT / "tests/deploy/prove_index.py"), str(write_sums(folder)), str(work)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
        return json.loads(done.stdout.splitlines()[-1])
    finally:
        shutil.rmtree(work, ignore_errors=True)


@pytest.mark.xdist_group("deploy")
def test_it_installs_what_the_text_says(proof):
    assert proof["trusted"] == 0, proof["output"]
    assert {"deepseek-offline", "torch", "numpy"} <= set(proof["installed"])
    assert proof["routes"] == ["10.88.0.0/24 dev lan1 proto kernel scope link src 10.88.0.2 "]


@pytest.mark.xdist_group("deploy")
def test_pip_asks_for_trust_in_a_host_without_tls(proof):
    """Why docs/packages.md names trusted-host."""
    assert proof["untrusted"] != 0
    assert "internal-repo" in proof["why"]
