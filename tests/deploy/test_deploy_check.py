"""`check --deploy` with the environment of docker-compose.yml, but for the services, which are not there."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys

import pytest

from tests.deploy.compose import ROOT, services

SERVICES = ("DATABASE_URL", "BROKER_URL", "DATABASE_PASSWORD_FILE", "BROKER_PASSWORD_FILE")


def check(home, **more) -> subprocess.CompletedProcess[str]:
    (home / "key").write_text(secrets.token_urlsafe(48))
    given = services(PLANE_HOST="plane.example")["web"]["environment"]
    kept = {name: value for name, value in given.items() if name not in SERVICES}
    environment = {**kept, "PLANE_HOME": str(home), "SECRET_KEY_FILE": str(home / "key"), **more}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_compose_environment_passes(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ({"BEHIND_TLS": "false", "DEBUG": "true"}, {"security.W004", "security.W018"}),
        ({"HSTS_SUBDOMAINS": "false"}, {"security.W005"}),
    ],
)
def test_weak_settings_are_reported(tmp_path, more, codes):
    done = check(tmp_path, **more)
    assert done.returncode == 1
    assert codes <= set(re.findall(r"security\.W\d+", done.stderr))
