"""The main job as a user starts it: from nothing to two models in production, and a second run does nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.faults.running import ROOT, environment_of


def demo(home, **more: str) -> subprocess.CompletedProcess[str]:
    environment = environment_of(home, DEMO_EXIT="1", **more)
    command = [sys.executable, str(ROOT / "manage.py"), "demo"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=420)


def test_the_demo_from_nothing_and_again(tmp_path):
    first = demo(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    facts = json.loads((tmp_path / "demo.json").read_text())
    forecaster, classifier = (facts["models"][name] for name in ("wti-forecaster", "breast-cancer-classifier"))
    assert forecaster["missing"] == {"before": 290, "after": 0}
    for made in (forecaster, classifier):
        assert made["production"] == 1
        assert len(set(made["variants"].values())) == 3
        assert set(made["seconds"]) == {"clean", "train", "quantize", "compile", "register"}
    assert "wti-clean v1 <- #1 clean <- wti v1" in first.stdout
    assert not (tmp_path / "plane.json").exists()

    again = demo(tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing is done twice" in again.stdout
    assert "one log-in" not in again.stdout
    repeated = json.loads((tmp_path / "demo.json").read_text())
    assert repeated["models"] == facts["models"]


def test_a_home_that_cannot_be_written_is_said_and_not_traced(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    stopped = demo(blocked / "home")
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stdout + stopped.stderr
    assert "PLANE_HOME" in stopped.stdout + stopped.stderr
