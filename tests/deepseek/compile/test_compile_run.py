"""Compiling one model: what comes out, that it computes the same, and what is said of its speed."""

import importlib.util
import json
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from deepseek.compile.verification import Verification
from deepseek.models.figures import Figures
from deepseek.models.machine import get_arch, read_elf_machine
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.models.predictor import load_predictor, open_model
from deepseek.models.timing import Timing
from tests.deepseek.models.making import make_model

ROWS = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)


def same(folder, out, rows=ROWS):
    """Whether the compiled model predicts what the trained one does."""
    return np.allclose(load_predictor(out).predict(rows), load_predictor(folder).predict(rows), rtol=1e-5, atol=1e-6)


def test_the_outputs(made):
    slots = [("model", "model.so"), ("manifest", "model.json"), ("figures", "figures.json")]
    slots += [("schedules", "schedules.jsonl"), ("verification", "verify.json"), ("bundle", "bundle.tar.gz")]
    assert [(o.slot, o.path) for o in made.result.outputs] == slots
    assert sorted(path.name for path in made.out.iterdir()) == sorted(name for _, name in slots)
    stages = {"read", "lower", "tune", "build", "bundle", "compare", "measure"}
    assert {stage for stage, *_ in made.report.stages} == stages
    tuned = [(done, total) for stage, done, total, _ in made.report.stages if stage == "tune"]
    assert tuned == [(1, 3), (2, 3), (3, 3)]
    assert read_elf_machine(made.out / "model.so") == get_arch()


def test_the_manifest(made):
    trained, manifest = ModelManifest.read(made.model / "model.json"), ModelManifest.read(made.out / "model.json")
    assert (manifest.variant, manifest.format) == (f"tvm-{get_arch()}", "tvm")
    assert (manifest.parent, manifest.signature) == (trained.compute_digest(), trained.signature)
    assert manifest.inputs["model"] == trained.file.sha256
    assert manifest.file.sha256 == compute_file_sha256(made.out / "model.so")
    machine = manifest.machine
    assert (machine["batch"], machine["threads"], machine["trials"]) == (3, 1, 3)
    assert machine["mcpu"] == machine["target"]["mcpu"] == made.result.target
    assert len(machine["tiles"]) == 2
    assert machine["tuned"]
    assert machine["tvm"]


def test_the_figures(made):
    figures = Figures.read(made.out / "figures.json")
    assert figures.variant == f"tvm-{get_arch()}"
    assert figures.agreement.max_rel_error < 1e-5
    assert figures.agreement.same_class.value == 1
    assert [metric.name for metric in figures.agreement.difference] == ["accuracy", "f1_macro", "log_loss"]
    (timed,) = figures.latency
    assert (timed.batch, timed.threads, timed.runs, timed.against) == (3, 1, 10, "fp32 eager")
    assert not any("not tuned" in note for note in figures.notes)


def test_where_it_was_verified(made):
    verification = Verification.model_validate_json((made.out / "verify.json").read_bytes())
    assert (verification.ran, verification.where, verification.emulated) == (True, "host", False)
    assert [one.seed for one in verification.seeds] == [0, 1, 2]
    assert verification.largest_relative_difference < 1e-5


PROGRAM = """
import array, json, sys
sys.path.insert(0, sys.argv[1])
from load_model import BundleError, Model
model = Model(sys.argv[1])
rows = memoryview(array.array("f", [1, 2, 3, 4, 5] * 4)).cast("B").cast("f", [4, 5])
told = [model.predict(rows).tolist()]
for wrong in (memoryview(array.array("d", [1] * 5)).cast("B").cast("d", [1, 5]), rows.cast("B").cast("f", [5, 4])):
    try:
        model.predict(wrong)
    except BundleError as error:
        told.append(str(error))
print(json.dumps(told))
"""


def test_the_bundle_s_loader_in_python(made, tmp_path):
    """In a Python without packages, as a device has it."""
    with tarfile.open(made.out / "bundle.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    bundle = tmp_path / "bundle"
    call = [sys.executable, "-I", "-S", "-c", PROGRAM, str(bundle)]
    answers, dtype, shape = json.loads(subprocess.run(call, capture_output=True, check=True).stdout)
    assert np.allclose(answers, load_predictor(made.model).predict(np.array([[1, 2, 3, 4, 5]] * 4, np.float32)))
    assert "takes float32" in dtype
    assert "the model takes (rows, 5)" in shape
    (bundle / "model.json").write_text("{}")
    spoilt = subprocess.run(call, capture_output=True, text=True, check=False)
    assert "model.json has other bytes" in spoilt.stderr


ON_A_DEVICE = """
import json, sys
import numpy as np
from pathlib import Path

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tvm", "torch"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocker())
sys.path.append(sys.argv[2])
from deepseek.models.predictor import load_predictor
print(json.dumps(load_predictor(Path(sys.argv[1])).predict(np.array(json.loads(sys.argv[3]), np.float32)).tolist()))
"""


def test_the_runtime_alone_opens_the_library(made, tmp_path):
    """As on a device, which has the package of TVM's runtime and no other part of TVM."""
    package = tmp_path / "deepseek_tvm_runtime"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").touch()
    library = Path(importlib.util.find_spec("tvm").origin).parent / "lib/libtvm_runtime.so"
    (package / "lib/libtvm_runtime.so").symlink_to(library)
    words = [sys.executable, "-c", ON_A_DEVICE, str(made.out), str(tmp_path), json.dumps(ROWS.tolist())]
    answers = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)
    assert np.array_equal(np.array(answers, np.float32), load_predictor(made.out).predict(ROWS))


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7])
def test_any_number_of_rows(made, rows):
    assert same(made.model, made.out, ROWS[:rows])


def test_a_library_opens_under_the_name_that_a_job_gives_its_input(made, copied):
    staged = (copied / "model.so").rename(copied / "000")
    opened = open_model(ModelManifest.read(copied / "model.json"), staged)
    assert np.array_equal(opened.predict(ROWS), load_predictor(made.out).predict(ROWS))


def test_a_bound_call_gives_the_same(made):
    predictor = load_predictor(made.out)
    assert np.array_equal(predictor.bind(ROWS[:3])()[0].numpy(), predictor.predict(ROWS[:3]))
    assert len(predictor.bind(ROWS)()) == 3


def test_a_short_call_does_not_wait_for_a_long_one(made):
    """The event loop of `deepseek serve` makes the short one."""
    predictor = load_predictor(made.out)
    expected, make_tensor = predictor.predict(ROWS), predictor.library._tensor
    begun, gate, answers = threading.Event(), threading.Event(), []

    def wait_in_thread(rows):
        if threading.current_thread() is long:
            begun.set()
            assert gate.wait(20)
        return make_tensor(rows)

    predictor.library._tensor = wait_in_thread
    long = threading.Thread(target=lambda: answers.append(predictor.predict(ROWS)))
    short = threading.Thread(target=lambda: answers.append(predictor.predict(ROWS[:3])))
    long.start()
    assert begun.wait(20)
    short.start()
    short.join(10)
    gate.set()
    long.join(20)
    assert [len(answer) for answer in answers] == [3, 7]
    assert all(np.array_equal(answer, expected[: len(answer)]) for answer in answers)


@pytest.mark.parametrize(
    ("task", "activation", "hidden"),
    [
        ("forecast", "tanh", (17, 3)),
        ("classification", "gelu", (17, 3)),
        ("regression", "relu", ()),
        ("classification", "relu", ()),
    ],
)
def test_every_kind_of_network(compiled, tmp_path, task, activation, hidden):
    make_model(tmp_path / "model", task=task, activation=activation, hidden=hidden, dropout=0.1)
    compiled(tmp_path / "model", batch=4)
    assert same(tmp_path / "model", tmp_path / "out")


def test_less_optimisation(compiled, model, tmp_path):
    compiled(model, opt_level=0)
    assert same(model, tmp_path / "out")


def test_without_trials_equal_inputs_give_equal_bytes(compiled, model, tmp_path):
    for out in ("one", "two"):
        compiled(model, out=out)
    for name in ("model.so", "model.json", "verify.json", "bundle.tar.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert any("not tuned" in note for note in Figures.read(tmp_path / "one/figures.json").notes)


def test_other_tiles_give_the_same_outputs(compiled, model, tmp_path):
    for out, trials in (("one", 0), ("two", 10)):
        compiled(model, out=out, batch=4, trials=trials)
    one, two = (load_predictor(tmp_path / out) for out in ("one", "two"))
    assert one.manifest.parent == two.manifest.parent
    assert np.allclose(one.predict(ROWS), two.predict(ROWS), rtol=1e-6)


def test_what_is_slower_is_said_to_be(compiled, model, report, monkeypatch, tmp_path):
    def slow(calls, **words):
        return Timing({name: 21e-6 if name.startswith("tvm") else 1e-5 for name in calls}, 10)

    monkeypatch.setattr("deepseek.compile.run.take_turns", slow)
    compiled(model, report=report)
    figures = Figures.read(tmp_path / "out/figures.json")
    assert "2.1 times slower than fp32 eager" in figures.notes[0]
    assert ("warning", figures.notes[0]) in report.lines
