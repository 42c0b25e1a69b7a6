from __future__ import annotations

import json

import pytest

from apps.fleet.recalls.models import Recall
from tests.apps.fleet.recalls.conftest import (  # noqa: F401  fixtures
    _own_store,
    approved,
    bad,
    dataset_version,
    default_experiment,
    forms,
    good,
    held,
    job_of,
    make_variant,
    registered,
    store_files,
)

pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_preview_start_list_show(cli, bad, plane, viewer, say_end, tmp_path):  # noqa: F811
    lines = dict(line.rsplit(maxsplit=1) for line in cli("recall", "preview", "data", "wti:v1").stdout.splitlines())
    assert lines["model version"] == "1"
    listed = read(cli("recall", "preview", "data", "wti:v1", "--kind", "model_version", "--json"))
    assert [row["label"] for row in listed] == [str(bad.version)]
    say_end(cli("recall", "start", "data", "wti:v1"), 2, "--reason")
    say_end(cli("recall", "start", "data", "wti:v1", "--reason", "x", who=viewer), 2, "may not do recall.start")
    say_end(cli("recall", "preview", "data", "wti:v7"), 2, "id")
    recall = read(cli("recall", "start", "data", "wti:v1", "--row", "7", "--reason", "wrong units", "--quarantine"))
    assert (recall["subject"]["row"], recall["quarantines"]) == (7, True)
    say_end(cli("recall", "start", "data", "wti:v1", "--row", "7", "--reason", "again"), 2, "recalled already")
    assert cli("recall", "ls").stdout.splitlines()[1].split()[:2] == [str(recall["id"]), "acting"]
    assert "1 blocked" in cli("recall", "show", recall["id"]).stdout
    assert read(cli("recall", "show", recall["id"], "--items", "--json"))[0]["outcome"] == "blocked"
    assert read(cli("recall", "show", recall["id"], "--devices", "--json")) == []
    assert read(cli("recall", "retry", recall["id"]))["state"] == "acting"
    get = ("models", "get", f"wti-forecast:v{bad.version.number}", "-o", str(tmp_path / "model"))
    say_end(cli(*get), 2, "is blocked", "wrong units")
    assert Recall.objects.count() == 1
