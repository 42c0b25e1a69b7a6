"""The dataset version that a language model starts from: found when the job is submitted, each file under its path."""

from __future__ import annotations

import pytest

from apps.core.errors import PlaneError
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.nodes.extras import LANGUAGE
from apps.platform.nodes.models import Node


@pytest.fixture
def submit_training(project, engineer, actor_for, held):
    Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=2**34, extras=[LANGUAGE])
    texts = held(b'{"prompt": "a", "completion": "b"}\n', media_type="application/x-ndjson").digest

    def submit(base: str, *more: InputSpec) -> Job:
        inputs = [InputSpec(slot="texts", digest=texts), *more]
        submission = Submission(kind="train_language", spec={"base": base}, inputs=inputs)
        return submit_job(actor=actor_for(engineer), project=project, submission=submission)[0]

    return submit


def test_each_file_becomes_an_input_below_the_slot(submit_training, added, held):
    config, shard, tokenizer = held(b"{}"), held(b"shard"), held(b"[]")
    added({"config.json": config, "model.safetensors": shard, "tokenizer.json": tokenizer})
    job = submit_training("wti-daily:v1")
    inputs = dict(job.inputs.exclude(slot="texts").values_list("slot", "artifact_id"))
    files = {"config.json": config, "model.safetensors": shard, "tokenizer.json": tokenizer}
    assert inputs == {f"base/{path}": artifact.digest for path, artifact in files.items()}
    assert job.need_extra == LANGUAGE


def test_an_input_may_give_the_base_instead(submit_training, held):
    model = held(b"model").digest
    job = submit_training("", InputSpec(slot="base", digest=model))
    assert dict(job.inputs.values_list("slot", "artifact_id"))["base"] == model


def test_each_fault_is_told_before_it_is_queued(submit_training, added, held):
    def refuse(base: str, *more: InputSpec) -> list[tuple[str, str]]:
        with pytest.raises(PlaneError) as failure:
            submit_training(base, *more)
        return [(error["code"], error["field"]) for error in failure.value.errors]

    assert refuse("") == [("input_missing", "/spec/base")]
    assert refuse("nothing:v1")[0] == ("data_unknown", "/spec/base")
    added({"model.safetensors": held(b"shard")})
    assert refuse("wti-daily:v1")[0] == ("base_unreadable", "/spec/base")
    stranger = InputSpec(slot="other/file", digest=held(b"x").digest)
    assert ("unknown_slot", "/inputs/other/file") in refuse("", stranger)
    Node.objects.update(extras=[])
    assert ("extra_missing", "/kind") in refuse("")
    assert not Job.objects.filter(kind="train_language").exists()
