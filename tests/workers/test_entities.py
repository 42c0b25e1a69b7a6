"""A model of entities on a plane: trained, measured on other texts, registered, and shown."""

import json

import pytest

from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from tests.deepseek.entities.making import QUICK, draw_texts
from workers import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def texts(project, worker):
    """The digest of a file of texts that the project holds."""
    data = "".join(json.dumps(record) + "\n" for record in draw_texts())
    with get_store().open_staging() as staging:
        staging.write(data.encode())
        digest, size = staging.publish()
    artifact = Artifact.objects.create(digest=digest, size=size)
    Holding.objects.create(project=project, artifact=artifact, name="texts.jsonl", media_type="application/x-ndjson")
    return digest


@pytest.fixture
def run(submit, worker):
    """run(kind, slot=digest, spec=...) -> {slot: digest} of what a job made."""

    def run(kind, spec=None, register=None, **inputs):
        slots = [InputSpec(slot=slot, digest=digest) for slot, digest in inputs.items()]
        pk = submit(kind=kind, spec=spec or {}, inputs=slots, register=register or {}).pk
        tasks.run_next("cpu")
        job = Job.objects.get(pk=pk)
        assert job.state == JobState.SUCCEEDED, job.error
        return {output.slot: output.artifact_id for output in job.outputs.all()}

    return run


def test_a_model_goes_from_texts_to_its_page(run, texts, web, engineer):
    made = run("train_entities", spec=QUICK, texts=texts)
    assert set(made) == {"model", "manifest", "figures", "heldout", "samples"}
    model = {slot: made[slot] for slot in ("model", "manifest")}
    evaluation = run("evaluate", spec={"runs": 20, "batches": [1], "replicates": 200}, table=texts, **model)
    assert set(evaluation) == {"evaluation", "rows", "replicates"}
    forms = {"fp32": made["model"], "fp32_manifest": made["manifest"], "fp32_figures": made["figures"]}
    run("register", register={"model": "names"}, **forms)
    version = ModelVersion.objects.get()
    page = web(engineer).get(f"/p/demo/models/names/{version.number}")
    assert page.status_code == 200
    assert "Ada Lovelace" in page.content.decode()  # the call of /predict
    shown = web(engineer).get(f"/p/demo/runs/{Run.objects.get().pk}")
    assert shown.status_code == 200
