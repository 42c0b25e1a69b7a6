"""`deepseek train` as a person runs it, and how the commands after it take its folder."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.deepseek.conftest import SCRIPT
from tests.deepseek.models.making import make_model
from tests.deepseek.test_cli import fine, refused

ROWS = "".join(f"{i % 7},{i % 3},{'odd' if i % 7 > 3 else 'even'}\n" for i in range(90))
TABLE = f"a,b,kind\n{ROWS}"
QUICK = ["--task", "classification", "--target", "kind", "--hidden", "8", "--epochs", 3, "--first-batch", 8]
LONG = ["--task", "forecast", "--target", "a", "--lags", "5", "--patience", "0", "--first-batch", "2"]
LONG += ["--last-batch", "4", "--epochs", "60", "--checkpoint-every", "50", "--hidden", "32", "--dropout", "0.2"]


def test_train(deepseek, write, tmp_path):
    run = fine(deepseek("train", write(TABLE), "-o", "model", *QUICK))
    assert "rows: training 62, validation 14, test 14" in run.stdout
    assert "metrics: accuracy " in run.stdout
    assert "model: model/model.safetensors" in run.stdout
    assert "trains on cpu in fp32" in run.stderr
    assert sorted(os.listdir(tmp_path)) == ["model", "table.csv"]


def test_train_prints_json(deepseek, write):
    words = [*QUICK, "--max-lr", "0.01", "--hidden", "", "--features", "a", "--json"]
    result = json.loads(fine(deepseek("train", write(TABLE), "-o", "out", *words)).stdout)
    assert result["summary"]["parameters"] == 4  # no hidden layer: two classes of one weight and one bias
    slots = [output["slot"] for output in result["outputs"]]
    assert slots[:5] == ["model", "manifest", "figures", "heldout", "diagnostics"]
    assert slots[-1] == "samples"


def test_every_flag_has_its_name(deepseek):
    text = fine(deepseek("train", "--help")).stdout
    for flag in ("--init-lr", "--max-lr", "--warmup-steps", "--first-batch", "--last-batch", "--hidden", "--seed"):
        assert f"{flag} " in text
    assert "(required)" in text
    assert "(default: 64,64)" in text
    assert "--schedule" not in text


@pytest.mark.parametrize(
    ("content", "words", "parts"),
    [
        (None, [], ["field: /task", "field: /target", "Give it a value"]),
        (None, ["--task", "classification", "--target", "knd"], ["no column 'knd'", "Did you mean 'kind'?"]),
        (None, ["--task", "regression", "--target", "kind"], ["'kind' is not numeric", "'even'", "field: /target"]),
        (None, ["--task", "regression", "--target", "a", "--features", "knd"], ["field: /features/0"]),
        (None, [*QUICK, "--device", "cuda"], ["torch finds none here", "field: /device"]),
        (None, [*QUICK, "--max-lr", "0"], ["field: /schedule/max_lr", "limit: more than 0"]),
        (None, [*QUICK, "--hidden", "8,x"], ["field: /hidden/1"]),
        (None, ["--nonsense"], ["--nonsense"]),
        ("a,b\n1,2\n", ["--task", "regression", "--target", "a"], ["1 usable rows are too few", "field: inputs/table"]),
        (b"\x00\xff\xfe\x00", QUICK, ["field:"]),
        (b"PAR1 and no more", QUICK, ["Parquet file cannot be read"]),
        (b"", QUICK, ["empty"]),
    ],
)
def test_bad_input_is_explained(deepseek, write, tmp_path, content, words, parts):
    refused(deepseek("train", write(TABLE if content is None else content), "-o", "out", *words), *parts)
    assert os.listdir(tmp_path) == ["table.csv"]


def read_time(path):
    """When the file was written, or None if it is not there."""
    return path.stat().st_mtime_ns if path.exists() else None


def stop(tmp_path, number):
    """Start a long training, send it `number` once it has written a checkpoint, and return how it ended."""
    checkpoint, command = tmp_path / ".out.checkpoint", [SCRIPT, "train", "table.csv", "-o", "out", *LONG]
    before = read_time(checkpoint)
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    end = time.monotonic() + 300
    while read_time(checkpoint) == before and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    errors = process.communicate(timeout=300)[1]
    assert not (tmp_path / "out").exists()
    assert checkpoint.exists()
    return process.returncode, errors


@pytest.mark.e2e  # the command is started, stopped and started again
def test_a_training_stopped_again_and_again_resumes_bit_for_bit(deepseek, deepseek_script, write, tmp_path):
    write(TABLE)
    ends = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        code, errors = stop(tmp_path, number)
        ends.append((code, "the same words again go on" in errors, "goes on from the checkpoint of step " in errors))
    assert ends == [(130, True, False), (143, False, True), (-9, False, True)]
    words = ["train", "table.csv", *LONG]
    assert "goes on from the checkpoint of step " in fine(deepseek_script(*words, "-o", "out")).stderr
    fine(deepseek(*words, "-o", "uninterrupted"))
    for name in ("model.safetensors", "model.json", "figures.json", "heldout.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "uninterrupted" / name).read_bytes()
    assert not (tmp_path / ".out.checkpoint").exists()


@pytest.mark.parametrize("command", ["quantize", "compile"])
def test_a_model_folder_that_is_none(deepseek, write, tmp_path, command):
    refused(deepseek(command, "absent", "-o", "out"), "has no model.json", "field: MODEL_DIR")
    make_model(tmp_path / "model")
    refused(deepseek(command, "model", "-o", "out", "--heldout", "absent"), "field: --heldout", "value: absent")
    (tmp_path / "model/heldout.safetensors").unlink()
    refused(deepseek(command, "model", "-o", "out"), "field: --heldout", "value: model/heldout.safetensors")
    (tmp_path / "model/model.safetensors").unlink()
    refused(deepseek(command, "model", "-o", "out"), "lacks model.safetensors")
    write("{}", "model/model.json")
    refused(deepseek(command, "model", "-o", "out"), "is not the manifest of a model", "field: inputs/manifest")
