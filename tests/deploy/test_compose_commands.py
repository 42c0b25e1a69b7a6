"""Every command of docker-compose.yml really run: rehearsal.py says how, this says what has to come of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT
from tests.deploy.conftest import need_namespaces

ALL = ["database", "broker", "web", "dispatcher", "beat", "worker", "proxy"]


@pytest.fixture(scope="module")
def report(wheel, tmp_path_factory) -> dict:
    need_namespaces("nginx", "redis-server", "openssl", "curl", "setpriv")
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        pytest.skip("needs PostgreSQL: .ci/run installs it")
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    script = str(ROOT / "tests/deploy/rehearsal.py")
    command = [*apart, sys.executable, script, str(wheel), str(tmp_path_factory.mktemp("work"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_without_its_secrets_nothing_starts(report):
    assert report["refused"]["status"] == 2
    assert (
        "DATABASE_PASSWORD_FILE='/run/secrets/database_password': the file cannot be read" in report["refused"]["said"]
    )


def test_every_health_check_of_the_file_passes(report):
    assert sorted(report["healthy"]) == sorted(ALL)


def test_a_job_sent_over_tls_is_done_by_the_worker(report):
    assert report["use"]["job"] == {"state": "succeeded", "node": "worker-1"}
    assert len(report["use"]["log"]) >= 4


def test_the_first_accounts_are_made(report):
    assert report["use"]["accounts"] == ["approver", "auditor", "engineer", "secadmin", "sysadmin"]


def test_the_log_in_page_is_for_tls_only(report):
    page = report["use"]["login"]
    assert page["status"] == 200
    assert page["headers"]["strict-transport-security"].startswith("max-age=31536000")
    assert "secure" in page["headers"]["set-cookie"]
    assert "default-src 'self'" in page["headers"]["content-security-policy"]


def test_a_plain_request_is_sent_to_tls(report):
    assert report["use"]["plain"] == {"status": 308, "location": "https://plane.example/jobs?a=b"}


def test_templates_and_static_files_came_with_the_wheel(report):
    assert report["use"]["static"] == 200


def test_strangers_and_strange_hosts_are_refused(report):
    assert report["use"]["metrics"] in (401, 403, 404)
    assert report["use"]["foreign_host"] == 400


def test_the_deployment_check_has_nothing_to_say(report):
    assert report["check"]["status"] == 0, report["check"]["said"]
    assert "no issues" in report["check"]["said"]


def test_each_ends_by_itself_in_its_grace(report):
    assert report["stopped"] == dict.fromkeys(ALL, 0)
