"""A language model on a plane: an adapter, measured beside its base, registered, measured on a set, and shown."""

import importlib.util

import pytest

from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.manifest import JSON_LINES, UNKNOWN_TYPE
from apps.data.datasets.versions.registration import add_version
from apps.ml.registry.models import Evaluation, ModelVersion
from apps.ml.registry.services.evaluations import create_evaluation_set, submit_evaluation
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from apps.platform.nodes.extras import LANGUAGE
from tests.apps.data.datasets.conftest import held  # noqa: F401
from workers import tasks

PACKAGES = ("transformers", "peft")
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not all(map(importlib.util.find_spec, PACKAGES)), reason="the extra language is not installed"),
]
SPEC = {"base": "base:v1", "epochs": 1, "samples": 0, "lora": {"rank": 2}}
QUICK = {"runs": 20, "batches": [1], "replicates": 200}


@pytest.fixture
def add_folder(actor_for, engineer, project, held):  # noqa: F811
    """add_folder(name, folder's files) -> the version."""

    def add(name, paths, media_type=UNKNOWN_TYPE):
        actor = actor_for(engineer)
        rows = [(path.name, held(path.read_bytes(), media_type=media_type), media_type) for path in paths]
        facts = {"rows": None, "columns": [{"name": "messages", "dtype": "list"}], "script": "test", "params": {}}
        dataset = create_dataset(actor=actor, project=project, name=name)
        return add_version(actor=actor, dataset=dataset, files=rows, media_type=media_type, **facts)[0]

    return add


@pytest.fixture
def texts(worker, add_folder, tmp_path):
    """A version with a file of conversations; the base lies in base:v1."""
    from tests.deepseek.language.tiny import write_base, write_texts

    add_folder("base", sorted(write_base(tmp_path / "base").iterdir()))
    worker.node.extras = [LANGUAGE]
    worker.node.save()
    return add_folder("texts", [write_texts(tmp_path / "texts.jsonl")], JSON_LINES)


@pytest.fixture
def run(submit, worker):
    def run(kind, spec=None, register=None, **inputs):
        slots = [InputSpec(slot=slot, digest=digest) for slot, digest in inputs.items()]
        return finish(submit(kind=kind, spec=spec or {}, inputs=slots, register=register or {}).pk)

    return run


def finish(pk):
    tasks.run_next("cpu")
    job = Job.objects.get(pk=pk)
    assert job.state == JobState.SUCCEEDED, job.error
    return {output.slot: output.artifact_id for output in job.outputs.all()}


def test_an_adapter_goes_from_texts_to_its_page(run, texts, project, web, engineer, actor_for):
    file = texts.files.get().artifact_id
    made = run("train_language", spec=SPEC, texts=file)
    forms = {"fp32": made["model"], "fp32_manifest": made["manifest"], "fp32_figures": made["figures"]}
    run("register", register={"model": "colours"}, **forms)
    version, actor = ModelVersion.objects.get(), actor_for(engineer)
    on = create_evaluation_set(
        actor=actor, project=project, name="talk", dataset_version=texts, task="language", target="answer", spec=QUICK
    )
    job = submit_evaluation(actor=actor, version=version, on=on)[0]
    finish(job.pk)
    assert {metric["name"] for metric in Evaluation.objects.get().metrics} == {"perplexity", "token_accuracy"}
    pages = {tail: web(engineer).get(f"/p/demo/models/colours{tail}") for tail in ("/1", "/baselines")}
    assert {tail: page.status_code for tail, page in pages.items()} == {"/1": 200, "/baselines": 200}
    assert "token_accuracy" in pages["/baselines"].content.decode()
