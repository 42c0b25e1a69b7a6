"""A job that runs a model takes what the model's own job tells: the base of an adapter, the extra, the memory."""

import json

import pytest

from apps.core.errors import Invalid
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.nodes.extras import LANGUAGE, ONNX
from apps.platform.nodes.models import Node

pytestmark = pytest.mark.django_db
MEMORY = 8 * 2**30
BASE = {f"base/{name}": f"b{place}" + "0" * 62 for place, name in enumerate(("config.json", "model.safetensors"))}


@pytest.fixture(autouse=True)
def node(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    return Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=2**34, extras=[LANGUAGE])


@pytest.fixture
def hold(project, add_artifact):
    return lambda digest: Artifact.objects.filter(pk=digest).first() or add_artifact(project, digest)


@pytest.fixture
def train(project, hold):
    """train(kind, method, letter) -> the digest of the model that a job of the project made."""

    def make(kind="train_language", method="lora", letter="a", state="succeeded"):
        facts = {"kind": kind, "state": state, "grant": {}, "time_limit_seconds": 60, "need_memory_bytes": MEMORY}
        job = Job.objects.create(project=project, spec=json.dumps({"method": method}), **facts)
        for slot, digest in BASE.items():
            job.inputs.create(slot=slot, artifact=hold(digest))
        for place, slot in enumerate(KINDS[kind].outputs):
            artifact = hold(f"{letter}{place}" + "0" * 62)
            job.outputs.create(slot=slot, artifact=artifact, name=slot, media_type="x/y")
        return job.outputs.get(slot="model").artifact_id

    return make


@pytest.fixture
def evaluate(project, engineer, actor_for, hold):
    def submit(*inputs: InputSpec) -> Job:
        table = InputSpec(slot="table", digest=hold("d0" + "0" * 62).pk)
        manifest = InputSpec(slot="manifest", digest=hold("d1" + "0" * 62).pk)
        submission = Submission(kind="evaluate", spec={}, inputs=[table, manifest, *inputs])
        return submit_job(actor=actor_for(engineer), project=project, submission=submission)[0]

    return submit


def get_base(job: Job) -> dict[str, str]:
    return dict(job.inputs.filter(slot__startswith="base").values_list("slot", "artifact_id"))


def test_an_adapter_brings_the_base_of_its_training(evaluate, train, hold):
    model = InputSpec(slot="model", digest=train())
    job = evaluate(model)
    assert (get_base(job), job.need_extra, job.need_memory_bytes) == (BASE, LANGUAGE, MEMORY)
    other = hold("e0" + "0" * 62).pk
    assert get_base(evaluate(model, InputSpec(slot="base", digest=other))) == {"base": other}


def test_a_job_that_has_not_ended_is_known_too(evaluate, train):
    train(state="queued")
    training = Job.objects.get()
    job = evaluate(InputSpec(slot="model", job_id=training.pk, job_slot="model"))
    assert (get_base(job), job.need_extra) == (BASE, LANGUAGE)


def test_other_models_bring_none(evaluate, train):
    cases = {"full": ("train_language", "full", "f"), "table": ("train", "", "c")}
    jobs = {name: evaluate(InputSpec(slot="model", digest=train(*facts))) for name, facts in cases.items()}
    found = {name: (get_base(job), job.need_extra, job.need_memory_bytes) for name, job in jobs.items()}
    assert found == {"full": ({}, LANGUAGE, MEMORY), "table": ({}, "", 2 * 2**30)}


def test_without_the_extra_it_is_not_queued(evaluate, train, node):
    node.extras = []
    node.save()
    model = InputSpec(slot="model", digest=train())
    with pytest.raises(Invalid) as failure:
        evaluate(model)
    assert [(error["code"], error["field"]) for error in failure.value.errors] == [("extra_missing", "/kind")]
    assert not Job.objects.filter(kind="evaluate").exists()


@pytest.fixture
def export(project, engineer, actor_for, hold):
    def submit(model: InputSpec, **spec) -> Job:
        manifest = InputSpec(slot="manifest", digest=hold("d1" + "0" * 62).pk)
        submission = Submission(kind="export", spec=spec, inputs=[model, manifest])
        return submit_job(actor=actor_for(engineer), project=project, submission=submission)[0]

    return submit


def test_a_language_model_is_not_queued_to_be_exported(train, export):
    """Made already, or to be made yet by a job; one of images is taken."""
    digest = train(letter="a")
    waiting = Job.objects.get(outputs__artifact=digest)
    cases = {"digest": InputSpec(slot="model", digest=digest)}
    cases["job"] = InputSpec(slot="model", job_id=waiting.pk, job_slot="model")
    for filled, model in cases.items():
        with pytest.raises(Invalid) as failure:
            export(model)
        errors = [(error["code"], error["field"]) for error in failure.value.errors]
        assert errors == [("family_unsupported", f"/inputs/model/{filled}")]
    assert export(InputSpec(slot="model", digest=train("train_image", letter="c"))).need_extra == ""


def test_onnx_that_is_named_needs_a_node_that_has_it(train, export, node):
    model = InputSpec(slot="model", digest=train("train_image"))
    with pytest.raises(Invalid) as failure:
        export(model, forms=["pt2", "onnx"])
    error = failure.value.errors[0]
    assert (error["code"], error["field"], "deepseek-offline[onnx]" in error["hint"]) == (
        "extra_missing",
        "/spec/forms",
        True,
    )
    Node.objects.update(extras=[ONNX])
    assert export(model, forms=["pt2", "onnx"]).need_extra == ONNX
