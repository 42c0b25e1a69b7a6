"""Two planes in networks of their own that nothing joins, and a folder that is carried between them by hand.

A model is built on one, signed by two people, received, scanned and approved on the other, and answers there. All of it
by REST and the command line, as people do it; each command runs in the namespace of its plane.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import socket
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.deepseek.conftest import call_main
from tests.planes_in_namespaces import ARP, await_that, needs_namespaces, open_network

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.allow_hosts(["127.0.0.1", "10.83.0.1", "10.83.0.2"]),
    pytest.mark.xdist_group("browser"),
    needs_namespaces,
]
SCOPES = "read,data:write,jobs:write,models:write,bundles:write"
TABLE = "day,load,price\n" + "".join(f"{n},{n % 13},{50 + 10 * math.sin(n / 9) + n % 13}\n" for n in range(300))
TRAIN = {"task": "regression", "target": "price", "hidden": [8], "epochs": 3}
QUANTIZE = {"batches": [1], "runs": 20, "candidates": ["int8"]}
SOURCE, TARGET = "10.83.0.1", "10.83.0.2"
PASSWORD = "correct horse battery"
BUILT = {"bundle.request", "outgoingbundle.built"}
APPLIED = {"bundle_signer.propose", "bundle.receive", "bundle.check", "bundle.apply"}
ACTIONS = (
    "import json;from apps.platform.audit.models import AuditRecord as R;"
    "print(json.dumps(list(R.objects.values_list('action',flat=True).distinct())))"
)
TRAIL = """
import json
from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.verification import verify_trail
run_sealer_round(build_plane_actor(PlaneRole.DISPATCHER))
print(json.dumps(verify_trail(actor=build_plane_actor(PlaneRole.OPERATOR)).whole))
"""


class Side:
    """A plane, its people, and the folder that comes to its hosts."""

    def __init__(self, running, folder, network):
        self.running, self.folder, self.network = running, folder, network
        self.engineer = running.login("engineer", SCOPES)
        self.approver = running.login("approver", "read,approvals:decide")
        self.usb = folder / "usb"
        self.usb.mkdir()
        address, token = running.plane.address, self.engineer.token
        self.environment = {"DEEPSEEK_URL": address, "DEEPSEEK_TOKEN": token, "HOME": str(folder)}

    def call(self, *words):
        """`deepseek WORDS` on a machine of this side."""
        return self.running.namespace.call(call_main, [str(word) for word in words], self.folder, self.environment)

    def run(self, *words):
        done = self.call(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def approve(self, number):
        facts = self.approver.get(f"/approvals/{number}")["facts_digest"]
        body = {"facts_digest": facts, "reason": "Compared."}
        assert self.approver.post(f"/approvals/{number}/approve", body)["state"] == "approved"

    def serve(self, variant):
        """Promote version 1 by an approval, and let an endpoint answer with it."""
        self.approve(self.engineer.post("/models/price/versions/1/promote", {"comment": "please"})["id"])
        body = {"name": "price", "model": "price", "variant": variant, "nodes": [self.running.name], "replicas": 1}
        self.engineer.post("/endpoints", body)

    def predict(self, rows):
        await_that(lambda: self.engineer.get("/endpoints/price")["state"] == "serving", pause=0.3)
        answers = [self.engineer.post("/endpoints/price/predict", {"features": row}) for row in rows]
        assert {(each["status"], each["version"]) for each in answers} == {(200, "1")}, answers
        return [each["body"]["prediction"] for each in answers]

    def read_lineage(self, plane_id):
        """Edges that lead to version 1, each end by what it is called on the plane of this id."""
        version = self.engineer.get("/models/price/versions/1")
        graph = self.engineer.get(f"/lineage?type=model_version&id={version['id']}&direction=up&depth=12")
        assert not graph["truncated"]
        names = {(node["type"], node["id"]): name_end(node, plane_id) for node in graph["nodes"]}
        return {
            (names[edge["source_type"], edge["source_id"]], names[edge["target_type"], edge["target_id"]], edge["role"])
            for edge in graph["edges"]
            if edge["role"] != "bundle"
        }


def name_end(node, plane_id):
    """What has a digest is the same on both planes; a job has the number of the plane where it ran."""
    kind, number = node["type"], node["id"]
    if kind.startswith("foreign_"):
        plane, kind, number = number.split(".", 2)
        assert plane == plane_id[:12]
    return kind, number if kind in ("job", "run", "artifact", "source") else node["digest"]


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """(source, target): two bridges, so that there is no wire between them."""
    folder = tmp_path_factory.mktemp("two-planes")
    scanner = folder / "scanner"
    scanner.write_text(f'#!/bin/sh\necho "$@" >> {folder}/scanned\nls "$1" >> {folder}/scanned\nexit 0\n')
    scanner.chmod(0o755)
    settings = {"source": {}, "target": {"MALWARE_SCAN": "required", "MALWARE_SCAN_COMMAND": str(scanner)}}
    with ExitStack() as stack:
        folders = {name: folder / name for name in settings}
        for each in folders.values():
            each.mkdir()
        networks = {name: stack.enter_context(open_network(folders[name])) for name in settings}
        networks["source"].add_namespace("source", address=SOURCE)
        networks["target"].add_namespace("target", address=TARGET)
        with ThreadPoolExecutor(2) as threads:
            started = list(threads.map(lambda name: networks[name].start_planes(name, **settings[name]), settings))
        yield [Side(plane, folders[plane.name], networks[plane.name]) for (plane,) in started]


def test_nothing_gets_from_one_to_the_other(sides):
    source, target = (side.running.namespace for side in sides)
    address = (TARGET, 7001)
    with target.call(socket.create_server, address):
        target.call(socket.create_connection, address, timeout=5).close()
        with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
            source.call(socket.create_connection, address, timeout=2)


def build_model(source):
    """A table becomes a dataset, a model, a smaller form of it, and a version with both; the ended pipeline."""
    data = TABLE.encode()
    table = source.engineer.call("POST", "/artifacts?name=t.csv", data, headers={"Content-Type": "text/csv"})["digest"]
    trained = take_from("train", model="model", manifest="manifest", heldout="heldout")
    forms = take_from("train", fp32="model", fp32_manifest="manifest", fp32_figures="figures")
    both = forms | take_from("quantize", int8="model", int8_manifest="manifest", int8_figures="figures")
    steps = [
        {"kind": "clean", "inputs": {"table": {"digest": table}}, "register": {"dataset": "clean"}},
        {"kind": "train", "spec": TRAIN, "inputs": take_from("clean", table="table")},
        {"kind": "quantize", "spec": QUANTIZE, "inputs": trained},
        {"kind": "register", "inputs": both, "register": {"model": "price"}},
        {"kind": "register", "name": "again", "inputs": forms, "register": {"model": "price"}, "after": ["register"]},
    ]
    body = {"name": "price", "steps": [{"name": step["kind"], **step} for step in steps]}
    ended = source.engineer.wait_for(f"/pipelines/{source.engineer.post('/pipelines', body)['id']}", seconds=240)
    assert ended["state"] == "succeeded", ended


def take_from(step, **slots):
    return {here: {"step": step, "slot": there} for here, there in slots.items()}


def sign(source, folder, patch):
    for person in ("ada", "bo"):
        patch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
        source.run("bundle", "sign", folder, "--key", source.folder / person)


def carry(source, target, name):
    """The only way between them."""
    return shutil.copytree(source.usb / name, target.usb / name)


def read_manifest(folder):
    return json.loads((folder / "bundle.json").read_bytes())


def list_objects(folder):
    return {name.rpartition("/")[2] for path in folder.glob("*.tar") for name in tarfile.open(path).getnames()}


def apply_bundle(target, folder):
    """Receive, check, scan, ask, and approve it; what the preview printed."""
    printed = target.run("bundle", "apply", folder)
    target.approve(int(next(line.split()[-1] for line in printed.splitlines() if line.startswith("approval"))))
    number = target.engineer.get("/received-bundles")["items"][0]["id"]
    await_that(lambda: target.engineer.get(f"/received-bundles/{number}")["state"] == "applied", pause=0.3)
    return printed


def test_a_model_built_on_one_plane_is_approved_and_answers_on_the_other(sides, monkeypatch):
    source, target = sides
    build_model(source)
    target.run("bundle", "inventory", "-o", target.usb / "inventory.json")
    shutil.copy(target.usb / "inventory.json", source.usb)
    for person in ("ada", "bo"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
        source.run("bundle", "keygen", source.folder / person, "--person", person)
        shutil.copy(source.folder / f"{person}.pub.json", target.usb)
    build = ("bundle", "build", "--inventory", source.usb / "inventory.json", "-o")
    source.run(*build, source.usb / "first", "data/clean:v1")
    source.run(*build, source.usb / "second", "data/clean:v1", "model/price:v1")
    for name in ("first", "second"):
        sign(source, source.usb / name, monkeypatch)
    folder = carry(source, target, "second")
    plane_id = read_manifest(folder)["source"]["id"]

    refused = target.call("bundle", "apply", folder)
    assert (refused.returncode, "key" in refused.stderr) == (2, True), "nobody has approved the keys of these people"
    for person in ("ada", "bo"):
        signer = {"source": read_manifest(folder)["source"], "signer": (target.usb / f"{person}.pub.json").read_text()}
        target.approve(target.engineer.post("/bundle-signers", signer)["approval"])
    printed = apply_bundle(target, folder)
    assert "new      model_version price" in printed
    scanned = (target.folder.parent / "scanned").read_text()
    versions = [side.engineer.get("/models/price/versions/1") for side in sides]
    assert versions[0]["digest"] == versions[1]["digest"]
    assert {each["digest"] for version in versions for each in version["variants"]} <= set(scanned.split())
    edges = [side.read_lineage(plane_id) for side in sides]
    assert edges[1] == edges[0]
    assert {kind for edge in edges[0] for kind, _name in edge[:2]} >= {"artifact", "job", "dataset_version", "variant"}

    variant = versions[0]["variants"][-1]["name"]
    for side in sides:
        side.serve(variant)
    rows = [[n, n % 13] for n in range(5)]
    answers = [side.predict(rows) for side in sides]
    assert answers[0] == answers[1]
    assert len({str(answer) for answer in answers[0]}) == len(rows)

    # What came later brings only what is missing there, and what was made earlier is refused from then on.
    target.run("bundle", "inventory", "-o", target.usb / "later.json")
    shutil.copy(target.usb / "later.json", source.usb)
    build = ("bundle", "build", "--inventory", source.usb / "later.json", "-o")
    source.run(*build, source.usb / "third", "data/clean:v1", "model/price:v1", "model/price:v2")
    sign(source, source.usb / "third", monkeypatch)
    later = carry(source, target, "third")
    assert not {each["digest"] for each in versions[0]["variants"]} & list_objects(later)
    assert len(list_objects(later)) < len(list_objects(folder)) / 2
    printed = apply_bundle(target, later)
    assert ("new      model_version price" in printed, "present  model_version price" in printed) == (True, True)
    assert target.engineer.get("/models/price/versions/2")["digest"] == read_digest(source, 2)
    replayed = target.call("bundle", "apply", carry(source, target, "first"))
    assert (replayed.returncode, "is not newer than 3" in replayed.stderr) == (2, True), replayed

    for side, actions in zip(sides, (BUILT, APPLIED), strict=True):
        assert actions <= (recorded := set(side.running.ask(ACTIONS))), recorded
        assert side.running.ask(TRAIL) is True
        sent = side.network.read_frames(side.running.name)
        assert {frame.kind for frame in sent} <= {ARP}, "nothing left the network of a plane"


def read_digest(side, number):
    return side.engineer.get(f"/models/price/versions/{number}")["digest"]
