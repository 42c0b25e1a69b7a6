"""The environment: typed, named when wrong, and documented from its own fields."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from controlplane.env import FROM_FILE, Env, with_password
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
        ("PROXY_ADDRESSES", "proxy.example"),
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
def test_a_password_goes_into_an_address_that_has_none(url, whole):
    assert with_password(url, SecretStr("p@ss/")) == whole


@pytest.mark.parametrize("name", FROM_FILE)
def test_a_secret_is_read_from_a_file(tmp_path, name, monkeypatch):
    (tmp_path / "secret").write_text("postgres://a\n" if name == "database_url" else "redis://a\n")
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    monkeypatch.delenv(name.upper(), raising=False)
    value = getattr(Env(), name)
    value = value[0] if isinstance(value, list) else value
    assert "//a" in (value.get_secret_value() if isinstance(value, SecretStr) else value)


@pytest.mark.parametrize(
    ("content", "more", "told"),
    [
        (None, {}, "cannot be read: No such file"),
        (" \n", {}, "the file is empty"),
        ("x" * 50, {"SECRET_KEY": "another"}, "SECRET_KEY is set as well"),
    ],
)
def test_a_secret_file_that_helps_nobody_stops_the_start(tmp_path, content, more, told):
    if content is not None:
        (tmp_path / "key").write_text(content)
    stopped = start(tmp_path, SECRET_KEY_FILE=str(tmp_path / "key"), **more)
    assert (stopped.returncode, stopped.stdout) == (2, "")
    assert told in stopped.stderr
    assert "xxx" not in stopped.stderr
