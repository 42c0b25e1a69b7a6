"""The main job as a user starts it: from nothing to two models in production, and a second run does nothing twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from controlplane.demo.tables import wti_csv
from deepseek.models.manifest import sha256_of
from tests.faults.running import ROOT, environment_of


def demo(home, **more: str) -> subprocess.CompletedProcess[str]:
    environment = environment_of(home, DEMO_EXIT="1", **more)
    command = [sys.executable, str(ROOT / "manage.py"), "demo"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=420)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """(home, what was printed, demo.json) of one whole demo."""
    home = tmp_path_factory.mktemp("demo")
    first = demo(home)
    assert first.returncode == 0, first.stdout + first.stderr
    return home, first.stdout, json.loads((home / "demo.json").read_text())


def test_the_demo_from_nothing(told):
    home, printed, facts = told
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
    assert "Golden set wti-golden-r1: 1,289 held-out rows of wti-clean v1" in printed
    assert re.search(r"wti-clean v1 <- #\d+ clean <- wti v1", printed)
    assert not (home / "plane.json").exists()


def test_again_nothing_is_done_twice(told):
    home, _, facts = told
    again = demo(home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing is done twice" in again.stdout
    assert "one log-in" not in again.stdout
    repeated = json.loads((home / "demo.json").read_text())
    assert repeated["models"] == facts["models"]


def test_the_golden_set_is_the_rows_that_the_training_held_out(told):
    """Measured anew as a table, the trained form has the figures of its training to the last digit."""
    for made in told[2]["models"].values():
        trained, golden = made["golden"]["trained"], made["golden"]["measured"]
        assert trained
        assert {name: golden[name] for name in trained} == pytest.approx(trained, rel=1e-9)


def test_the_plane_ends_with_the_demo_that_started_it(told):
    home = told[0]
    command = [sys.executable, str(ROOT / "manage.py"), "demo"]
    with subprocess.Popen(command, cwd=ROOT, env=environment_of(home), stdout=subprocess.PIPE, text=True) as running:
        assert any("Ctrl-C" in line for line in running.stdout)
        launcher = json.loads((home / "plane.json").read_text())["launcher"]
        running.terminate()
        assert running.wait(timeout=60) == 0
    assert not psutil.pid_exists(launcher)
    assert not (home / "plane.json").exists()


def test_the_command_line_gives_the_same_bytes(told, tmp_path):
    """The same table and specs by hand, without a plane: equal data, weights, 8-bit model and figures."""
    home, _, facts = told
    made = facts["models"]["wti-forecaster"]["variants"]
    (tmp_path / "wti.csv").write_bytes(wti_csv())
    deepseek(tmp_path, "clean", "wti.csv", "-o", "clean", "--window-size", "5", "--outliers", "robust_z")
    assert stored(home, tmp_path / "clean/table.parquet")
    task = ("--task", "forecast", "--target", "DCOILWTICO", "--lags", "20")
    deepseek(tmp_path, "train", "clean/table.parquet", "-o", "model", *task)
    assert sha256_of(tmp_path / "model/model.safetensors") == made["fp32"]
    assert stored(home, tmp_path / "model/figures.json")
    deepseek(tmp_path, "quantize", "model", "-o", "int8")
    assert sha256_of(tmp_path / "int8/model.pt") == made["int8"]


def deepseek(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "deepseek.cli", *words], cwd=folder, check=True, timeout=120)


def stored(home: Path, path: Path) -> bool:
    """Whether the plane holds the same bytes."""
    digest = sha256_of(path)
    return (home / "artifacts/sha256" / digest[:2] / digest[2:]).is_file()


def test_a_home_that_cannot_be_written_is_said_and_not_traced(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    stopped = demo(blocked / "home")
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stdout + stopped.stderr
    assert "PLANE_HOME" in stopped.stdout + stopped.stderr
