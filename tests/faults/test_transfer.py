"""Two planes that know nothing of each other, and a folder that is carried between them: a model that was built on one
is approved and released on the other. Everything by the command line; workers are killed on the way."""

from __future__ import annotations

import io
import json
import shutil
import signal
import time

import pytest

from controlplane.rest_client import PlaneClient
from tests.deepseek.conftest import call_main
from tests.faults.conftest import start_plane

pytestmark = pytest.mark.once_on_sqlite  # what is in the database is tested beside it
SCOPES = "read,data:write,models:write,bundles:write"
MODEL = "from tests.faults.served_models import register\nprint(register('oil', 1))"
TOKEN = """
import io, json
from django.core.management import call_command
out = io.StringIO()
call_command("create_token", {0!r}, "--project", "demo", "--scopes", {1!r}, stdout=out)
print(json.dumps(out.getvalue().strip()))
"""
PASSWORD = "correct horse battery"


class Side:
    """One plane and its people."""

    def __init__(self, folder, template, services):
        self.running = start_plane(folder / "home", template, services)
        self.folder, address = folder, self.running.facts()["address"]
        engineer, approver = self.make_token("engineer", SCOPES), self.make_token("approver", "read,approvals:decide")
        self.engineer, self.approver = (PlaneClient(address, token, "demo") for token in (engineer, approver))
        self.environment = {"DEEPSEEK_URL": address, "DEEPSEEK_TOKEN": engineer, "HOME": str(folder)}

    def make_token(self, person, scopes):
        return self.running.ask(TOKEN.format(person, scopes))

    def run(self, *words):
        done = call_main([str(word) for word in words], self.folder, self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def approve(self, number):
        facts = self.approver.get(f"/approvals/{number}")["facts_digest"]
        body = {"facts_digest": facts, "reason": "Compared."}
        assert self.approver.post(f"/approvals/{number}/approve", body)["state"] == "approved"

    def kill_worker(self):
        """kill -9; the launcher starts another one, which looks for what is due."""
        self.running.part("worker").send_signal(signal.SIGKILL)

    def wait_for(self, path, state, seconds=240):
        deadline = time.monotonic() + seconds
        while (row := self.engineer.get(path))["state"] != state:
            assert time.monotonic() < deadline, row
            time.sleep(0.5)
        return row


@pytest.fixture
def sides(tmp_path, template, services):
    made = []
    try:
        for name in ("source", "target"):
            (tmp_path / name).mkdir()
            made.append(Side(tmp_path / name, template, services))
        yield made
    finally:
        for side in made:
            side.running.kill_everything()


def test_a_model_built_on_one_plane_is_released_on_the_other(sides, tmp_path, monkeypatch):
    source, target = sides
    usb = tmp_path / "usb"
    usb.mkdir()
    source.running.ask(MODEL)
    target.run("bundle", "inventory", "-o", usb / "inventory.json")
    body = {"contents": ["model/oil:v1"], "volume_bytes": 1 << 20}
    body["inventory"] = json.loads(
        source.engineer.fetch("/artifacts", (usb / "inventory.json").read_bytes(), method="POST", headers=OCTETS)
    )["digest"]
    number = source.engineer.post("/bundles", body)["id"]
    source.kill_worker()
    source.wait_for(f"/bundles/{number}", "built")
    source.run("bundle", "build", "--bundle", number, "-o", usb / "bundle")
    for person in ("ada", "bo"):
        keygen = ("keygen", tmp_path / person, "--person", person)
        for words in (keygen, ("sign", usb / "bundle", "--key", tmp_path / person)):
            monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
            source.run("bundle", *words)
    carried = shutil.copytree(usb / "bundle", target.folder / "carried")
    plane = json.loads((carried / "bundle.json").read_bytes())["source"]
    for person in ("ada", "bo"):
        signer = (tmp_path / f"{person}.pub.json").read_text()
        target.approve(target.engineer.post("/bundle-signers", {"source": plane, "signer": signer})["approval"])
    printed = target.run("bundle", "apply", carried)
    assert "new      model_version oil" in printed
    received = target.engineer.get("/received-bundles")["items"][0]
    target.approve(int(next(line.split()[-1] for line in printed.splitlines() if line.startswith("approval"))))
    target.kill_worker()
    target.wait_for(f"/received-bundles/{received['id']}", "applied")
    version = target.engineer.get("/models/oil/versions/1")
    assert version["digest"] == source.engineer.get("/models/oil/versions/1")["digest"]
    assert version["aliases"] == []
    graph = target.engineer.get(f"/lineage?type=model_version&id={version['id']}&direction=up&depth=9")
    assert {"foreign_job", "source", "variant"} <= {node["type"] for node in graph["nodes"]}
    target.approve(target.engineer.post("/models/oil/versions/1/promote", {"comment": "please"})["id"])
    release = {"model": "oil", "version": 1, "variant": "fp32", "without_samples": True}
    assert target.engineer.post("/releases", release)["id"]
    replayed = call_main(["bundle", "apply", str(carried)], target.folder, target.environment)
    assert (replayed.returncode, "applied" in replayed.stdout) == (0, True)  # it says that it was, and sends nothing


OCTETS = {"Content-Type": "application/octet-stream"}
