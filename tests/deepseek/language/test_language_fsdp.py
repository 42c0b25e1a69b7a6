"""Weights shared out over two processes learn what one process learns, and resume bit for bit."""

import json

import pytest

from deepseek.language.run import run
from deepseek.language.spec import LanguageSpec
from tests.deepseek.conftest import Recorder

pytestmark = pytest.mark.e2e  # starts torchrun and two interpreters with torch and transformers


class Keeper(Recorder):
    """Keeps the bytes of every checkpoint as it was announced."""

    def checkpoint(self, path, step):
        self.checkpoints.append(path.read_bytes())


def test_it_has_the_loss_of_one_process_and_resumes(bases, texts, tmp_path):
    schedule = {"first_batch": 8, "last_batch": 8, "init_lr": 1e-3, "max_lr": 1e-2, "warmup_steps": 2}
    fields = {"method": "lora", "epochs": 2, "samples": 0, "schedule": schedule, "checkpoint_every": 2}
    shared = fields | {"strategy": "fsdp", "processes": 2}
    alone, whole, rest = Recorder(), Keeper(), Recorder()

    def train(name, values, report, **more):
        inputs = {"base": bases[4], "texts": texts, **more}
        run(LanguageSpec(**values), inputs=inputs, out=tmp_path / name, report=report)
        return json.loads((tmp_path / name / "figures.json").read_text())["metrics"][0]["value"]

    perplexity = train("alone", fields, alone)
    assert train("shared", shared, whole) == pytest.approx(perplexity, rel=1e-4)
    assert whole.metrics["validation_loss"] == pytest.approx(alone.metrics["validation_loss"], rel=1e-4)
    (tmp_path / "checkpoint").write_bytes(whole.checkpoints[0])
    train("rest", shared, rest, checkpoint=tmp_path / "checkpoint")
    assert any("checkpoint of step 2" in line for _, line in rest.lines)
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("shared", "rest")]
    assert models[0] == models[1]
