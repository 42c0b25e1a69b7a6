"""The agent as a process of its own, with real servers: it hands traffic over, outlives kills, and stays small."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from deepseek.agent.serving.simulated import load_predict
from deepseek.models.manifest import ModelFile, ModelManifest
from tests.deepseek.agent.plane_double import ENROLMENT_TOKEN, PlaneDouble
from tests.deepseek.agent.releases import encode_samples, make_key_lists, sign_contents
from tests.deepseek.conftest import SCRIPT
from tests.ports import find_free_port

pytestmark = pytest.mark.e2e
MAX_RESIDENT_BYTES = 60 << 20


def make_real_model(folder, scale):
    """The files of a model that answers `scale` times the sum of a row, with samples. It is of ONNX: a server that
    loads PyTorch takes five times as long to start, and shows no more."""
    folder.mkdir()
    weights = helper.make_tensor("weights", TensorProto.FLOAT, (5, 1), [float(scale)] * 5)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows", 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    manifest = ModelManifest(
        variant="fp32",
        format="onnx",
        file=ModelFile(name="model.onnx", sha256=hashlib.sha256(model).hexdigest(), size=len(model)),
        task="regression",
        target="y",
        features=[f"x{place}" for place in range(5)],
        signature={
            "inputs": [{"name": "features", "dtype": "float32", "shape": [-1, 5]}],
            "outputs": [{"name": "prediction", "dtype": "float32", "shape": [-1, 1]}],
        },
        architecture={
            "type": "mlp",
            "inputs": 5,
            "hidden": [8],
            "outputs": 1,
            "activation": "relu",
            "output": "value",
            "residual": False,
        },
    )
    contents = {"model.json": manifest.to_json().encode(), "model.onnx": model}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    rows = [[float(row)] * 5 for row in range(8)]
    answers = json.loads(load_predict(folder)(json.dumps({"features": rows}).encode()))["prediction"]
    assert answers[1] == [5.0 * scale]
    return {**contents, "samples.json": encode_samples(rows, answers)}


def make_real_release(folder, sequence):
    words = {"sequence": sequence, "version": sequence, "variant": "fp32", "format": "onnx"}
    return sign_contents(make_real_model(folder, sequence), **words)


class Process:
    """`deepseek agent` as a service manager starts it."""

    def __init__(self, plane, home, port, token=ENROLMENT_TOKEN):
        self.errors = (home.parent / "agent.log").open("ab")
        words = ["--plane", plane.url, "--enrol", token, "--home", home, "--serve", f"127.0.0.1:{port}"]
        words += ["--poll", "0.3", "--watch", "1", "--name", "press-1"]
        self.process = subprocess.Popen([SCRIPT, "agent", *map(str, words)], stderr=self.errors)

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(30)


class Traffic(threading.Thread):
    """Asks the device all the time. `failures`: what was not answered; `versions`: who answered, in order."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.failures, self.versions = port, [], []
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.01):
            version = ask(self.port)
            if version.isdigit():
                if self.versions[-1:] != [version]:
                    self.versions.append(version)
            else:
                self.failures.append(version)


def ask(port):
    """The version that answers a row, or why none does."""
    body = json.dumps({"features": [1, 2, 3, 4, 5]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", data=body)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers["X-Model-Version"]
    except (urllib.error.URLError, OSError) as error:
        return repr(error)


def wait_for(condition, seconds=150):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


def list_children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_an_update_under_traffic_a_kill_and_a_stop(tmp_path):
    plane = PlaneDouble(make_key_lists())
    port = find_free_port()
    home = tmp_path / "home"
    agent = Process(plane, home, port)
    try:
        first, second = (make_real_release(tmp_path / f"model-{number}", number) for number in (1, 2))
        plane.assign(first, "1")
        wait_for(lambda: [receipt.release for receipt in plane.receipts] == [first.digest])
        traffic = Traffic(port)
        traffic.start()
        plane.assign(second, "2")
        wait_for(lambda: plane.receipts[-1].release == second.digest)
        wait_for(lambda: not (home / "update.json").exists())
        traffic.ended.set()
        traffic.join(30)
        assert traffic.failures == []
        assert (traffic.versions[0], traffic.versions[-1]) == ("1", "2")
        assert plane.receipts[-1].health.rows == 8
        resident = int(Path(f"/proc/{agent.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < MAX_RESIDENT_BYTES
        (server,) = list_children(agent.process.pid)
        agent.end(signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{server}").exists())
        agent = Process(plane, home, port)
        wait_for(lambda: ask(port) == "2")
        assert agent.end(signal.SIGTERM) == 0
        assert len(plane.devices) == 1
    finally:
        agent.process.kill()
        plane.close()
        print((tmp_path / "agent.log").read_text()[-4000:])
