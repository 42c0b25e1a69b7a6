"""A training on a dataset of images, from the folder on the server to the run, its lineage and the model version."""

from __future__ import annotations

import pytest

from apps.data.datasets.ingest.local_files import ingest
from apps.ml.experiments.models import Run
from apps.ml.registry.models import Evaluation, ModelVersion
from apps.platform.jobs.models import Job
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.models import Edge
from tests.deepseek.images.conftest import QUICK, fill_folder
from workers import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def images(worker, tmp_path, project, operator, settings):
    """A version of 24 images, one of them broken."""
    folder = fill_folder(tmp_path / "pictures", 8)
    (folder / "dark/0.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": ""})
    return ingest(actor=operator, project=project, dataset_name="pictures", path=folder, images=True).version


@pytest.fixture
def train(submit):
    def run(**fields) -> Job:
        job = submit(kind="train_image", spec=QUICK | {"images": "pictures:v1"} | fields)
        tasks.run_next("cpu")
        return Job.objects.get(pk=job.pk)

    return run


def test_a_version_becomes_a_model_that_is_measured(images, train, submit, api, web, engineer, approver):
    job = train()
    assert (job.state, job.error) == ("succeeded", None)
    outputs = dict(job.outputs.values_list("slot", "artifact_id"))
    drawings = {f"plots/{name}.svg" for name in ("calibration", "confusion", "precision_recall", "roc")}
    assert set(outputs) == {"model", "manifest", "figures", "heldout", "diagnostics", "samples"} | drawings
    ends = Edge.objects.filter(target_type="job", target_id=str(job.pk)).values_list("source_type", "source_id", "role")
    assert list(ends) == [("dataset_version", str(images.pk), "images")]
    run = Run.objects.get(job=job)
    assert run.figures["classes"][0]["name"] == "bright"
    page = web(engineer).get(f"/p/demo/runs/{run.pk}/diagnostics").content.decode()
    assert all(f'id="{chart}' in page for chart in ("roc", "calibration")), page
    inputs = [
        InputSpec(slot=f"fp32{ending}", digest=outputs[slot])
        for slot, ending in (("model", ""), ("manifest", "_manifest"), ("figures", "_figures"))
    ]
    submit(kind="register", spec={}, inputs=inputs, register={"model": "pictures"})
    tasks.run_next("cpu")
    assert ModelVersion.objects.get().model.name == "pictures"

    # On a set of the version of images, by the same addresses as a model of tables.
    body = {"name": "seen", "dataset": "pictures", "version": "1", "task": "classification", "target": "label"}
    client, project = api(engineer), "/api/v1/projects/demo"
    assert client.post(f"{project}/evaluation-sets", body, format="json").status_code == 201
    version = f"{project}/models/pictures/versions/1"
    answer = client.post(f"{version}/evaluations", {"set": "seen", "runs": 20, "batches": [1]}, format="json")
    assert answer.status_code == 201, answer.content
    tasks.run_next("cpu")
    job = Job.objects.get(pk=answer.json()["id"])
    assert (job.state, job.error) == ("succeeded", None)
    assert Evaluation.objects.get().rows == 23
    ends = Edge.objects.filter(target_type="job", target_id=str(job.pk)).values_list("role", "source_type")
    assert dict(ends) == {"model": "artifact", "manifest": "artifact", "table": "dataset_version"}
    gate = {"set": "seen", "metric": "accuracy", "baseline": 1}
    assert api(approver).post(f"{project}/models/pictures/gates", gate, format="json").status_code == 201
    assert client.get(f"{version}/gates").json()["gates"][0]["verdict"] == "no_baseline"  # it is the baseline itself
    for path in ("models/pictures/1/evaluations", "models/pictures/baselines", f"jobs/{job.pk}", "jobs/new/evaluate"):
        assert web(engineer).get(f"/p/demo/{path}").status_code == 200, path
    form = {f"inputs/{slot}": outputs[slot] for slot in ("model", "manifest")}
    form |= {"/images": "pictures:v1", "op": "submit"}
    assert web(engineer).post("/p/demo/jobs/new/evaluate", form).status_code == 302
    assert Job.objects.latest("pk").inputs.filter(slot__startswith="table/").count() == 25  # with images.csv


def test_broken_images_end_the_job_where_none_may_be(images, train):
    job = train(on_broken="fail")
    assert (job.state, job.error["code"], job.attempt) == ("failed", "image_broken", 1)
    assert "dark/0.png" in job.error["message"]
