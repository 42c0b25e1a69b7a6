"""Code for aarch64: compiled here, run under qemu, and equal to PyTorch; what its bundle holds, and what it refuses."""

import json
import os
import shutil
import subprocess
import tarfile

import numpy as np
import pytest
import torch

from deepseek.compile.bundle import Bundle, build_bundle
from deepseek.compile.compiler import find_compiler
from deepseek.compile.emulation import find_emulator
from deepseek.compile.proof import verify_under_emulation
from deepseek.compile.runtime import find_runtime
from deepseek.compile.spec import CompileSpec
from deepseek.compile.target import parse_target
from deepseek.compile.verification import Verification
from deepseek.job import EngineError
from deepseek.messages import Message
from deepseek.models.figures import Figures
from deepseek.models.folder import find_model_inputs
from deepseek.models.heldout import HELDOUT_NAME, Heldout, write_heldout
from deepseek.models.machine import get_arch, read_elf_machine
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.models.predictor import load_predictor
from deepseek.models.source import read_source
from tests.deepseek.compile.conftest import compile_to
from tests.deepseek.conftest import Recorder
from tests.deepseek.export.conftest import IMAGE, make_family, shorten_resnet

TEXT = "llvm -mtriple=aarch64-linux-gnu"
TARGET = parse_target(TEXT)
REQUIRED = "REQUIRE_AARCH64"
"""In the environment of continuous integration: there nothing below may be left out."""


@pytest.fixture(scope="module")
def emulator():
    """The command before a program of aarch64."""
    try:
        found, runtime = find_emulator(TARGET), find_runtime(TARGET)
        missing = next((fault for fault in (found, runtime) if isinstance(fault, Message)), None)
        find_compiler(TARGET)
    except EngineError as error:
        missing = error.message
    if missing and REQUIRED in os.environ:
        pytest.fail(missing)
    if missing or get_arch() == "aarch64":
        pytest.skip(missing or "this machine is one")
    return found


class Device:
    """A model compiled for aarch64: the trained folder, what was written, and its bundle as a device unpacks it."""

    def __init__(self, folder, family):
        self.family, self.model, self.out, self.report = family, folder / "model", folder / "out", Recorder()
        make_family(self.model, family)
        write_heldout(make_rows(family), self.model / HELDOUT_NAME)
        self.result = compile_to(self.out, self.model, self.report, target=TEXT, trials=3)
        with tarfile.open(self.out / "bundle.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        self.bundle = folder / "bundle"


def make_rows(family):
    random = np.random.default_rng(0)
    target = random.integers(0, 2, 8)
    if family == "image":
        return Heldout(random.integers(0, 256, (8, 3, IMAGE.height, IMAGE.width), dtype=np.uint8), target)
    features = random.normal(size=(8, 3)).astype(np.float32)
    features[:, 2] = random.integers(0, 3, 8)
    return Heldout(features, target)


@pytest.fixture(scope="module")
def devices(tmp_path_factory, emulator):
    """Family -> its device, each made once; that of images without the ONNX form, which takes as long as all else."""
    made = {}

    def make(family):
        if family not in made:
            with pytest.MonkeyPatch.context() as patch:
                if family == "image":
                    shorten_resnet(patch)
                    patch.setattr("deepseek.compile.bundle.list_missing_packages", lambda: ["onnx"])
                made[family] = Device(tmp_path_factory.mktemp(family), family)
        return made[family]

    return make


@pytest.fixture(params=["mlp", "image"])
def device(request, devices):
    return devices(request.param)


@pytest.fixture
def table(devices):
    return devices("mlp")


def run_program(emulator, bundle, data, folder):
    """What the program of the bundle says, and the numbers that it wrote."""
    (folder / "rows.bin").write_bytes(data)
    words = [str(bundle / "run_model"), str(bundle), str(folder / "rows.bin"), str(folder / "answers.bin")]
    done = subprocess.run([*emulator.command, *words], capture_output=True, text=True, timeout=120, check=False)
    answers = folder / "answers.bin"
    return done, np.fromfile(answers, np.float32) if answers.exists() else None


def test_it_ran_under_emulation_and_equals_pytorch(device):
    assert read_elf_machine(device.out / "model.so") == "aarch64"
    verification = Verification.model_validate_json((device.out / "verify.json").read_bytes())
    assert (verification.ran, verification.emulated) == (True, True)
    assert verification.where == "qemu-aarch64 (emulated)"
    assert [one.seed for one in verification.seeds] == [0, 1, 2]
    assert 0 < verification.largest_relative_difference < 1e-5
    assert device.result.summary["ran"] == verification.where
    assert {"lower", "bundle", "verify"} <= {stage for stage, *_ in device.report.stages}
    manifest = ModelManifest.read(device.out / "model.json")
    assert (manifest.variant, manifest.machine["trials"]) == ("tvm-aarch64", 0)


def test_its_figures_hold_no_latency(device):
    figures = Figures.read(device.out / "figures.json")
    assert (figures.latency, figures.rows) == ([], 8)
    assert figures.metrics
    assert figures.agreement.max_rel_error < 1e-5
    assert "says nothing of the device's latency" in figures.notes[0]
    assert any("not tuned for aarch64" in note for note in figures.notes)


def test_a_server_here_refuses_it(device):
    with pytest.raises(EngineError) as caught:
        load_predictor(device.out)
    assert (caught.value.code, caught.value.limit) == ("machine_mismatch", get_arch())


def test_the_bundle_runs_by_itself(device, emulator, tmp_path):
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=device.bundle, check=True)
    document = json.loads((device.bundle / "manifest.json").read_text())
    assert document["machine"]["arch"] == "aarch64"
    assert not document["tuned"]
    assert document["parent"] == compute_file_sha256(device.model / "model.json")
    for name in ("run_model", "libbundle.so", "model.so", "lib/libtvm_runtime.so", "lib/libtvm_ffi.so"):
        assert read_elf_machine(device.bundle / name) == "aarch64"
        assert document["files"][name]["sha256"] == compute_file_sha256(device.bundle / name)
    others = [(other["file"], other["measured_on_device"]) for other in document["alternatives"]]
    assert others == ([("model.onnx", False)] if device.family == "mlp" else [])
    rows = make_rows(device.family).features[:3].astype(np.float32)
    done, answers = run_program(emulator, device.bundle, rows.tobytes(), tmp_path)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        shorten_resnet(patch)
        expected = load_predictor(device.model).predict(rows)
    assert np.allclose(answers.reshape(3, 2), expected, rtol=1e-4, atol=1e-6)


def test_a_missing_category_is_no_address(table, emulator, tmp_path):
    rows = np.array([[0, 1, np.nan], [0, 1, 2]], np.float32)
    done, answers = run_program(emulator, table.bundle, rows.tobytes(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert answers[:2].tolist() == answers[2:].tolist()


def test_what_the_program_refuses(table, emulator, tmp_path, made):
    rows = np.zeros((2, 3), np.float32).tobytes()

    def spoil_library(bundle):
        (bundle / "model.so").write_bytes((bundle / "model.so").read_bytes()[:-1] + b"x")

    def swap_library(bundle):
        shutil.copy(made.out / "model.so", bundle / "model.so")
        sums = bundle / "SHA256SUMS"
        lines = [line for line in sums.read_text().splitlines() if not line.endswith("  model.so")]
        sums.write_text("\n".join([*lines, f"{compute_file_sha256(bundle / 'model.so')}  model.so"]) + "\n")

    def drop_runtime(bundle):
        (bundle / "lib/libtvm_runtime.so").unlink()

    cases = {
        "tampered": (spoil_library, rows, "model.so has other bytes"),
        "other machine": (swap_library, rows, f"model.so is code for {get_arch()}, and this machine is aarch64"),
        "no runtime": (drop_runtime, rows, "lib/libtvm_runtime.so is missing"),
        "wrong shape": (lambda bundle: None, rows[:-4], "holds 20 bytes; a row of the model takes 12"),
        "no rows": (lambda bundle: None, b"", "holds 0 bytes"),
    }
    for name, (spoil, data, message) in cases.items():
        folder = tmp_path / name
        bundle = shutil.copytree(table.bundle, folder / "bundle")
        spoil(bundle)
        done, answers = run_program(emulator, bundle, data, folder)
        assert (done.returncode, answers) == (1, None), name
        assert message in done.stderr, (name, done.stderr)


def test_what_is_missing_here_is_the_reason(table, tmp_path, monkeypatch):
    """No wheels, then no emulator: the code is made all the same, and nothing claims that it ran."""
    source = read_source(find_model_inputs(table.model), "Compiling", only_mlp=False)
    manifest, reasons = ModelManifest.read(table.out / "model.json"), {}
    for name, variable in (("runtime", "TARGET_RUNTIMES"), ("emulator", "PATH")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(tmp_path))
            bundle = Bundle(table.bundle, None, (2,))
            if name == "runtime":
                (tmp_path / name).mkdir()
                bundle = build_bundle(tmp_path / name, table.out, source, TARGET, find_compiler(TARGET), tolerance=1e-4)
            spec = CompileSpec(target=TEXT)
            verification, emulation = verify_under_emulation(spec, TARGET, source, manifest, bundle)
            assert (verification.ran, verification.seeds, emulation) == (False, [], None)
            reasons[name] = verification.reason
    assert "TVM's runtime for aarch64 is not on this machine" in reasons["runtime"]
    assert "runtime for aarch64" in (tmp_path / "runtime/README.md").read_text()
    assert "apt install qemu-user" in reasons["emulator"]


@pytest.mark.parametrize("cause", ["the operator made-up has no form in ONNX", ""])
def test_an_alternative_that_cannot_be_had_is_left_out(table, tmp_path, monkeypatch, cause):
    """The bundle is made without it, and says why: it could not be written, or gives other outputs."""

    def write(program, path, axes):
        path.write_bytes(b"half")
        if cause:
            raise RuntimeError(cause)

    monkeypatch.setattr("deepseek.compile.bundle.write_onnx", write)
    monkeypatch.setattr("deepseek.compile.bundle.open_onnx", lambda path: lambda rows: torch.full((len(rows), 2), 7.0))
    source = read_source(find_model_inputs(table.model), "Compiling", only_mlp=False)
    build_bundle(tmp_path, table.out, source, TARGET, find_compiler(TARGET), tolerance=1e-4)
    document = json.loads((tmp_path / "manifest.json").read_text())
    assert document["alternatives"] == []
    assert (cause or "differs from PyTorch") in document["left_out"]["onnxruntime"]
    assert not list(tmp_path.glob("model.onnx*"))
