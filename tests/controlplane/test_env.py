"""The environment: typed, named when wrong, and documented from its own fields."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.management.commands.settings_table import table

ROOT = Path(__file__).resolve().parents[2]


def start(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from controlplane.env import load_env; print(load_env().home)"]
    clean = {"PATH": os.environ["PATH"], "PLANE_HOME": str(home), **environment}
    return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)


def test_settings_page_is_made_from_the_fields():
    assert (ROOT / "docs/settings.md").read_text() == table()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("DATABASE_URL", "mysql://localhost/plane"),
        ("BROKER_URL", "amqp://localhost"),
        ("ARTIFACT_URL", "http://localhost"),
        ("LEASE_SECONDS", "0"),
        ("LOG_LEVEL", "LOUD"),
        ("DEBUG", "perhaps"),
        ("SEAL_SECONDS", "60"),
    ],
)
def test_a_wrong_value_stops_the_start_and_names_itself(tmp_path, name, value):
    stopped = start(tmp_path, **{name: value})
    assert stopped.returncode == 2
    assert stopped.stderr.startswith(f"{name}='{value}':")
    assert "Traceback" not in stopped.stderr


def test_a_secret_is_not_repeated(tmp_path):
    stopped = start(tmp_path, SECRET_KEY="hush", PORT="x")
    assert "hush" not in stopped.stderr


def test_a_password_in_an_address_is_hidden(tmp_path):
    stopped = start(tmp_path, DATABASE_URL="mysql://plane:hush@db.example/plane")
    assert "mysql://***@db.example/plane" in stopped.stderr


def test_a_relative_home_is_below_the_repository():
    assert start(Path("var")).stdout.strip() == str(ROOT / "var")
