"""`deepseek models predict` queues a job with the files of the version and of the dataset."""

from __future__ import annotations

import json

import pytest

from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def data(plane, registered, tmp_path):
    """The columns that wti-forecast takes, as the dataset fleet."""
    document = json.loads(registered().document)
    names = [document["target"], *document["features"]]
    (tmp_path / "fleet.csv").write_text(",".join(names) + "\n" + "\n".join(",".join("1" * len(names)) for _ in "abc"))
    plane.dataset("fleet").upload(tmp_path / "fleet.csv")


def test_a_job_is_queued(cli, data):
    words = ("--register", "scored", "--name", "guess", "--processes", "2", "--detach")
    run = cli("models", "predict", "wti-forecast:v1", "fleet:v1", *words)
    assert run.returncode == 0, run.stderr
    job = Job.objects.get(pk=int(run.stdout))
    assert {row.slot for row in job.inputs.all()} == {"table", "model", "manifest"}
    spec = json.loads(job.spec)
    assert (spec["model"], spec["name"], spec["processes"], job.need_cpus) == ("wti-forecast:v1", "guess", 2, 2)
    assert (job.register, job.name) == ({"dataset": "scored"}, "wti-forecast:v1 on fleet:v1")


def test_what_is_wrong_is_told(cli, data, say_end):
    say_end(cli("models", "predict", "wti-forecast:v1", "fleet:v9"), 2, "There is no fleet:v9")
    say_end(cli("models", "predict", "wti-forecast:v9", "fleet:v1"), 2, "/spec/model")
    assert not Job.objects.filter(kind="predict").exists()
