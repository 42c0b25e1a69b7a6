"""The environment: typed, named when wrong, and documented from its own fields."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from controlplane.env import Env, insert_password, load_env
from controlplane.management.commands.settings_table import render_table
from controlplane.secret_source import FROM_FILE

ROOT = Path(__file__).resolve().parents[2]


class Start(NamedTuple):
    status: int
    home: str
    error: str


@pytest.fixture
def start(monkeypatch, capsys):
    """start(home, **environment) -> how a process with this environment alone starts."""

    def load(home: Path, **environment: str) -> Start:
        with monkeypatch.context() as patch:
            for name in os.environ:
                patch.delenv(name)
            for name, value in {"PLANE_HOME": str(home), **environment}.items():
                patch.setenv(name, value)
            try:
                loaded, status = str(load_env.__wrapped__().home), 0
            except SystemExit as stop:
                loaded, status = "", stop.code
        return Start(status, loaded, capsys.readouterr().err)

    return load


def test_settings_page_is_made_from_the_fields():
    assert (ROOT / "docs/settings.md").read_text() == render_table()


WRONG_VALUES = [
    ("PORT", "eighty"),
    ("PORT", "70000"),
    ("DATABASE_URL", "mysql://localhost/plane"),
    ("BROKER_URL", "amqp://localhost"),
    ("ARTIFACT_URL", "http://localhost"),
    ("LEASE_SECONDS", "0"),
    ("LOG_LEVEL", "LOUD"),
    ("DEBUG", "perhaps"),
    ("SEAL_SECONDS", "60"),
    ("PROXY_ADDRESSES", "proxy.example"),
    ("SCRIPT_ENVIRONMENTS", "vision=opt/vision"),
    ("SCRIPT_ENVIRONMENTS", "vision=oci:images/vision.tar"),
    ("SCRIPT_ENVIRONMENTS", "vision=/opt/a,vision=oci:/srv/b"),
]


def test_wrong_values_stop_the_start(tmp_path, start):
    wrong = {}
    for name, value in WRONG_VALUES:
        stopped = start(tmp_path, **{name: value})
        if stopped.status != 2 or not stopped.error.startswith(f"{name}='{value}':"):
            wrong[name, value] = stopped
    assert wrong == {}


def test_environments_of_scripts_are_folders_and_images(monkeypatch):
    monkeypatch.setenv("SCRIPT_ENVIRONMENTS", "mlflow=/opt/mlflow-env, vision=oci:/srv/vision.tar")
    env = load_env.__wrapped__()
    assert env.list_script_environments() == {"mlflow": Path("/opt/mlflow-env/bin/python")}
    assert env.list_script_images() == {"vision": Path("/srv/vision.tar")}


def test_wrong_value_ends_the_process_without_a_traceback(tmp_path):
    command = [sys.executable, "-c", "from controlplane.env import load_env; load_env()"]
    environment = {"PATH": os.environ["PATH"], "PLANE_HOME": str(tmp_path), "PORT": "eighty"}
    stopped = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert stopped.returncode == 2
    assert stopped.stderr.startswith("PORT='eighty':")
    assert "Traceback" not in stopped.stderr


def test_secret_is_not_repeated(tmp_path, start):
    stopped = start(tmp_path, SECRET_KEY="hush", PORT="x")
    assert stopped.status == 2
    assert "hush" not in stopped.error


def test_password_in_an_address_is_hidden(tmp_path, start):
    stopped = start(tmp_path, DATABASE_URL="mysql://plane:hush@db.example/plane")
    assert "mysql://***@db.example/plane" in stopped.error


def test_relative_home_is_below_the_repository(start):
    assert start(Path("var")).home == str(ROOT / "var")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("postgres://plane@db:5432/plane", "postgres://plane:p%40ss%2F@db:5432/plane"),
        ("redis://queue:6379/0", "redis://:p%40ss%2F@queue:6379/0"),
        ("postgres://plane:own@db/plane", "postgres://plane:own@db/plane"),
        ("sqlite:////var/plane.sqlite3", "sqlite:////var/plane.sqlite3"),
        ("", ""),
    ],
)
def test_password_is_added_to_an_address_without_one(url, whole):
    assert insert_password(url, SecretStr("p@ss/")) == whole


@pytest.mark.parametrize("name", FROM_FILE)
def test_secret_is_read_from_a_file(tmp_path, name, monkeypatch):
    texts = {"database_url": "postgres://a\n", "encryption_keys": f"k://a{'A' * 40}="}
    (tmp_path / "secret").write_text(texts.get(name, "redis://a\n"))
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    monkeypatch.delenv(name.upper(), raising=False)
    value = getattr(Env(), name)
    value = value[0] if isinstance(value, list) else value
    assert "//a" in (value.get_secret_value() if isinstance(value, SecretStr) else value)


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (None, {}, "cannot be read: No such file"),
        (" \n", {}, "the file is empty"),
        ("x" * 50, {"SECRET_KEY": "another"}, "SECRET_KEY is set as well"),
    ],
)
def test_unusable_secret_file_stops_the_start(tmp_path, start, content, more, message):
    if content is not None:
        (tmp_path / "key").write_text(content)
    stopped = start(tmp_path, SECRET_KEY_FILE=str(tmp_path / "key"), **more)
    assert (stopped.status, stopped.home) == (2, "")
    assert message in stopped.error
    assert "xxx" not in stopped.error


def test_less_than_six_months_of_logs_is_refused(tmp_path, start):
    stopped = start(tmp_path, LOG_RETENTION_DAYS="183")
    assert (stopped.status, stopped.home) == (2, "")
    assert "at least 184" in stopped.error
    assert Env(log_retention_days=184).log_retention_days == 184
