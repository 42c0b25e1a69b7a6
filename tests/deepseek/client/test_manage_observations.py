import json
from datetime import timedelta

import pytest
from django.utils import timezone

from deepseek.client import observation_commands
from tests.apps.ml.endpoints.conftest import (  # noqa: F401  fixtures
    _own_store,
    approved,
    default_experiment,
    forms,
    registered,
    store_files,
    version,
)

pytestmark = pytest.mark.django_db(transaction=True)
AT = (timezone.now() - timedelta(minutes=5)).isoformat()


@pytest.fixture
def source(cli, version, project, engineer, actor_for):  # noqa: F811
    from apps.ml.observations.schemas import SourceBody
    from apps.ml.observations.services import create_source

    body = SourceBody(name="live", kind="endpoint", task="regression")
    return create_source(actor=actor_for(engineer), project=project, body=body)


def write_rows(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_rows_are_sent_labelled_and_counted(cli, source, tmp_path, monkeypatch):
    monkeypatch.setattr(observation_commands, "MAX_BATCH_ROWS", 2)
    rows = [{"id": f"p-{n}", "at": AT, "model": "served", "version": 1, "answer": float(n)} for n in range(5)]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    for stored, duplicates in ((5, 0), (0, 5)):
        run = cli("observations", "send", file, "--source", "live", "--model", "wti-forecast")
        assert run.returncode == 0, run.stderr
        expected = {"received": 5, "stored": stored, "duplicates": duplicates, "sampled_out": 0, "waiting": 0}
        assert json.loads(run.stdout) == expected
    labels = write_rows(tmp_path / "labels.jsonl", [{"id": "p-1", "at": AT, "label": 3.0}])
    assert json.loads(cli("observations", "label", labels, "--source", "live").stdout)["stored"] == 1
    answer = json.loads(cli("observations", "figures", "--source", "live", "--json").stdout)
    assert (answer["total"]["predictions"], answer["total"]["absolute_error"]["value"]) == (5, 2.0)
    header, *lines = cli("observations", "figures", "--by", "version").stdout.splitlines()
    assert header.split()[:3] == ["model", "version", "predictions"]
    assert [line.split()[0] for line in lines] == ["wti-forecast", "total"]
    assert lines[0].split()[:3] == ["wti-forecast", "1", "5"]
    assert cli("observations", "sources").stdout.splitlines()[1].split()[:3] == ["live", "endpoint", "regression"]


def test_an_error_names_the_line_of_the_file(cli, source, tmp_path, say_end, monkeypatch):
    monkeypatch.setattr(observation_commands, "MAX_BATCH_ROWS", 2)
    good = {"id": "p", "at": AT, "model": "wti-forecast", "version": 1, "answer": 1.0}
    file = write_rows(tmp_path / "rows.jsonl", [good, {**good, "id": "q"}, {**good, "id": "r"}, {**good, "version": 0}])
    say_end(cli("observations", "send", file, "--source", "live"), 2, f"{file}:4/version")
    file.write_text('{"id": "s"}\n[]\n')
    say_end(cli("observations", "send", file, "--source", "live"), 2, f"{file}:2")
    say_end(cli("observations", "send", tmp_path / "none", "--source", "live"), 2, "cannot be read")
    say_end(
        cli("observations", "label", write_rows(file, [{"id": "p", "at": AT, "label": 1}]), "--source", "none"),
        2,
        "none",
    )
