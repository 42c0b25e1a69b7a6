"""deepseek labelling."""

from __future__ import annotations

import json

import pytest

from apps.data.datasets.services import add_files
from apps.ml.labelling import services
from apps.ml.labelling.models import LabellingProject
from apps.platform.artifacts.services import store_file

TEMPLATE = (
    '<View><Text name="text" value="$text"/><Labels name="labels" toName="text"><Label value="PERSON"/></Labels></View>'
)
pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_from_a_schema_to_a_closed_project(cli, project, viewer, say_end, tmp_path, settings, engineer, actor_for):
    settings.LABELLING_HOSTS = ["127.0.0.1"]
    actor, path = actor_for(engineer), tmp_path / "texts.txt"
    path.write_text("Ada\nBob\n")
    stored = store_file(actor=actor, project=project, path=path)
    add_files(actor=actor, project=project, dataset_name="texts", files=[("texts.txt", stored.digest, "")])
    facts = {"name": "studio", "url": "http://127.0.0.1:9", "token": "t"}
    services.connect_server(actor=actor, project=project, **facts)
    assert "unchecked" in cli("labelling", "servers").stdout
    path = tmp_path / "names.xml"
    path.write_text(TEMPLATE)
    assert read(cli("labelling", "schema", "names", path))["version"] == 1
    words = ("labelling", "create", "people", "--server", "studio", "--schema", "names:v1", "--source", "texts:v1")
    say_end(cli(*words, who=viewer), 2, "may not do labelling.create")
    made = read(cli(*words, "--group", "one", "--group", "two", "--overlap", "1"))
    assert made["state"] == "preparing"
    assert LabellingProject.objects.get().source_file == "texts.txt"
    assert "people" in cli("labelling", "ls", "--level", "basic").stdout
    assert read(cli("labelling", "show", made["id"]))["overlap"] == 1
    assert cli("labelling", "tasks", made["id"], "--state", "disputed").returncode == 0
    assert read(cli("labelling", "sync", made["id"]))["state"] == "preparing"
    say_end(cli("labelling", "publish", made["id"], "x"), 2, "Nothing is agreed")
    say_end(cli("labelling", "train", made["id"]), 2, "no result")
    say_end(cli("labelling", "adjudicate", made["id"], 1, "{"), 2, "not JSON")
    assert read(cli("labelling", "close", made["id"], "--reason", "done"))["state"] == "closed"
