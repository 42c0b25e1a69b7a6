"""`manage.py demo`: from nothing to two models in production; a second run repeats nothing and stays until it is ended.

Each of the two runs is made once, and both by one process: the first costs minutes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from controlplane.demo.edge import list_missing_tools
from controlplane.demo.sample_data import wti_csv
from deepseek.cli import main
from deepseek.models.manifest import compute_file_sha256
from deepseek.quantize.document import Tradeoff
from tests.faults.running import ROOT, environment_of

pytestmark = pytest.mark.xdist_group("demo")
COMMAND = [sys.executable, str(ROOT / "manage.py"), "demo"]


def run_demo(home, **more: str) -> subprocess.CompletedProcess[str]:
    environment = environment_of(home, DEMO_EXIT="1", WEB_WORKERS="2", **more)
    return subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """(home, what was printed, demo.json) of one whole demo."""
    home = tmp_path_factory.mktemp("demo")
    first = run_demo(home)
    assert first.returncode == 0, first.stdout + first.stderr
    assert not (home / "plane.json").exists()
    return home, first.stdout, json.loads((home / "demo.json").read_text())


def test_demo_takes_two_models_to_production(first_run):
    _, printed, facts = first_run
    forecaster, classifier = (facts["models"][name] for name in ("wti-forecaster", "breast-cancer-classifier"))
    assert forecaster["missing"] == {"before": 290, "after": 0}
    for made in (forecaster, classifier):
        assert made["production"] == 1
        assert len(set(made["variants"].values())) == 3
        assert set(made["seconds"]) == {"clean", "train", "quantize", "compile", "register"}
        assert set(made["golden"]["evaluations"]) == set(made["variants"])
        assert made["golden"]["asked"] == ["no_baseline"]  # the gate stood when the promotion was asked for
        assert len(made["golden"]["gates"]) == 1
    assert (forecaster["golden"]["rows"], classifier["golden"]["rows"]) == (1289, 85)
    [endpoint] = facts["endpoints"]
    assert (endpoint["name"], endpoint["version"], endpoint["state"]) == ("wti-forecaster", 1, "serving")
    assert re.search(r"answers with version 1 at http://127\.0\.0\.1:\d+/predict", printed.replace("\n", " "))
    assert "Golden set wti-golden-r1: 1,289 held-out rows of wti-clean v1" in printed
    assert re.search(r"wti-clean v1 <- #\d+ clean <- wti v1", printed)


def test_a_good_version_reaches_all_devices_and_a_broken_one_a_tenth(first_run):
    _, printed, facts = first_run
    good, broken = facts["rollouts"]
    assert [(wave["share"], wave["devices"]) for wave in good["waves"]] == [(0.1, 4), (1, 36)]
    assert (good["state"], good["waves"][0]["verdict"], len(good["approvals"])) == ("completed", "go_on", 2)
    assert (broken["state"], broken["waves"][0]["verdict"]) == ("rolled_back", "roll_back")
    assert len(broken["approvals"]) == 1
    assert "prove nothing about rare failures" in " ".join(printed.split())


def test_the_last_model_is_compiled_for_aarch64_too(first_run):
    """Or the demo says what this machine lacks."""
    _, printed, facts = first_run
    if (missing := list_missing_tools()) and "REQUIRE_AARCH64" not in os.environ:
        assert facts["edge"] is None
        assert f"Not compiled for aarch64: this machine lacks {missing[0]}" in " ".join(printed.split())
        return
    assert facts["edge"]["ran"] == "qemu-aarch64 (emulated)"
    assert 0 < facts["edge"]["largest_difference"] < 1e-5


def test_golden_set_is_the_held_out_rows(first_run):
    """Measured anew as a table, the trained form has the figures of its training to the last digit."""
    for made in first_run[2]["models"].values():
        trained, golden = made["golden"]["trained"], made["golden"]["measured"]
        assert trained
        assert {name: golden[name] for name in trained} == pytest.approx(trained, rel=1e-9)


def test_second_run_repeats_nothing_and_ends_with_its_plane(first_run):
    home, _, facts = first_run
    printed = []
    environment = environment_of(home, WEB_WORKERS="2")
    with subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            printed.append(line)
            if "Ctrl-C" in line:
                break
        assert "Ctrl-C" in printed[-1], printed
        launcher = json.loads((home / "plane.json").read_text())["launcher"]
        repeated = json.loads((home / "demo.json").read_text())
        running.terminate()
        assert running.wait(timeout=60) == 0
    assert any("nothing is done twice" in line for line in printed)
    assert not any("one log-in" in line for line in printed)
    assert (repeated["models"], repeated["rollouts"]) == (facts["models"], facts["rollouts"])
    assert not psutil.pid_exists(launcher)
    assert not (home / "plane.json").exists()


def test_command_line_gives_the_same_bytes(first_run, tmp_path, monkeypatch):
    """The same table and specs by hand, without a plane: equal data, weights, 8-bit model and figures."""
    home, _, facts = first_run
    monkeypatch.chdir(tmp_path)
    made = facts["models"]["wti-forecaster"]["variants"]
    (tmp_path / "wti.csv").write_bytes(wti_csv())
    deepseek("clean", "wti.csv", "-o", "clean", "--window-size", "5", "--outliers", "robust_z")
    assert stored(home, tmp_path / "clean/table.parquet")
    task = ("--task", "forecast", "--target", "DCOILWTICO", "--lags", "20")
    deepseek("train", "clean/table.parquet", "-o", "model", *task)
    assert compute_file_sha256(tmp_path / "model/model.safetensors") == made["fp32"]
    assert stored(home, tmp_path / "model/figures.json")
    deepseek("quantize", "model", "-o", "int8")
    (quantized,) = [name for name in made if name != "fp32" and not name.startswith("tvm")]  # by the times of that run
    forms = {form.name: form for form in Tradeoff.read(tmp_path / "int8/tradeoff.json").variants}
    assert forms[quantized].sha256 == made[quantized]


def deepseek(*words: str) -> None:
    assert main(words) == 0


def stored(home: Path, path: Path) -> bool:
    """Whether the plane holds the same bytes."""
    digest = compute_file_sha256(path)
    return (home / "artifacts/sha256" / digest[:2] / digest[2:]).is_file()


def test_unwritable_home_is_reported_without_traceback(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    stopped = run_demo(blocked / "home")
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stdout + stopped.stderr
    assert "PLANE_HOME" in stopped.stdout + stopped.stderr
