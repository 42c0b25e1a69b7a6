"""A node and a running plane in one network namespace: the policy is fetched and applied, and its proof is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.homes import prepare_home
from tests.workers.test_veth_link import IP, NFT, Space

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (os.geteuid() == 0 and IP and NFT), reason="needs root, iproute2 and nftables: .ci/run installs both"
    ),
]
ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 300.0  # seconds until a plane answers
KEPT_OUT = ("DATABASE_URL", "BROKER_URL", "S3_ENDPOINT_URL")
PREPARE = """
import django
django.setup()
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import User
from apps.platform.nodes.health.services import issue_node_token
from apps.platform.nodes.models import Node
from apps.site.isolation.services import set_policy
security = build_actor_for_user(User.objects.get(username="secadmin"))
set_policy(actor=security, document={"networks": ["10.79.0.0/24"]}, reason="a start")
admin = build_actor_for_user(User.objects.get(username="sysadmin"))
print(issue_node_token(actor=admin, node=Node.objects.create(name="gpu-01", host="gpu-01", cpus=4, memory_bytes=2**33)))
"""
READ = """
import django
django.setup()
from apps.site.isolation.queries import get_proof
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import User
(proof,) = get_proof(build_actor_for_user(User.objects.get(username="sysadmin"))).nodes
print(proof.status, proof.has_policy)
"""


class LivePlane:
    """The web process of a plane, on the loopback of a namespace whose default route leads to a card without a peer."""

    def __init__(self, home: Path) -> None:
        self.home, self.space = home, Space()
        kept = {name: value for name, value in os.environ.items() if name not in KEPT_OUT}
        self.environment = {**kept, "PLANE_HOME": str(home), "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
        self.environment |= {"PYTHONPATH": str(ROOT), "PORT": "0", "WEB_WORKERS": "1"}
        self.up: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for words in (
            "link set lo up",
            "link add lan0 type veth peer name nowhere",
            "address add 10.79.0.1/24 dev lan0",
            "link set lan0 up",
            "link set nowhere up",
            "neigh add 10.79.0.2 lladdr 02:00:00:00:00:02 dev lan0",
            "route add default via 10.79.0.2 dev lan0",
        ):
            self.space.run(IP, *words.split())
        prepare_home(self.environment)
        self.token = self.run_code(PREPARE)
        command = [sys.executable, "manage.py", "up", "--no-migrate", "--only", "web"]
        with (self.home / "up.log").open("wb") as log:
            self.up = subprocess.Popen(self.enter(command), cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        deadline, facts = time.monotonic() + PATIENCE, self.home / "plane.json"
        while not facts.exists():
            assert self.up.poll() is None, (self.home / "up.log").read_text()
            assert time.monotonic() < deadline, (self.home / "up.log").read_text()
            time.sleep(0.1)
        self.address = json.loads(facts.read_text())["address"]

    def enter(self, command: list[str]) -> list[str]:
        return ["nsenter", "-t", self.space.pid, "-n", *command]

    def run_code(self, code: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def isolate(self, *words: str) -> subprocess.CompletedProcess[str]:
        state = ["--state", str(self.home / "state"), "--plane", self.address, "--node", "gpu-01"]
        command = self.enter([sys.executable, "-m", "deepseek.cli", "isolate", *words, *state])
        environment = self.environment | {"DEEPSEEK_TOKEN": self.token}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)

    def stop(self) -> None:
        if self.up is not None:
            self.up.terminate()
            self.up.wait(PATIENCE)
        self.space.holder.kill()
        self.space.holder.wait()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[LivePlane]:
    home = tmp_path / "home"
    home.mkdir()
    plane = LivePlane(home)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


def test_a_node_applies_the_policy_of_its_plane_and_sends_the_proof(plane):
    open_machine = plane.isolate("verify", "--send")
    assert (open_machine.returncode, "as report 1" in open_machine.stderr) == (1, True), open_machine.stderr
    assert plane.run_code(READ) == "passed False"
    applied = plane.isolate("apply", "--from-plane", "--watch", "1")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "ip daddr 10.79.0.0/24 accept" in plane.space.run(NFT, "list", "ruleset")
    proven = plane.isolate("verify", "--send")
    assert (proven.returncode, "as report 2" in proven.stderr) == (0, True), proven.stdout + proven.stderr
    assert plane.run_code(READ) == "refused True"
