"""A training on images, texts or of a language model that no node can hold is refused; a byte more and it is queued."""

from __future__ import annotations

import json

import pytest

from apps.core.errors import PlaneError
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.versions.data_facts import build_image_facts, find_base_facts
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.input_facts import find_input_facts
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.jobs.submission_validation import estimate_submission
from apps.platform.nodes.extras import LANGUAGE
from apps.platform.nodes.models import Node

CONFIG = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 2,
    "hidden_size": 512,
    "n_routed_experts": 8,
    "vocab_size": 900,
}
SPECS = {
    "train_image": {"images": "wti-daily:v1", "backbone": "mobilenet_v3_small"},
    "train_entities": {"width": 512, "layers": 8},
    "train_language": {"base": "wti-daily:v1", "method": "full"},
}


@pytest.fixture
def ask(project, engineer, actor_for, added, held):
    """ask(kind) -> (submit, estimate): of a training on files that the project holds."""
    Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=2**50, extras=[LANGUAGE])
    texts = held(b'{"prompt": "a", "completion": "b"}\n' * 50, media_type="application/x-ndjson").digest

    def make(kind: str):
        if kind == "train_image":
            added({"images.csv": held(b"path,label\n"), **{f"{n}.png": held(b"%d" % n) for n in range(20)}})
        if kind == "train_language":
            config = held(json.dumps(CONFIG).encode())
            added({"config.json": config, "tokenizer.json": held(b"{}"), "model.safetensors": held(b"shard")})
        inputs = [] if kind == "train_image" else [InputSpec(slot="texts", digest=texts)]
        asked = {"actor": actor_for(engineer), "project": project}
        submission = Submission(kind=kind, spec=SPECS[kind], inputs=inputs)
        return (
            lambda: submit_job(**asked, submission=submission)[0],
            lambda: estimate_submission(asked["actor"], project, submission)[2],
        )

    return make


@pytest.mark.parametrize("kind", SPECS)
def test_one_byte_too_few_is_refused_and_the_border_is_not(ask, kind):
    submit, estimate = ask(kind)
    need = estimate().estimate.host.total
    Node.objects.update(memory_bytes=need - 1)
    with pytest.raises(PlaneError) as refused:
        submit()
    (error,) = refused.value.errors
    assert (error["code"], error["field"], error["limit"]) == ("memory_unfit", "/needs/memory_bytes", need - 1)
    assert f"needs {need / 1e9:.2f} GB of memory (parameters" in error["message"]
    assert not Job.objects.exists()
    Node.objects.update(memory_bytes=need)
    assert submit().need_memory_bytes >= need


def test_a_base_of_any_size_waits_for_a_node_that_holds_it(ask, monkeypatch):
    """On a plane without nodes, where none can be too small; what is stored of it stays a number of the database."""
    monkeypatch.setitem(CONFIG, "hidden_size", 2**31)
    submit, _estimate = ask("train_language")
    Node.objects.all().delete()
    assert submit().need_memory_bytes == 2**50


def test_the_hint_names_what_these_families_can_do(ask):
    _submit, estimate = ask("train_language")
    Node.objects.update(memory_bytes=estimate().estimate.host.total - 1)
    changes = {change.split()[0] for change, _less in estimate().remedies}
    assert {"micro_batch", "activation_checkpointing", "method"} <= changes


def test_facts_of_versions_are_those_of_their_inputs(ask, project, engineer, actor_for):
    submit, _estimate = ask("train_image")
    inputs = {each.slot: each.artifact for each in submit().inputs.all()}
    facts = find_input_facts(project, "train_image", inputs)
    assert (facts.rows, facts.file_bytes) == (20, 30)
    DatasetVersion.objects.update(rows=20, params={"images": {"classes_count": 4}})
    assert build_image_facts(DatasetVersion.objects.get()).rows == 20
    assert find_input_facts(project, "train_image", inputs).classes == 4


def test_a_base_is_known_by_its_config(ask, project, engineer, actor_for):
    submit, _estimate = ask("train_language")
    inputs = {each.slot: each.artifact for each in submit().inputs.all()}
    facts = find_input_facts(project, "train_language", inputs)
    assert (facts.base, facts.base_bytes) == (CONFIG, 5)
    told = find_base_facts(actor_for(engineer), project, "wti-daily:v1")
    assert (told.base, told.base_bytes) == (CONFIG, 5)
    assert find_base_facts(actor_for(engineer), project, "nothing:v1") is None
