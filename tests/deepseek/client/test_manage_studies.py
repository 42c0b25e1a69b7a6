"""deepseek studies."""

from __future__ import annotations

import json

import pytest

from apps.data.datasets.services import add_files
from apps.platform.artifacts.services import store_file
from tests.apps.ml.federation.conftest import DOCUMENT, ROWS

pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_one_plane_as_coordinator_and_as_site(cli, project, viewer, approver, say_end, tmp_path, engineer, actor_for):
    actor = actor_for(engineer)

    def save(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    table = store_file(actor=actor, project=project, path=save("patients.csv", ROWS))
    add_files(actor=actor, project=project, dataset_name="patients", files=[("patients.csv", table.digest, "")])
    words = ("studies", "create", "heart", "--host", "127.0.0.1", save("study.json", json.dumps(DOCUMENT)))
    say_end(cli(*words, who=viewer), 2, "may not do federation.create_study")
    study = read(cli(*words))["id"]
    say_end(cli("studies", "create", "x", "--host", "h", save("bad.json", "{")), 2, "is not JSON")
    invitation = save("invitation.json", cli("studies", "invite", study, "cleveland").stdout)
    assert cli("studies", "invite", study, "cleveland").returncode == 0
    joined = read(cli("studies", "import", invitation))["id"]
    say_end(cli("studies", "import", tmp_path / "gone.json"), 2, "gone.json")
    assert read(cli("studies", "bind", joined, "patients:v1"))["data"] == "patients:v1"
    assert read(cli("studies", "request-approval", joined))["approval"]
    request = save("request.json", cli("studies", "enrolment-request", joined).stdout)
    certificate = save("certificate.json", cli("studies", "enrol", study, "cleveland", request).stdout)
    assert read(cli("studies", "certify", joined, certificate))["is_certified"]
    say_end(cli("studies", "join", joined), 2, "imported")
    say_end(cli("studies", "start", study), 2, "needs 2 sites")
    say_end(cli("studies", "register", study, "m"), 2, "open")
    assert "heart" in cli("studies", "ls").stdout
    assert "cleveland" in cli("studies", "joined", "--state", "imported").stdout
    assert read(cli("studies", "show", study))["sites"][0]["state"] == "joined"
    assert read(cli("studies", "show-joined", joined))["document"]["rounds"] == 3
    assert cli("studies", "rounds", study).returncode == 0
    assert cli("studies", "ledger", "--round", "1").returncode == 0
    assert read(cli("studies", "leave", joined, "--reason", "done"))["state"] == "left"
    assert read(cli("studies", "stop", study, "--reason", "done"))["state"] == "stopped"
