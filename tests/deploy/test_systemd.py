"""The units: systemd's own verdict, and what each of them has to say."""

from __future__ import annotations

import configparser
import shutil
import subprocess

import pytest

from controlplane.env import Env
from controlplane.secret_source import FROM_FILE
from tests.deploy.compose import ROOT

FOLDER = ROOT / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
PARTS = {"prepare", "web", "worker", "dispatcher", "beat"}
KNOWN = {name.upper() for name in Env.model_fields} | {f"{name.upper()}_FILE" for name in FROM_FILE}


class Unit(configparser.RawConfigParser):
    optionxform = str


def service_of(path) -> dict[str, str]:
    unit = Unit(strict=False)
    unit.read(path)
    return dict(unit["Service"])


def part_of(path) -> str:
    return path.stem.rpartition("-")[2]


def test_there_is_a_unit_for_each_part():
    assert {part_of(path) for path in UNITS} == PARTS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: .ci/run installs it")
def test_systemd_takes_them(tmp_path):
    """With a program that is here in the place of ours, which systemd looks for."""
    for path in [*UNITS, *FOLDER.glob("*.target")]:
        told = path.read_text().replace("/opt/plane/bin/deepseek-plane", "/bin/true")
        (tmp_path / path.name).write_text(told)
    names = [str(tmp_path / path.name) for path in [*UNITS, *FOLDER.glob("*.target")]]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "deepseek" in line] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", UNITS, ids=part_of)
def test_each_runs_its_own_command_as_nobody_in_particular(path):
    service = service_of(path)
    assert service["ExecStart"] == f"/opt/plane/bin/deepseek-plane {part_of(path)}"
    assert (service["User"], service["NoNewPrivileges"], service["ProtectSystem"]) == ("plane", "true", "strict")
    assert service["CapabilityBoundingSet"] == ""
    assert service["StandardOutput"] == "journal"


def test_only_the_worker_may_make_the_namespaces_of_its_jobs():
    allowed = {part_of(path): service_of(path)["RestrictNamespaces"] for path in UNITS}
    assert allowed == dict.fromkeys(PARTS, "true") | {"worker": "user mnt net ipc"}
    filters = {part_of(path): service_of(path)["SystemCallFilter"] for path in UNITS}
    assert filters == dict.fromkeys(PARTS, "@system-service") | {"worker": "@system-service @mount"}


def test_only_the_worker_may_divide_its_cgroup():
    """Each job gets one below it, with a limit of memory."""
    delegated = {part_of(path): service_of(path).get("Delegate") for path in UNITS}
    protected = {part_of(path): service_of(path)["ProtectControlGroups"] for path in UNITS}
    assert {part: value for part, value in delegated.items() if value} == {"worker": "memory"}
    assert {part for part, value in protected.items() if value != "true"} == {"worker"}


@pytest.mark.parametrize("path", [path for path in UNITS if part_of(path) != "prepare"], ids=part_of)
def test_each_is_restarted_and_given_time_to_end(path):
    service = service_of(path)
    assert service["Restart"] == "on-failure"
    assert int(service["TimeoutStopSec"]) >= 15


def test_the_example_environment_is_one_that_we_read(monkeypatch):
    lines = (FOLDER / "environment.example").read_text().splitlines()
    pairs = [line.lstrip("#").split("=", 1) for line in lines if "=" in line and not line.startswith("# ")]
    assert {name for name, _ in pairs} <= KNOWN
    for name, value in pairs:
        if value and not name.endswith("_FILE"):
            monkeypatch.setenv(name, value)
    assert Env().allowed_hosts == ["plane.example"]
