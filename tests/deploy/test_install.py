"""docs/install.md, run whole with the index cut off: prove_install.py says how, this says what has to come of it.

Wants the folder of `make site`, named by PLANE_SITE: .ci/run makes one. Installing half a gigabyte takes its time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT
from tests.deploy.conftest import need_namespaces
from tests.deploy.prove_install import steps_of
from tests.docs.walkthrough import pattern_of

STEPS = steps_of(ROOT / "docs/install.md")
SHOWN = [number for number, (_, shown) in enumerate(STEPS) if shown]
SITE = os.environ.get("PLANE_SITE", "")


def test_the_page_shows_what_its_blocks_print():
    assert len(STEPS) >= 7
    assert len(SHOWN) >= len(STEPS) - 2


@pytest.fixture(scope="module")
def proof() -> dict:
    if not SITE:
        pytest.skip("needs a folder to carry: `make site`, then PLANE_SITE=dist/site")
    need_namespaces("nginx", "redis-server", "openssl", "curl", "setpriv", "runuser", "useradd")
    work = Path(tempfile.mkdtemp(prefix="plane-install-"))  # not below pytest's folders, which others may not enter
    work.chmod(0o755)
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    command = [*apart, sys.executable, str(ROOT / "tests/deploy/prove_install.py"), SITE, str(work)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1000)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
        return json.loads(done.stdout.splitlines()[-1])
    finally:
        shutil.rmtree(work, ignore_errors=True)


@pytest.mark.xdist_group("deploy")
def test_the_host_has_no_network(proof):
    assert proof["links"] == ["lo"]


@pytest.mark.xdist_group("deploy")
@pytest.mark.parametrize("number", SHOWN)
def test_a_block_prints_what_the_page_shows(proof, number):
    assert pattern_of(STEPS[number][1]).search(proof["printed"][number]), proof["printed"][number]


@pytest.mark.xdist_group("deploy")
def test_the_plane_runs_from_the_wheel(proof):
    assert proof["printed"][-1].strip().startswith("/opt/plane/lib/")
