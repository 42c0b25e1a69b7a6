"""Many devices in one process: each with its own key, home and receipt, by the code of one."""

import json

from deepseek.agent.options import AgentOptions
from deepseek.agent.serving.simulated import ModelCache
from deepseek.agent.serving.traffic import Traffic
from deepseek.agent.simulation import SimulatedFleet
from tests.deepseek.agent.plane_double import ENROLMENT_TOKEN
from tests.deepseek.agent.releases import make_release, sign_contents


def load_double(folder):
    """A model that answers the sum of a row times its scale."""
    scale = json.loads((folder / "model.onnx").read_bytes())["scale"]

    def predict(body):
        rows = json.loads(body)["features"]
        return json.dumps({"prediction": [sum(row) * scale for row in rows]}).encode()

    return predict


def simulate(plane, folder, count, traffic=None):
    options = AgentOptions(folder, plane=plane.url, enrolment_token=ENROLMENT_TOKEN, name="sim", watch_seconds=0.0)
    fleet = SimulatedFleet(options, count, is_once=True, cache=ModelCache(load_double), traffic=traffic)
    try:
        fleet.run()
        return fleet.summarise(), fleet.failed
    finally:
        fleet.close()


def test_each_device_installs_and_reports(plane, tmp_path):
    release = make_release(1)
    plane.assign(release, "1")
    plane.observations = {"source": "sim", "task": "regression", "sampling_rate": 1.0}
    summary, failed = simulate(plane, tmp_path, 12)
    assert failed == {}
    assert (summary["devices"], summary["running"], summary["messages_waiting"]) == (12, 12, 0)
    assert {receipt.device for receipt in plane.receipts} == {str(number) for number in range(1, 13)}
    assert {receipt.release for receipt in plane.receipts} == {release.digest}
    assert len({device["public_key"] for device in plane.devices.values()}) == 12


def test_rows_of_a_file_are_answered_and_labelled(plane, tmp_path):
    path = tmp_path / "traffic.jsonl"
    path.write_text('{"features": [1.0, 2.0, 3.0], "label": 12.5}\n{"features": [0.0, 0.0, 1.0], "label": 2.5}\n')
    plane.assign(make_release(1), "1")
    plane.observations = {"source": "sim", "task": "regression", "sampling_rate": 1.0}
    _, failed = simulate(plane, tmp_path / "homes", 3, Traffic.read(path, 60.0))
    assert failed == {}
    recorded = [json.loads(line) for file in (tmp_path / "homes").glob("*/recorded/*") for line in file.open()]
    labels = [json.loads(line) for file in (tmp_path / "homes").glob("*/labels/*") for line in file.open()]
    answers = {row["id"]: row["answer"] for row in [*plane.rows, *recorded]}
    assert [round(row["label"] - answers[row["id"]], 6) for row in [*plane.labels, *labels]] == [0.5] * len(answers)
    assert len(answers) == 6


def test_a_file_of_traffic_names_its_bad_line(deepseek, tmp_path):
    path = tmp_path / "traffic.jsonl"
    path.write_text('{"features": [1.0], "label": 6.5}\n{"features": [1.0]}\n')
    end = deepseek("agent", "--home", tmp_path / "fleet", "--simulate", "2", "--traffic", path)
    assert end.returncode == 2
    assert "line 2" in end.stderr


def test_a_wrong_model_fails_on_each(plane, tmp_path):
    good = make_release(1)
    samples = good.contents["samples.json"].replace(b"6.0", b"9.0")
    plane.assign(sign_contents({**good.contents, "samples.json": samples}), "1")
    summary, failed = simulate(plane, tmp_path, 3)
    assert (summary["running"], set(failed.values())) == (0, {"failed"})
    assert {status["code"] for status in plane.statuses if status["step"] == "failed"} == {"health_check_failed"}


def test_the_command(deepseek, plane, tmp_path):
    words = ["--plane", plane.url, "--enrol", ENROLMENT_TOKEN, "--home", tmp_path / "fleet", "--name", "sim"]
    end = deepseek("agent", *words, "--simulate", "3", "--once")
    assert end.returncode == 0, end.stderr
    summary = json.loads(end.stdout)
    assert (summary["devices"], summary["enrolled"]) == (3, 3)
    assert sorted(path.name for path in (tmp_path / "fleet").iterdir()) == ["sim-00001", "sim-00002", "sim-00003"]
