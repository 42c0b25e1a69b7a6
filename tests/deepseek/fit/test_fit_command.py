"""`deepseek fit` of each family: what it reads of the inputs, and what it refuses."""

import json

import pytest
from PIL import Image

from deepseek.fit.command import show_estimate
from deepseek.fit.facts import list_strings, read_facts
from deepseek.job import EngineError


@pytest.fixture
def estimate(capsys):
    """estimate(*words) -> the parts that are printed."""

    def run(*words) -> dict:
        assert show_estimate([str(word) for word in (*words, "--json")]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_images_are_counted_and_not_decoded(estimate, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / label / "1.png")
    (tmp_path / "cat" / "2.png").write_bytes(b"no image")
    told = estimate("train-image", tmp_path, "--height", "32", "--width", "64")
    assert told["host"]["data"] == 3 * 3 * 32 * 64
    assert read_facts("train_image", [tmp_path], None).classes == 2


def test_tokens_of_texts_are_counted(estimate, tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"one two {n}", "spans": []}) + "\n" for n in range(30)))
    short = estimate("train-entities", texts)
    facts = [estimate("train-entities", texts, "--max-length", limit) for limit in ("8", "512")]
    assert facts == [short, short]  # three tokens each, whatever the model takes
    assert estimate("train-entities")["host"]["total"] > short["host"]["total"]


def test_a_base_is_read_by_its_config(estimate, tmp_path):
    pytest.importorskip("tokenizers")
    base, texts = tmp_path / "base", tmp_path / "texts.jsonl"
    base.mkdir()
    config = {"model_type": "deepseek_v3", "num_hidden_layers": 2, "hidden_size": 64, "n_routed_experts": 4}
    (base / "config.json").write_text(json.dumps(config))
    (base / "model.safetensors").write_bytes(b"0" * 100)
    texts.write_text('{"prompt": "a", "completion": "b"}\n' * 10)
    full = estimate("train-language", base, texts, "--method", "full")["host"]
    assert full["optimizer"] >= 2 * full["gradients"] > 0
    assert estimate("train-language", base)["host"]["gradients"] < full["gradients"]
    assert list_strings({"messages": [{"role": "user", "content": "a"}], "n": 1}) == ["user", "a"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["train-language"], "wrong_inputs"),
        (["train-language", "nowhere"], "base_unreadable"),
        (["train-image", "a", "b"], "wrong_inputs"),
        (["train-image", "nowhere"], "no_images"),
        (["train-entities", "nowhere"], "texts_unreadable"),
    ],
)
def test_inputs_that_do_not_hold_are_refused(words, code):
    with pytest.raises(EngineError) as refused:
        show_estimate(words)
    assert refused.value.code == code
